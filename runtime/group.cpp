// Rounds of a group: arrive, wait on the ladder, and finish, on one node or many.
#include "runtime/group.hpp"

#include <sched.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include <fmt/format.h>

#include "runtime/base/hash.hpp"
#include "runtime/group_watch.hpp"
#include "runtime/triggers.hpp"

namespace lockstep {

const char* operation_name(Operation operation) {
  switch (operation) {
    case Operation::wait_for_everyone_on:
      return "wait_for_everyone_on";
    case Operation::stream_barrier:
      return "stream_barrier";
    case Operation::stream_bit:
      return "stream_bit";
    case Operation::wait_for_everyone:
      return "wait_for_everyone";
    case Operation::check_trigger:
      return "check_trigger";
    case Operation::check:
      return "check";
    case Operation::first:
      return "process_first";
    case Operation::once:
      return "once";
    case Operation::broadcast:
      return "broadcast";
    case Operation::gather:
      return "gather";
    case Operation::split:
      return "split";
    case Operation::print_in_order:
      return "print_in_order";
    case Operation::requeue:
      return "requeue";
    case Operation::poll:
      return "poll";
    case Operation::poll_trigger:
      return "poll_trigger";
    case Operation::save:
      return "save";
    case Operation::checkpoint_save:
      return "checkpoint_save";
    case Operation::checkpoint_latest:
      return "checkpoint_latest";
    case Operation::checkpoint_load:
      return "checkpoint_load";
    case Operation::scope:
      return "group_of";
    case Operation::at_most:
      return "at_most";
    case Operation::catch_up:
      return "process_first (catching up)";
    case Operation::exit_barrier:
      return "process_first (exit barrier)";
    case Operation::shrink:
      return "shrink";
  }
  return "?";
}

std::uint32_t Call::signature() const noexcept {
  const std::uint64_t named = name_hash != 0 || name == nullptr ? name_hash : hash_text(name);
  const std::uint64_t mixed =
      mix(static_cast<std::uint64_t>(operation) + (std::uint64_t{variant} << 8) + named);
  return static_cast<std::uint32_t>(mixed) | 1;  // 0 stands for "members disagree"
}

std::uint64_t Call::key() const noexcept {
  const auto place = reinterpret_cast<std::uintptr_t>(file);
  return mix(place ^ (std::uint64_t{line} << 40) ^ signature()) | 1;
}

std::string place_text(const char* file, std::uint32_t line) {
  if (file == nullptr) return {};
  const char* const slash = std::strrchr(file, '/');
  return fmt::format("{}:{}", slash != nullptr ? slash + 1 : file, line);
}

std::string Call::text() const {
  std::string text = place_text(file, line);
  if (!text.empty()) text += ' ';
  text += operation_name(operation);
  if (name != nullptr) text += fmt::format(" '{}'", name);
  return text;
}

Group::Group(Surroundings& around, GroupId id, std::vector<Rank> ranks, std::uint32_t block)
    : around_(around), id_(id), ranks_(std::move(ranks)), block_(block) {
  const bootstrap::Identity& identity = around.identity;
  const std::vector<Rank> node_ranks = identity.members(identity.node());
  const std::span<node::Member> members = around.page.members();
  std::vector<std::uint32_t> domain_of;
  std::vector<int> seen;
  std::uint32_t self_here = 0;
  std::size_t self_slot = 0;
  for (const Rank rank : ranks_) {
    if (identity.node_of[rank] != identity.node()) {
      is_wide_ = true;
      continue;
    }
    const auto found_rank = std::lower_bound(node_ranks.begin(), node_ranks.end(), rank);
    const auto slot = static_cast<std::size_t>(found_rank - node_ranks.begin());
    if (rank == identity.rank) {
      self_here = static_cast<std::uint32_t>(local_ranks_.size());
      self_slot = slot;
    }
    local_ranks_.push_back(rank);
    const int domain = members[slot].domain;
    auto found = std::find(seen.begin(), seen.end(), domain);
    if (found == seen.end()) found = seen.insert(seen.end(), domain);
    domain_of.push_back(static_cast<std::uint32_t>(found - seen.begin()));
  }
  const auto self = std::lower_bound(ranks_.begin(), ranks_.end(), identity.rank);
  self_ = static_cast<Rank>(self - ranks_.begin());
  local_ =
      std::make_unique<node::LocalGroup>(around.page.block(block), self_here, std::move(domain_of));
  local_->introduce(static_cast<std::uint32_t>(self_slot));
  local_->polls().fence_with(node::AsymmetricFence::agree({&around.page.head().barrier, 1}));
  if (is_round_based()) local_->polls().alert();  // so that a quick poll need not ask
  triggers_ = std::make_unique<Triggers>(*this);
}

Result<std::unique_ptr<Group>> Group::make(Surroundings& around, GroupId id,
                                           std::vector<Rank> ranks, std::uint32_t block,
                                           Ways ways) {
  std::unique_ptr<Group> group(new Group(around, id, std::move(ranks), block));
  group->ways_ = std::move(ways);
  if (group->is_wide_ && group->local_->is_leader()) {
    Result<std::unique_ptr<progress::Leader>> leader = group->make_leader(group->local_ranks_);
    if (!leader.ok()) return leader.status();
    group->leader_ = std::move(*leader);
    if (around.can_publish) group->speaker_ = group->make_speaker(*around.port);
  }
  around.counters.add(Counter::groups);
  return group;
}

namespace {

/// Few messages where the nodes share a machine and processor time is the cost, or where switches
/// are known and their uplinks are; few rounds on a network, where latency is.
schedule::Plan choose_plan(const Config& config, bool shares_machine, NodeIndex self,
                           const topology::Tiers& tiers) {
  constexpr std::uint32_t kRadix = 8;
  const PlanChoice& choice = config.plan;
  const std::uint32_t radix = choice.radix != 0 ? choice.radix : kRadix;
  const bool wants_few_messages = shares_machine || tiers.leaves() > 1;
  const bool is_tree =
      choice.kind == PlanKind::tree || (choice.kind == PlanKind::automatic && wants_few_messages);
  if (is_tree) return schedule::switch_tree(self, tiers, radix);
  return schedule::dissemination(self, {static_cast<std::uint32_t>(tiers.size()), radix});
}

}  // namespace

Group::Layout Group::layout() const {
  const bootstrap::Identity& identity = around_.identity;
  Layout lies;
  // Ranks ascend, so first come is right.
  std::vector<NodeIndex> number(identity.hosts.size(), UINT32_MAX);
  for (const Rank rank : ranks_) {
    const NodeIndex node = identity.node_of[rank];
    if (number[node] == UINT32_MAX) {
      number[node] = static_cast<NodeIndex>(lies.nodes.size());
      lies.nodes.push_back(node);
      lies.speakers.push_back(rank);
    }
    lies.node_of.push_back(number[node]);
  }
  lies.self = number[identity.node()];
  return lies;
}

Result<std::unique_ptr<progress::Leader>> Group::make_leader(std::vector<Rank> local_ranks) {
  const bootstrap::Identity& identity = around_.identity;
  engine::Exchange::Setup setup;
  setup.group = id_;
  setup.session = around_.page.head().session;
  setup.grace = around_.config.grace;
  Layout lies = layout();
  setup.self = lies.self;
  setup.leaders = std::move(lies.speakers);
  setup.members.resize(lies.nodes.size());
  for (std::size_t i = 0; i < ranks_.size(); ++i) setup.members[lies.node_of[i]].append(ranks_[i]);
  for (const NodeIndex node : lies.nodes) setup.hosts.push_back(identity.hosts[node]);
  const node::PageHead& head = around_.page.head();
  std::vector<topology::SwitchPath> paths;
  {
    std::lock_guard lock(around_.port->mutex());  // another thread's split may add to them
    for (const NodeIndex node : lies.nodes) {
      paths.push_back(ways_.are_switches_known ? around_.switches[node] : topology::SwitchPath{});
    }
  }
  setup.plan = choose_plan(around_.config, head.host_ranks > head.members, setup.self,
                           topology::Tiers(paths));
  return progress::Leader::open(*around_.port, *local_, std::move(local_ranks), std::move(setup));
}

Group::~Group() {
  lookout_.reset();
  settle_sections();
  const bool is_whole = !local_->is_broken();
  if (is_whole) triggers_->log_unheard();
  local_->leave();
  speaker_.reset();
  leader_.reset();
  if (!around_.page.leave_block(block_)) return;
  if (is_whole) compare_polls();
  around_.page.free_block(block_);
}

Status Group::arrive(const Call& call, const node::Words& mine, Nanos start) {
  if (is_open_) {
    return {LOCKSTEP_E_BUSY, fmt::format("{}: this process has arrived at {} and not waited for it",
                                         call.text(), call_.text())};
  }
  if (local_->is_broken()) return broken(call);
  if (call.operation != Operation::exit_barrier && size() > 1 && is_first()) {
    return {LOCKSTEP_E_STATE,
            fmt::format("{} inside the section {}, in which this rank goes first: the others wait "
                        "there for its end and cannot come; call it before or after the section",
                        call.text(), open_sections_.back().named().text())};
  }
  call_ = call;
  start_ = start;
  is_open_ = true;
  ++epoch_;
  sections_since_round_ = 0;
  // Members that have gone through different numbers of sections are in different places, even if
  // the call is the same: somebody has left one out, and would take the next for it.
  const std::uint64_t place = section_ == 0 ? 0 : mix(section_);
  if (const std::uint64_t key = call.key() ^ place; !local_->is_announced(key)) {
    local_->announce(key, section_ == 0 ? call.text()
                                        : fmt::format("{} after {} section{}", call.text(),
                                                      section_, section_ == 1 ? "" : "s"));
  }
  if (start != 0) local_->say_waiting(node::kHasArrived | epoch_, start);
  const std::uint32_t signature = (call.signature() ^ static_cast<std::uint32_t>(place)) | 1;
  local_->arrive(epoch_, {mine, signature, call.line});
  if (leader_ != nullptr) {
    std::lock_guard lock(around_.port->mutex());
    leader_->begin(epoch_);
    leader_->advance(now());
  }
  around_.counters.add(Counter::rounds);
  return {};
}

void Group::finish_here() {
  if (!local_->claim(epoch_)) return;
  node::Words combined;
  const auto odd_one = local_->combine(combined);
  if (!odd_one) {
    local_->release(epoch_, combined);
    return;
  }
  engine::Verdict verdict;
  verdict.cause = LOCKSTEP_E_MISMATCH;
  verdict.epoch = epoch_;
  verdict.text = fmt::format("rank {} at {}, but rank {} at {}", local_ranks_[0],
                             local_->site_of(0), local_ranks_[*odd_one], local_->site_of(*odd_one));
  local_->break_with(engine::encode_verdict(verdict));
}

/// This member's share of moving the open round on; called in every turn of a wait.
void Group::step() noexcept {
  if (leader_ != nullptr) {
    std::lock_guard lock(around_.port->mutex());
    around_.port->poll();
    leader_->advance(now());
  } else if (local_->is_leader() && !is_wide_) {
    if (local_->is_gathered(epoch_) && !local_->is_released(epoch_)) finish_here();
  } else {
    local_->gather(epoch_);
  }
}

Status Group::test() {
  if (!is_open_) {
    return {LOCKSTEP_E_STATE, "test or wait without arrive on this group"};
  }
  step();
  if (local_->is_released(epoch_)) {
    is_open_ = false;
    return {};
  }
  Watch watch{.call = call_, .what = Watch::What::round, .start = start_, .is_test = true};
  Status status = look(watch);
  if (!status.ok()) {
    is_open_ = false;
    return status;
  }
  // A loop around test() would otherwise keep a shared core from those it waits for.
  if (around_.policy.spin == 0) sched_yield();
  return Status::again();
}

Status Group::wait() {
  if (!is_open_) return {LOCKSTEP_E_STATE, "test or wait without arrive on this group"};
  return finish(nullptr);
}

Status Group::round(const Call& call, const node::Words& mine, node::Words* result) {
  if (Status status = arrive(call, mine, 0); !status.ok()) return status;
  return finish(result);
}

Status Group::finish(node::Words* result) {
  Watch watch{.call = call_, .what = Watch::What::round, .start = start_};
  Status status = this->watch(local_->bell(), watch, [this]() noexcept {
    step();
    return local_->is_released(epoch_);
  });
  is_open_ = false;
  if (!status.ok()) return status;
  if (result != nullptr) *result = local_->result();
  return {};
}

}  // namespace lockstep
