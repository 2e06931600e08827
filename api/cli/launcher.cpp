// The launcher's poll loop: it decides when a job ends and why, and carries messages between nodes.
#include "api/cli/launcher.hpp"

#include "api/cli/channel.hpp"
#include "api/cli/command_error.hpp"
#include "api/cli/descendants.hpp"
#include "api/cli/exchange.hpp"
#include "api/cli/node_folder.hpp"
#include "api/cli/node_server.hpp"
#include "api/cli/output.hpp"
#include "api/cli/pmix_server.hpp"
#include "api/cli/poll_set.hpp"
#include "api/cli/report.hpp"
#include "api/cli/signal_watch.hpp"
#include "api/cli/stdin_relay.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::cli {
namespace {

using namespace std::chrono_literals;

// A killed process needs a moment to go; after that its server itself is taken to be stuck.
constexpr auto kKillGrace = 3s;
constexpr auto kFinishGrace = 5s;

enum class Phase { starting, running, stopping, finishing };

class Launcher {
 public:
  explicit Launcher(const JobSpec& job)
      : job_(job),
        output_(job.placement),
        exchange_(job.placement, lost_peer_status()),
        ranks_(job.placement.size()),
        live_(job.placement.size()) {}

  int run();

 private:
  struct Server {
    pid_t pid = 0;
    Channel channel;
    std::optional<int> wait_status;
    bool is_gone = false;
  };
  struct RankState {
    pid_t pid = 0;
    bool has_ended = false;
  };

  void start_servers();
  [[noreturn]] void become_server(NodeIndex node, std::vector<ChannelPair>& pairs);
  void write_rest();
  void turn();
  void tick();
  [[nodiscard]] bool has_servers() const;
  [[nodiscard]] bool waits_for_reader() const;

  void on_message(NodeIndex node, const Message& message);
  void on_ready();
  void on_rank_ended(Rank rank, int status);
  void on_aborted(const Message& message);
  void on_server_closed(NodeIndex node);
  void on_server_lost(NodeIndex node);
  void on_signal(int number);
  void reap();

  void fail(int exit_code, const std::string& what);
  void stop();
  void kill_at_once();
  void finish_servers();
  void send_all(const Message& message);
  void signal_all(int number);
  void deliver(const std::vector<Outgoing>& outgoing);
  [[nodiscard]] RankName name_of(Rank rank) const;

  const JobSpec& job_;
  Output output_;
  Exchange exchange_;
  SignalWatch signals_;
  StdinRelay stdin_;
  std::vector<Server> servers_;
  std::vector<RankState> ranks_;
  Rank live_;
  NodeIndex ready_ = 0;
  Phase phase_ = Phase::starting;
  std::optional<int> exit_code_;  // by whatever went wrong first
  bool has_death_ = false;        // a rank was killed by a signal while all were to run
  Deadline limit_at_;
  Deadline kill_at_;
  bool has_killed_ = false;
  bool hurries_ = false;  // the user has asked twice: output that nobody takes is not waited for
};

int Launcher::run() {
  // Children that are not ours: a shell that has started something may become this process by exec,
  // as bash does for `lockstep run ... > >(tee log)`.
  const std::vector<pid_t> strangers = list_children();
  adopt_orphans();
  try {
    start_servers();
  } catch (const CommandError& error) {
    fail(error.exit_code(), error.what());
  }
  while (has_servers()) turn();
  kill_children(strangers);
  for (NodeIndex node = 0; node < job_.placement.node_count(); ++node) {
    remove_node_folder(node_folder_path(job_.temporary_base, job_.name, node));
  }
  write_rest();
  return exit_code_.value_or(0);
}

// A pager may take its time, as with any program; but then the user must be able to stop it.
void Launcher::write_rest() {
  bool is_stopped = hurries_;
  while (output_.is_waiting() && !is_stopped) {
    PollSet polls;
    output_.watch(polls);
    polls.add(signals_.fd(), POLLIN, [&] {
      for (const int number : signals_.take()) {
        is_stopped = is_stopped || number == SIGINT || number == SIGTERM || number == SIGHUP;
      }
    });
    polls.wait(std::nullopt);
  }
}

void Launcher::start_servers() {
  std::vector<ChannelPair> pairs;
  for (NodeIndex node = 0; node < job_.placement.node_count(); ++node) {
    pairs.push_back(make_channel_pair());
  }
  for (NodeIndex node = 0; node < job_.placement.node_count(); ++node) {
    const pid_t pid = fork();
    if (pid == 0) become_server(node, pairs);
    if (pid < 0) {
      throw CommandError(1, fmt::format("cannot start a node server: {}", strerrordesc_np(errno)));
    }
    servers_.push_back(
        {.pid = pid, .channel = Channel(std::move(pairs[node].launcher)), .wait_status = {}});
  }
  (void)stdin_.take_reader();  // the server has its copy; ours would keep the pipe alive
}

void Launcher::become_server(NodeIndex node, std::vector<ChannelPair>& pairs) {
  // fork has copied every channel. A copy that stays open here would hide the launcher's death
  // from the other servers.
  UniqueFd own = std::move(pairs[node].server);
  pairs.clear();
  servers_.clear();
  signals_.close();
  const UniqueFd typed = stdin_.take_reader();
  stdin_.close();
  if (typed.is_open() && node == job_.placement.places[0].node) dup2(typed.get(), STDIN_FILENO);
  run_node_server(job_, node, std::move(own));
}

bool Launcher::has_servers() const {
  return std::any_of(servers_.begin(), servers_.end(),
                     [](const Server& server) { return !server.is_gone; });
}

void Launcher::turn() {
  PollSet polls;
  // Signals first: Ctrl-C and the deaths it causes come together, and it is the cause.
  polls.add(signals_.fd(), POLLIN, [this] {
    for (const int number : signals_.take()) on_signal(number);
  });
  for (NodeIndex node = 0; node < servers_.size(); ++node) {
    Server& server = servers_[node];
    if (server.is_gone) continue;
    const int reading = waits_for_reader() ? 0 : POLLIN;
    const int writing = server.channel.unsent() > 0 ? POLLOUT : 0;
    if ((reading | writing) == 0) continue;
    polls.add(server.channel.fd(), static_cast<short>(reading | writing), [this, &server, node] {
      server.channel.flush();
      for (const Message& message : server.channel.receive()) on_message(node, message);
      if (!server.channel.is_open()) on_server_closed(node);
    });
  }
  output_.watch(polls);
  stdin_.watch(polls);
  polls.wait(earlier(stdin_.deadline(), earlier(limit_at_, kill_at_)));
  tick();
}

bool Launcher::waits_for_reader() const {
  return output_.is_congested() && !has_killed_ && !hurries_;
}

void Launcher::tick() {
  const auto now = Clock::now();
  if (limit_at_ && now >= *limit_at_) {
    limit_at_.reset();
    std::vector<RankName> running;
    for (Rank rank = 0; rank < ranks_.size(); ++rank) {
      if (!ranks_[rank].has_ended) running.push_back(name_of(rank));
    }
    output_.say(fmt::format("the time limit of {} s is over; still running and now ended: {}",
                            static_cast<double>(job_.time_limit->count()) / 1000.0,
                            names_text(running)));
    if (!exit_code_) exit_code_ = kExitTimeLimit;
    stop();
  }
  if (job_.tags_output && output_.has_lost_reader() && phase_ == Phase::running) {
    // Without the launcher in between SIGPIPE would have ended the ranks.
    if (!exit_code_) exit_code_ = kExitSignalBase + SIGPIPE;
    stop();
  }
  if (!kill_at_ || now < *kill_at_) return;
  if (!has_killed_ && phase_ == Phase::stopping) {
    has_killed_ = true;
    signal_all(SIGKILL);
    kill_at_ = now + kKillGrace;
    return;
  }
  if (waits_for_reader()) {  // the servers are not stuck, they cannot get rid of their output
    kill_at_ = now + kFinishGrace;
    return;
  }
  kill_at_.reset();
  for (const Server& server : servers_) {
    // One that has been reaped has no number any more; it may be somebody else's by now.
    if (!server.is_gone && !server.wait_status) kill(server.pid, SIGKILL);
  }
}

void Launcher::on_message(NodeIndex node, const Message& message) {
  switch (message.kind) {
    case MessageKind::server_ready:
      return on_ready();
    case MessageKind::server_failed:
      return fail(1, message.bytes);
    case MessageKind::rank_started:
      ranks_[message.rank].pid = message.value;
      return;
    case MessageKind::rank_ended:
      return on_rank_ended(message.rank, message.value);
    case MessageKind::rank_aborted:
      return on_aborted(message);
    case MessageKind::rank_output:
      return output_.add(message.rank, static_cast<Stream>(message.value), message.bytes);
    case MessageKind::fence:
      return deliver(exchange_.on_fence(node, message));
    case MessageKind::modex:
      return deliver(exchange_.on_modex(node, message));
    case MessageKind::modex_answer:
      return deliver(exchange_.on_modex_answer(message));
    default:
      return;
  }
}

// No rank runs before every node can serve it: a node that fails to start then costs one message.
void Launcher::on_ready() {
  if (++ready_ < job_.placement.node_count() || phase_ != Phase::starting) return;
  phase_ = Phase::running;
  send_all({.kind = MessageKind::start_ranks});
  if (job_.time_limit) limit_at_ = Clock::now() + *job_.time_limit;
}

void Launcher::on_rank_ended(Rank rank, int status) {
  if (ranks_[rank].has_ended) return;
  ranks_[rank].has_ended = true;
  --live_;
  output_.end_lines(rank);
  const int exit_code = exit_code_of(status);
  if (exit_code != 0 && phase_ == Phase::running) {
    // Ranks of other nodes may give up, and be heard, before the one whose death made them.
    const bool is_first_death = WIFSIGNALED(status) && !std::exchange(has_death_, true);
    if (is_first_death) exit_code_ = exit_code;
    fail(exit_code, fmt::format("{} {}", name_text(name_of(rank)), how_it_ended(status)));
  }
  // Once the job is being ended nobody needs to be freed from a fence: SIGKILL follows. And it
  // would do harm: libpmix must not get an answer for ranks that are dying right now.
  if (phase_ == Phase::running) deliver(exchange_.rank_gone(rank));
  if (live_ == 0) finish_servers();
}

void Launcher::on_aborted(const Message& message) {
  if (phase_ != Phase::running) return;
  output_.say(fmt::format("{} called PMIx_Abort({}): {}{}", name_text(name_of(message.rank)),
                          message.value, message.bytes.empty() ? "no message" : message.bytes,
                          live_ > 1 ? "; ending the job" : ""));
  if (!exit_code_) exit_code_ = exit_code_of_abort(message.value);
  stop();
}

void Launcher::on_server_closed(NodeIndex node) {
  Server& server = servers_[node];
  if (server.is_gone) return;
  server.is_gone = true;
  if (!server.wait_status) {
    int status = 0;
    waitpid(server.pid, &status, 0);
    server.wait_status = status;
  }
  if (phase_ != Phase::finishing) on_server_lost(node);
}

void Launcher::on_server_lost(NodeIndex node) {
  Rank lost = 0;
  for (const Rank rank : job_.placement.by_node[node]) {
    if (ranks_[rank].has_ended) continue;
    ranks_[rank].has_ended = true;
    --live_;
    ++lost;
    output_.end_lines(rank);
  }
  const int status = *servers_[node].wait_status;
  if (phase_ != Phase::stopping) {
    const int exit_code = exit_code_of(status);
    fail(exit_code == 0 ? 1 : exit_code,
         fmt::format("the server of {} (pid {}) {} and its {} rank{} with it", node_name(node),
                     servers_[node].pid, how_it_ended(status), lost, lost == 1 ? "" : "s"));
  }
  remove_node_folder(node_folder_path(job_.temporary_base, job_.name, node));
  if (phase_ == Phase::running) deliver(exchange_.server_gone(node));
  if (live_ == 0) finish_servers();
}

void Launcher::on_signal(int number) {
  switch (number) {
    case SIGCHLD:
      return reap();
    case SIGUSR1:
    case SIGUSR2:
    case SIGCONT:
      return signal_all(number);
    case SIGTSTP:
      // The ranks are in other process groups than the terminal's: stop them, then ourselves.
      signal_all(SIGSTOP);
      kill(getpid(), SIGSTOP);
      return;
    default:
      break;
  }
  const bool is_repeated = phase_ == Phase::stopping || phase_ == Phase::finishing;
  if (!exit_code_) exit_code_ = kExitSignalBase + number;
  if (is_repeated || number == SIGQUIT) {
    output_.say(fmt::format("got {}; killing what is left", signal_text(number)));
    return kill_at_once();
  }
  output_.say(fmt::format("got {}; ending {} rank{} (once more kills at once)", signal_text(number),
                          live_, live_ == 1 ? "" : "s"));
  stop();
}

void Launcher::reap() {
  int status = 0;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    for (Server& server : servers_) {
      if (server.pid == pid) server.wait_status = status;
    }
  }
}

void Launcher::fail(int exit_code, const std::string& what) {
  const bool is_at_work = phase_ == Phase::running;
  const Survivors survivors{.count = is_at_work ? live_ : 0, .keep_going = job_.keeps_going};
  output_.say(what + fate_text(survivors));
  if (!exit_code_) exit_code_ = exit_code;
  if (!is_at_work || !job_.keeps_going) stop();
}

void Launcher::stop() {
  if (phase_ == Phase::starting || live_ == 0) return finish_servers();
  if (phase_ != Phase::running) return;
  phase_ = Phase::stopping;
  limit_at_.reset();
  signal_all(SIGTERM);
  signal_all(SIGCONT);  // a stopped rank would not hear the first
  kill_at_ = Clock::now() + job_.grace;
}

void Launcher::kill_at_once() {
  hurries_ = true;
  stop();
  kill_at_ = Clock::now();
}

void Launcher::finish_servers() {
  if (phase_ == Phase::finishing) return;
  phase_ = Phase::finishing;
  limit_at_.reset();
  send_all({.kind = MessageKind::finish});
  kill_at_ = Clock::now() + kFinishGrace;
}

void Launcher::send_all(const Message& message) {
  for (Server& server : servers_) server.channel.send(message);
}

void Launcher::signal_all(int number) {
  send_all({.kind = MessageKind::signal_ranks, .value = number});
}

void Launcher::deliver(const std::vector<Outgoing>& outgoing) {
  for (const auto& [node, message] : outgoing) servers_[node].channel.send(message);
}

RankName Launcher::name_of(Rank rank) const {
  return {.rank = rank, .node = job_.placement.places[rank].node, .pid = ranks_[rank].pid};
}

}  // namespace

int launch(const JobSpec& job) {
  return Launcher(job).run();
}

}  // namespace lockstep::cli
