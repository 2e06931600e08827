// The poll loop of one node: the launcher's channel, SIGCHLD, PMIx's upcalls and tagged output.
#include "api/cli/node_server.hpp"

#include "api/cli/channel.hpp"
#include "api/cli/command_error.hpp"
#include "api/cli/descendants.hpp"
#include "api/cli/node_folder.hpp"
#include "api/cli/output.hpp"
#include "api/cli/pmix_server.hpp"
#include "api/cli/poll_set.hpp"
#include "api/cli/rank_process.hpp"
#include "api/cli/upcalls.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

namespace lockstep::cli {
namespace {

// Output is left in the ranks' pipes while this much has not been taken by the launcher.
constexpr std::size_t kUnsentMax = std::size_t{1} << 20;

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

Pipe make_output_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw CommandError(1, fmt::format("no pipe for a rank: {}", strerrordesc_np(errno)));
  }
  // Only the reading end: non-blocking output would surprise the rank.
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {.reader = UniqueFd(ends[0]), .writer = UniqueFd(ends[1])};
}

UniqueFd make_child_watch() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  UniqueFd watch(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!watch.is_open()) throw CommandError(1, "no signalfd for the node server");
  return watch;
}

// A connection and two pipes per rank; ranks get the old limit back.
void raise_open_files(rlimit limit) {
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

class NodeServer {
 public:
  NodeServer(const JobSpec& job, NodeIndex node, UniqueFd channel)
      : job_(job), node_(node), channel_(std::move(channel)) {}

  [[noreturn]] void run();

 private:
  struct Child {
    Rank rank = 0;
    pid_t pid = 0;
    bool is_alive = false;
    UniqueFd out;
    UniqueFd err;
  };

  // What libpmix waits for, and on whose behalf.
  struct Question {
    ModexReply reply;
    std::vector<Rank> waiting;  ///< Of a fence; empty if unknown.
  };

  void open();
  void turn();
  void on_message(const Message& message);
  void answer_libpmix(const Message& message);
  void start_ranks();
  void start(Rank rank, int null_fd);
  [[nodiscard]] const Child* find_child(Rank rank) const;  // null if it has ended
  void signal_ranks(int signal_number);
  void reap();
  void on_ended(Child& child, int status);
  void serve_upcalls();
  void serve(FenceUpcall& fence);
  void serve(ModexUpcall& question);
  void serve(ModexFound& found);
  void serve(AbortUpcall& abort);
  void find_modex(Rank rank, std::uint64_t id);
  void answer_modex(std::uint64_t id, std::int32_t status, std::string data);
  void relay_output(Rank rank, Stream stream, UniqueFd& fd);
  void drain(Rank rank, Stream stream, UniqueFd& fd);
  void send_until(std::size_t unsent);
  void hush_libpmix();
  [[noreturn]] void finish(int exit_code);
  [[noreturn]] void vanish();

  const JobSpec& job_;
  NodeIndex node_;
  Channel channel_;
  UniqueFd null_;
  UniqueFd child_watch_;
  std::optional<CStringList> own_environment_;
  std::optional<NodeFolder> folder_;
  std::optional<UpcallQueue> upcalls_;
  PmixServer* pmix_ = nullptr;  // lives as long as the process
  std::vector<Child> children_;
  std::map<std::uint64_t, Question> asked_;    // of the launcher, by our id
  std::map<std::uint64_t, Rank> asked_of_us_;  // by the launcher's id
  std::uint64_t next_id_ = 1;
  bool is_finished_ = false;
};

void NodeServer::run() {
  try {
    open();
    channel_.send({.kind = MessageKind::server_ready});
    while (!is_finished_) turn();
    finish(0);
  } catch (const std::exception& error) {
    signal_ranks(SIGKILL);
    channel_.send({.kind = MessageKind::server_failed, .bytes = error.what()});
    finish(1);
  }
}

void NodeServer::open() {
  // A group of its own: Ctrl-C at the terminal is for the launcher, which decides what it means.
  setpgid(0, 0);
  adopt_orphans();
  raise_open_files(job_.inherited.open_files);
  null_ = UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_.is_open()) throw CommandError(1, "cannot open /dev/null");
  child_watch_ = make_child_watch();
  folder_.emplace(node_folder_path(job_.temporary_base, job_.name, node_));
  // libpmix reads its settings from the environment, where an outer launcher's must not be; and the
  // shared memory files of libpmix 5 follow TMPDIR, whatever folder the server is given.
  Environment own = job_.environment;
  own.set("TMPDIR=" + folder_->path());
  own_environment_.emplace(own.entries());
  environ = own_environment_->get();
  upcalls_.emplace();
  pmix_ = new PmixServer({.name_space = job_.name,
                          .folder = folder_->path(),
                          .node = node_,
                          .placement = &job_.placement},
                         *upcalls_);
}

void NodeServer::turn() {
  PollSet polls;
  const bool has_unsent = channel_.unsent() > 0;
  polls.add(channel_.fd(), static_cast<short>(has_unsent ? POLLIN | POLLOUT : POLLIN), [this] {
    channel_.flush();
    for (const Message& message : channel_.receive()) on_message(message);
  });
  polls.add(upcalls_->fd(), POLLIN, [this] { serve_upcalls(); });
  polls.add(child_watch_.get(), POLLIN, [this] { reap(); });
  for (Child& child : children_) {
    if (channel_.unsent() > kUnsentMax) break;
    if (child.out.is_open()) {
      polls.add(child.out.get(), POLLIN,
                [this, &child] { relay_output(child.rank, Stream::out, child.out); });
    }
    if (child.err.is_open()) {
      polls.add(child.err.get(), POLLIN,
                [this, &child] { relay_output(child.rank, Stream::err, child.err); });
    }
  }
  polls.wait(std::nullopt);
  if (!channel_.is_open() && !is_finished_) vanish();
}

void NodeServer::on_message(const Message& message) {
  switch (message.kind) {
    case MessageKind::start_ranks:
      start_ranks();
      break;
    case MessageKind::signal_ranks:
      signal_ranks(message.value);
      break;
    case MessageKind::finish:
      is_finished_ = true;
      break;
    case MessageKind::modex:
      find_modex(message.rank, message.id);
      break;
    case MessageKind::fence_answer:
    case MessageKind::modex_answer:
      answer_libpmix(message);
      break;
    default:
      throw CommandError(1, "a message that no launcher sends: the channel is broken");
  }
}

void NodeServer::answer_libpmix(const Message& message) {
  const auto found = asked_.find(message.id);
  if (found == asked_.end()) return;
  const Question question = std::move(found->second);
  asked_.erase(found);
  // libpmix 4.2 drops a fence whose local ranks have all died, but an answer to it that comes later
  // makes its thread lock up. Without an answer it is content.
  reap();
  const auto is_alive = [this](Rank rank) { return find_child(rank) != nullptr; };
  if (question.waiting.empty() ||
      std::any_of(question.waiting.begin(), question.waiting.end(), is_alive)) {
    PmixServer::reply(question.reply, message.value, message.bytes);
  }
}

const NodeServer::Child* NodeServer::find_child(Rank rank) const {
  for (const Child& child : children_) {
    if (child.rank == rank && child.is_alive) return &child;
  }
  return nullptr;
}

void NodeServer::start_ranks() {
  const std::vector<Rank>& ranks = job_.placement.by_node[node_];
  children_.reserve(ranks.size());  // the poll set refers to the elements
  for (const Rank rank : ranks) start(rank, null_.get());
}

void NodeServer::start(Rank rank, int null_fd) {
  Environment own = job_.environment;
  if (!job_.switches.empty()) own.set("LOCKSTEP_SWITCHES=" + job_.switches[node_]);
  CStringList environment(own.entries());
  pmix_->add_to_environment(rank, environment);
  const CStringList arguments(job_.arguments);
  Pipe out;
  Pipe err;
  if (job_.tags_output) {
    out = make_output_pipe();
    err = make_output_pipe();
  }
  const pid_t pid = start_rank({.path = job_.program.c_str(),
                                .arguments = arguments.get(),
                                .environment = environment.get(),
                                .cpus = &job_.cpus[rank],
                                .stdin_fd = rank == 0 ? STDIN_FILENO : null_fd,
                                .stdout_fd = job_.tags_output ? out.writer.get() : STDOUT_FILENO,
                                .stderr_fd = job_.tags_output ? err.writer.get() : STDERR_FILENO,
                                .inherited = &job_.inherited});
  children_.push_back({.rank = rank,
                       .pid = pid,
                       .is_alive = true,
                       .out = std::move(out.reader),
                       .err = std::move(err.reader)});
  channel_.send({.kind = MessageKind::rank_started, .rank = rank, .value = pid});
}

void NodeServer::signal_ranks(int signal_number) {
  if (signal_number == SIGTERM || signal_number == SIGKILL) hush_libpmix();
  for (const Child& child : children_) {
    // The whole group of a rank, so that a script's current command hears it too; never the group
    // of an ended rank, whose number may be somebody else's by now.
    if (child.is_alive) kill(-child.pid, signal_number);
  }
}

void NodeServer::reap() {
  signalfd_siginfo ignored{};
  while (read(child_watch_.get(), &ignored, sizeof ignored) > 0) continue;
  // First what the ended rank still said: its PMIx_Abort explains its exit code.
  serve_upcalls();
  int status = 0;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    for (Child& child : children_) {
      if (child.pid == pid && child.is_alive) on_ended(child, status);
    }
  }
}

void NodeServer::on_ended(Child& child, int status) {
  child.is_alive = false;
  if (status != 0) hush_libpmix();
  relay_output(child.rank, Stream::out, child.out);
  relay_output(child.rank, Stream::err, child.err);
  channel_.send({.kind = MessageKind::rank_ended, .rank = child.rank, .value = status});
  for (auto question = asked_of_us_.begin(); question != asked_of_us_.end();) {
    const auto [id, rank] = *question++;
    if (rank == child.rank) answer_modex(id, lost_peer_status(), {});
  }
}

// libpmix writes riddles to stderr when connections break, as they do once ranks die. The launcher
// tells what happened; the ranks have descriptors of their own.
void NodeServer::hush_libpmix() {
  dup2(null_.get(), STDERR_FILENO);
}

void NodeServer::serve_upcalls() {
  for (Upcall& upcall : upcalls_->take()) {
    std::visit([this](auto& one) { serve(one); }, upcall);
  }
}

void NodeServer::serve(FenceUpcall& fence) {
  const std::uint64_t id = next_id_++;
  const std::vector<Rank>& local = job_.placement.by_node[node_];
  const auto takes_part = [&fence](Rank rank) {
    return fence.ranks.empty() ||
           std::find(fence.ranks.begin(), fence.ranks.end(), rank) != fence.ranks.end();
  };
  Question& question = asked_[id];
  question.reply = fence.reply;
  std::copy_if(local.begin(), local.end(), std::back_inserter(question.waiting), takes_part);
  channel_.send({.kind = MessageKind::fence,
                 .value = fence.status,
                 .id = id,
                 .ranks = std::move(fence.ranks),
                 .bytes = std::move(fence.data)});
}

void NodeServer::serve(ModexUpcall& question) {
  const std::uint64_t id = next_id_++;
  asked_[id] = {.reply = question.reply, .waiting = {}};
  channel_.send({.kind = MessageKind::modex, .rank = question.rank, .id = id});
}

void NodeServer::serve(ModexFound& found) {
  answer_modex(found.id, found.status, std::move(found.data));
}

void NodeServer::serve(AbortUpcall& abort) {
  channel_.send({.kind = MessageKind::rank_aborted,
                 .rank = abort.rank,
                 .value = abort.code,
                 .bytes = std::move(abort.text)});
}

void NodeServer::find_modex(Rank rank, std::uint64_t id) {
  asked_of_us_[id] = rank;
  // libpmix would wait for ever for what an ended rank has not committed.
  if (find_child(rank) == nullptr) {
    answer_modex(id, lost_peer_status(), {});
  } else {
    pmix_->find_modex(rank, id);
  }
}

void NodeServer::answer_modex(std::uint64_t id, std::int32_t status, std::string data) {
  if (asked_of_us_.erase(id) == 0) return;  // answered already, when the rank ended
  channel_.send(
      {.kind = MessageKind::modex_answer, .value = status, .id = id, .bytes = std::move(data)});
}

void NodeServer::relay_output(Rank rank, Stream stream, UniqueFd& fd) {
  std::array<char, 65536> chunk;
  while (fd.is_open()) {
    const ssize_t count = read(fd.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count <= 0) return fd.reset();
    channel_.send({.kind = MessageKind::rank_output,
                   .rank = rank,
                   .value = static_cast<std::int32_t>(stream),
                   .bytes = std::string(chunk.data(), static_cast<std::size_t>(count))});
    // An endless writer must not keep this loop from everything else.
    if (channel_.unsent() > kUnsentMax) return;
  }
}

void NodeServer::finish(int exit_code) {
  kill_children({});
  for (Child& child : children_) {
    drain(child.rank, Stream::out, child.out);
    drain(child.rank, Stream::err, child.err);
  }
  send_until(0);
  folder_.reset();
  _exit(exit_code);  // no destructors: libpmix's thread still runs and may call back
}

// Nobody writes any more, so that what the pipe holds is all there will be.
void NodeServer::drain(Rank rank, Stream stream, UniqueFd& fd) {
  relay_output(rank, stream, fd);
  while (channel_.is_open() && channel_.unsent() > kUnsentMax) {
    send_until(kUnsentMax);
    relay_output(rank, stream, fd);
  }
}

void NodeServer::send_until(std::size_t unsent) {
  while (channel_.is_open() && channel_.unsent() > unsent) {
    PollSet polls;
    polls.add(channel_.fd(), POLLIN | POLLOUT, [this] {
      channel_.flush();
      (void)channel_.receive();  // only to notice that the launcher has gone
    });
    polls.wait(std::nullopt);
  }
}

// The launcher was killed: nobody is left to be told anything.
void NodeServer::vanish() {
  signal_ranks(SIGKILL);
  kill_children({});
  folder_.reset();
  _exit(1);
}

}  // namespace

void run_node_server(const JobSpec& job, NodeIndex node, UniqueFd channel) {
  NodeServer(job, node, std::move(channel)).run();
}

}  // namespace lockstep::cli
