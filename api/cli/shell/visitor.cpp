// A conversation of a few messages; only the agent's end or its answer ends it.
#include "api/cli/shell/visitor.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/shell/agent_link.hpp"
#include "api/cli/shell/exit_codes.hpp"
#include "api/cli/shell/program_run.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>

namespace lockstep::cli::shell {
namespace {

class Conversation {
 public:
  explicit Conversation(UniqueFd agent) : agent_(std::move(agent)) {}

  void say(const Message& message) {
    const std::string bytes = encode(message);
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t sent = send(agent_.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return;  // its end is found by hear(), with what it said before
      at += static_cast<std::size_t>(sent);
    }
  }

  Message hear() {
    std::array<char, 65536> part;
    for (;;) {
      if (auto message = reader_.next()) return *message;
      const ssize_t got = read(agent_.get(), part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw CommandError(kExitFailed,
                           "the agent of this task has ended: was it killed? the job cannot go on "
                           "together; end it and start it again");
      }
      reader_.add({part.data(), static_cast<std::size_t>(got)});
    }
  }

  [[nodiscard]] int fd() const { return agent_.get(); }

 private:
  UniqueFd agent_;
  Reader reader_;
};

void write_out(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) _exit(kExitSignalBase + SIGPIPE);  // not worth a word
    if (written < 0) {
      throw CommandError(kExitFailed,
                         fmt::format("the output cannot be written: {}", std::strerror(errno)));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// @param own  How the program has ended, where this rank went first.
int finish(const Visit& visit, const Answer& answer, const std::optional<Ended>& own,
           const Environment& environment) {
  const bool has_failed = own && (!own->failure.empty() || own->exit_code != 0);
  if (has_failed && visit.request.action == Action::first) return own->exit_code;
  if (own && !own->failure.empty()) return own->exit_code;
  write_out(STDOUT_FILENO, answer.output);
  if (answer.is_ready) become_program(visit.program, environment);
  const bool is_failure = answer.exit_code != 0;
  const bool is_wanted =
      is_failure || visit.words == Words::all || (visit.words == Words::one && answer.is_speaker);
  if (is_wanted && !answer.text.empty()) fmt::print(stderr, "lockstep: {}\n", answer.text);
  return answer.exit_code;
}

/// Slurm sends them to all processes of a task, to say that it is time to stop: the script that
/// catches them must not lose the answer of the command that waits just then. Programs that come
/// after have what was there before.
void outlive_user_signals() {
  for (const int number : {SIGUSR1, SIGUSR2}) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    sigaction(number, &action, nullptr);
  }
}

}  // namespace

int pay(const Visit& visit, const Environment& environment) try {
  outlive_user_signals();
  Conversation agent(reach_agent(find_task(environment)));
  agent.say(visit.request);
  std::optional<Ended> own;
  for (;;) {
    const Message message = agent.hear();
    if (const auto* const words = std::get_if<Say>(&message)) {
      write_out(STDERR_FILENO, words->text);
    } else if (std::holds_alternative<GoFirst>(message)) {
      own =
          run_program(visit.program, environment, agent.fd(), visit.request.action == Action::once);
      agent.say(*own);
    } else if (const auto* const answer = std::get_if<Answer>(&message)) {
      agent.say(Taken{});
      return finish(visit, *answer, own, environment);
    } else {
      throw ProtocolError("not an agent's to say");
    }
  }
} catch (const ProtocolError& error) {
  throw CommandError(kExitFailed, fmt::format("the agent of this task is not understood: {}; is it "
                                              "another version of lockstep?",
                                              error.what()));
}

}  // namespace lockstep::cli::shell
