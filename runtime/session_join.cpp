// Joining: identity, one fence, the node's page, the way to other nodes, the job's groups.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "runtime/base/copy_text.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/bootstrap/network.hpp"
#include "runtime/lifecycle/scheduler.hpp"
#include "runtime/node/contacts.hpp"
#include "runtime/node/share.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/plugin/registry.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

using node::kJobGroup;
using node::kNodeGroup;
constexpr std::uint32_t kBlobVersion = 2;

/// What a node's leader tells the job at start-up: fixed part, then the switches above the node as
/// text, then the transport's address.
struct Blob {
  std::uint32_t version;
  std::uint32_t local_size;
  std::uint64_t session;  ///< the one of rank 0's node counts
  std::uint64_t host;     ///< equal on nodes that share a kernel
  node::DoorName door;
  std::array<char, 32> transport;
  std::uint32_t switches_length;
  std::uint32_t reserved;
};

std::uint64_t random_number() {
  std::random_device device;
  return (std::uint64_t{device()} << 32 | device()) | 1;
}

/// The kernel's identity: emulated nodes share it, and with it the cores.
std::uint64_t host_number() {
  std::string text;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
  return hash_text(text);
}

}  // namespace

class Session::Joiner {
 public:
  explicit Joiner(Session& session) : session_(session) {}

  Status run() {
    const auto steps = {&Joiner::configure,  &Joiner::identify, &Joiner::meet,
                        &Joiner::share_page, &Joiner::connect,  &Joiner::make_groups};
    for (const auto step : steps) {
      if (Status status = (this->*step)(); !status.ok()) return status;
    }
    if (!needs_pmix_later()) session_.bootstrap_->finish();
    return watch();
  }

 private:
  const bootstrap::Identity& who() const { return session_.identity(); }
  bool is_leader() const { return members_.front() == who().rank; }
  std::size_t nodes() const { return who().hosts.size(); }
  /// A plugin without frames may be one that uses PMIx (pmix_fence), a split may make any rank a
  /// leader that has to open it, and PMIx cannot be joined a second time.
  bool needs_pmix_later() const {
    const bool has_frames = session_.page_.head().can_publish != 0;
    return !has_frames && session_.config_.detach == Detach::automatic;
  }

  Status watch() {
    check_record();
    Triggers& triggers = session_.job_->triggers();
    triggers.listen_to(session_.watch_);
    Trigger& unnamed = triggers.unnamed();
    if (!session_.config_.trigger_file.empty()) {
      if (Status status = triggers.bind_file(unnamed, session_.config_.trigger_file);
          !status.ok()) {
        return status;
      }
    }
    lifecycle::tell_of_signals([](void* job) { static_cast<Group*>(job)->want_meeting(); },
                               session_.job_.get());
    session_.record_.started = std::time(nullptr);
    session_.record_.slurm_job = lifecycle::slurm_job_of(environment_);
    session_.record_.restarts = environment_.number("SLURM_RESTART_COUNT").value_or(0);
    if (who().rank == 0) {
      session_.adviser_.start(session_.config_, environment_, session_.is_attached());
      session_.watch_.listen_to(session_.page_.head().requests);
      // The group itself, as the session has none any more when the group ends.
      session_.job_->look_out([&watch = session_.watch_, &job = *session_.job_] {
        const bool is_touched = job.triggers().look_at_files();
        if (watch.has_news() || is_touched) job.want_meeting();
      });
    }
    return session_.watch_.start(session_.config_, environment_, who().rank == 0);
  }

  /// It is written at the end: too late to find out that it cannot be.
  void check_record() const {
    const std::string& path = session_.config_.record;
    if (path.empty() || who().rank != 0) return;
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (access(folder.c_str(), W_OK) == 0) return;
    log::warn("LOCKSTEP_RECORD={}: nothing can be written there: {}", path, std::strerror(errno));
  }

  Status configure() {
    environment_ = Environment::of_process();
    std::vector<std::string> warnings;
    Result<Config> config = Config::load(environment_, warnings);
    if (!config.ok()) return config.status();
    session_.config_ = std::move(*config);
    log::set_level(session_.config_.log);
    // Every rank has the same environment: one of them complaining is enough.
    const auto rank = environment_.number("PMIX_RANK");
    if (rank.value_or(0) == 0) {
      for (const std::string& warning : warnings) log::warn("{}", warning);
    }
    deadline_ = after(now(), session_.config_.join_timeout);
    return {};
  }

  Status identify() {
    auto bootstrap = bootstrap::open_bootstrap(session_.config_, environment_);
    if (!bootstrap.ok()) return bootstrap.status();
    session_.bootstrap_ = std::move(*bootstrap);
    members_ = who().members(who().node());
    session_.own_switches_ = bootstrap::find_switches(session_.config_, environment_);
    log::set_speaker(fmt::format("rank {} on {}", who().rank, who().hosts[who().node()]));
    return {};
  }

  /// The node's leaders publish; everybody meets; then the blobs are looked up.
  Status meet() {
    if (is_leader()) {
      if (Status status = publish(); !status.ok()) return status;
    }
    if (who().size > 1) {
      if (Status status = session_.bootstrap_->fence(); !status.ok()) return status;
      session_.counters_.add(Counter::fences);
    }
    blobs_.resize(nodes());
    addresses_.resize(nodes());
    switches_.resize(nodes());
    for (NodeIndex node = 0; node < nodes(); ++node) {
      // Members need rank 0's and their own leader's word only; leaders talk to all leaders.
      if (!is_leader() && node != 0 && node != who().node()) continue;
      if (Status status = look_up(node); !status.ok()) return status;
    }
    session_.transport_ = blobs_[who().node()].transport.data();
    return is_leader() ? check_transports() : Status{};
  }

  Status publish() {
    Blob blob{};
    blob.version = kBlobVersion;
    blob.local_size = static_cast<std::uint32_t>(members_.size());
    blob.session = random_number();
    blob.host = host_number();
    if (members_.size() > 1) {
      Result<node::Door> door = node::Door::open();
      if (!door.ok()) return door.status();
      door_ = std::move(*door);
      blob.door = door_.name();
    }
    std::vector<std::byte> address;
    if (nodes() > 1) {
      if (Status status = choose_transport(); !status.ok()) return status;
      std::strncpy(blob.transport.data(), session_.transport_.c_str(), blob.transport.size() - 1);
      if (session_.port_->has_frames()) {
        Result<std::vector<std::byte>> own = session_.port_->address();
        if (!own.ok()) return own.status();
        address = std::move(*own);
      }
    }
    const std::string switches = topology::path_text(session_.own_switches_);
    blob.switches_length = static_cast<std::uint32_t>(switches.size());
    std::vector<std::byte> bytes;
    for (const std::span<const std::byte> part :
         {std::as_bytes(std::span(&blob, 1)), std::as_bytes(std::span(switches)),
          std::span<const std::byte>(address)}) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return session_.bootstrap_->publish(bytes);
  }

  Status choose_transport() {
    std::vector<std::string> names = plugin::preferred();
    if (session_.config_.transport != "auto") names = {session_.config_.transport};
    std::string why;
    for (const std::string& name : names) {
      session_.transport_ = name;
      const Status status = session_.open_port();
      if (status.ok()) {
        // Every leader has the same to tell.
        if (!why.empty() && who().rank == 0) log::warn("transport {} instead: {}", name, why);
        return {};
      }
      why += (why.empty() ? "" : "; ") + status.text();
    }
    return {LOCKSTEP_E_TRANSPORT,
            fmt::format("nothing can carry rounds between the {} nodes: {}", nodes(), why)};
  }

  Status look_up(NodeIndex node) {
    const Rank leader = who().members(node).front();
    Result<std::vector<std::byte>> bytes = session_.bootstrap_->lookup(leader);
    if (!bytes.ok()) return bytes.status();
    Blob& blob = blobs_[node];
    if (bytes->size() < sizeof blob) {
      return {LOCKSTEP_E_BOOTSTRAP, fmt::format("rank {} published too little", leader)};
    }
    std::memcpy(&blob, bytes->data(), sizeof blob);
    blob.transport.back() = '\0';
    if (blob.version != kBlobVersion) {
      return {LOCKSTEP_E_BOOTSTRAP,
              fmt::format("rank {} on {} runs another version of lockstep; install the same on all "
                          "nodes",
                          leader, who().hosts[node])};
    }
    const std::size_t address_at = sizeof blob + blob.switches_length;
    const auto* const text = reinterpret_cast<const char*>(bytes->data() + sizeof blob);
    const auto path = address_at <= bytes->size()
                          ? topology::read_path({text, blob.switches_length})
                          : std::nullopt;
    if (!path) {
      return {LOCKSTEP_E_BOOTSTRAP, fmt::format("rank {} published switches badly", leader)};
    }
    switches_[node] = *path;
    addresses_[node].assign(bytes->begin() + static_cast<std::ptrdiff_t>(address_at), bytes->end());
    return {};
  }

  Status check_transports() {
    for (NodeIndex node = 0; node < nodes(); ++node) {
      const std::string other = blobs_[node].transport.data();
      if (other == session_.transport_) continue;
      // Each has the best that it could have: the one with less is to be repaired.
      const std::vector<std::string>& names = plugin::preferred();
      const auto place = [&](const std::string& name) {
        return std::find(names.begin(), names.end(), name) - names.begin();
      };
      const bool is_here = place(session_.transport_) > place(other);
      const std::string& here = who().hosts[who().node()];
      const std::string& there = who().hosts[node];
      return {LOCKSTEP_E_TRANSPORT,
              fmt::format("{} can use {}, but {} can use {}; type LOCKSTEP_TRANSPORT={}, or repair "
                          "{} (lockstep info says why)",
                          here, session_.transport_, there, other,
                          is_here ? session_.transport_ : other, is_here ? here : there)};
    }
    return {};
  }

  Status share_page() {
    const node::Hello mine = node::introduce(who().rank);
    if (is_leader()) return host_page(mine);
    Result<UniqueFd> memory = node::knock(blobs_[who().node()].door, mine, deadline_);
    if (!memory.ok()) return memory.status();
    const off_t size = lseek(memory->get(), 0, SEEK_END);
    if (size <= 0) return {LOCKSTEP_E_BOOTSTRAP, "this node's leader shared an empty page"};
    Result<void*> mapped = node::map_memory(memory->get(), static_cast<std::size_t>(size));
    if (!mapped.ok()) return mapped.status();
    session_.page_ = node::Page::adopt(*mapped, static_cast<std::size_t>(size));
    if (!session_.page_.is_valid() || session_.page_.head().session != blobs_[0].session) {
      return {LOCKSTEP_E_BOOTSTRAP, "this node's leader shared a page of another job or version"};
    }
    session_.page_memory_ = std::move(*memory);
    return {};
  }

  Status host_page(const node::Hello& mine) {
    std::vector<node::Hello> hellos{mine};
    if (members_.size() > 1) {
      const std::vector<Rank> expected(members_.begin() + 1, members_.end());
      Result<std::vector<node::Hello>> guests = door_.receive(expected, deadline_);
      if (!guests.ok()) return guests.status();
      hellos.insert(hellos.end(), guests->begin(), guests->end());
    }
    std::sort(hellos.begin(), hellos.end(),
              [](const node::Hello& a, const node::Hello& b) { return a.rank < b.rank; });
    std::vector<std::span<const std::uint64_t>> masks;
    std::vector<node::Barrier> barriers;
    for (const node::Hello& hello : hellos) {
      masks.emplace_back(hello.cpus);
      barriers.push_back(hello.barrier);
    }
    const bootstrap::Domains domains = bootstrap::find_domains(masks);
    session_.domain_kind_ = domains.kind;

    const auto count = static_cast<std::uint32_t>(hellos.size());
    // For who follows a leader that dies.
    const bool has_contacts = session_.port_ != nullptr && session_.port_->has_frames();
    const std::vector<std::byte> contacts =
        has_contacts ? node::encode_contacts(addresses_) : std::vector<std::byte>();
    const std::size_t size = node::Page::size_for(count, domains.count, contacts.size());
    Result<UniqueFd> memory = node::make_memory(session_.config_.page, size);
    if (!memory.ok()) return memory.status();
    Result<void*> mapped = node::map_memory(memory->get(), size);
    if (!mapped.ok()) return mapped.status();
    session_.page_ =
        node::Page::create(*mapped, count, domains.count, contacts.size(), blobs_[0].session);
    std::copy(contacts.begin(), contacts.end(), session_.page_.contacts().begin());
    fill_page(hellos, domains);
    const bool can_all = node::AsymmetricFence::agree(barriers).is_asymmetric();
    session_.page_.head().barrier = can_all ? node::Barrier::expedited : node::Barrier::none;
    fill_card(session_.page_.head().card);
    session_.page_memory_ = std::move(*memory);
    return members_.size() > 1 ? door_.hand_out(session_.page_memory_.get()) : Status{};
  }

  void fill_page(const std::vector<node::Hello>& hellos, const bootstrap::Domains& domains) {
    node::PageHead& head = session_.page_.head();
    head.cores = domains.cores;
    head.can_publish = session_.port_ == nullptr || session_.port_->has_frames() ? 1 : 0;
    for (const Blob& blob : blobs_) {
      if (blob.host == blobs_[who().node()].host) head.host_ranks += blob.local_size;
    }
    for (std::size_t i = 0; i < hellos.size(); ++i) {
      node::Member& member = session_.page_.members()[i];
      member.rank = hellos[i].rank;
      member.domain = domains.of_process[i];
      member.pid = hellos[i].pid;
      member.pid_namespace = hellos[i].pid_namespace;
    }
    session_.page_.claim_block(kJobGroup, head.members);
    session_.page_.claim_block(kNodeGroup, head.members);
  }

  void fill_card(node::Card& card) {
    card.ranks = who().size;
    card.node = who().node();
    card.nodes = static_cast<std::uint32_t>(nodes());
    card.started = std::time(nullptr);
    copy_text(card.job, who().job);
    copy_text(card.host, who().hosts[who().node()]);
    copy_text(card.slurm_job, environment_.get("SLURM_JOB_ID").value_or(""));
    copy_text(card.slurm_step, environment_.get("SLURM_STEP_ID").value_or(""));
    card.is_written.store(1, std::memory_order_release);
  }

  Status connect() {
    const node::PageHead& head = session_.page_.head();
    node::WaitPolicy policy;
    constexpr Nanos kSpin = 50 * kMicrosecond;
    const bool has_cores = head.host_ranks <= head.cores;
    policy.spin = session_.config_.spin >= 0 ? session_.config_.spin : has_cores ? kSpin : 0;
    policy.yield = session_.config_.yield;
    session_.around_.emplace(Surroundings{
        session_.config_, who(), session_.page_, session_.counters_, policy, session_.port_.get(),
        head.can_publish != 0, std::move(switches_), node::Exits::find(environment_, who().rank),
        [&session = session_] { return session.make_reachable(); }});
    if (session_.port_ == nullptr) return {};
    session_.port_->set_session(head.session);
    for (NodeIndex node = 0; node < nodes(); ++node) {
      if (node == who().node() || !session_.port_->has_frames()) continue;
      const Rank leader = who().members(node).front();
      if (Status status = session_.port_->connect(leader, addresses_[node]); !status.ok())
        return status;
    }
    return {};
  }

  Status make_groups() {
    std::vector<Rank> everybody(who().size);
    for (Rank rank = 0; rank < who().size; ++rank) everybody[rank] = rank;
    const auto job_block = session_.page_.find_block(kJobGroup);
    const auto node_block = session_.page_.find_block(kNodeGroup);
    if (!job_block || !node_block) {
      return {LOCKSTEP_E_BOOTSTRAP, "this node's page has no place for the job's groups"};
    }
    Result<std::unique_ptr<Group>> job =
        Group::make(*session_.around_, kJobGroup, std::move(everybody), *job_block, {});
    if (!job.ok()) return job.status();
    Result<std::unique_ptr<Group>> local =
        Group::make(*session_.around_, kNodeGroup, members_, *node_block, {});
    if (!local.ok()) return local.status();
    session_.job_ = std::move(*job);
    session_.local_ = std::move(*local);
    session_.gpus_ = std::make_unique<Gpus>(
        session_.config_, Gpus::Place{who().rank, who().size, session_.local_->rank()});
    if (session_.port_ != nullptr) session_.port_->start_thread();
    return {};
  }

  Session& session_;
  Environment environment_;
  Nanos deadline_ = kNever;
  std::vector<Rank> members_;  ///< job ranks of this node
  node::Door door_;
  std::vector<Blob> blobs_;  ///< per node; on members only those that matter
  std::vector<std::vector<std::byte>> addresses_;
  std::vector<topology::SwitchPath> switches_;
};

Result<std::unique_ptr<Session>> Session::join() {
  std::unique_ptr<Session> session(new Session);
  Joiner joiner(*session);
  if (Status status = joiner.run(); !status.ok()) return status;
  return session;
}

}  // namespace lockstep
