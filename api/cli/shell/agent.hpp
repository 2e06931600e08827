// The process that stays in the job for its task while the commands of a script come and go.
#pragma once

#include "api/cli/shell/member.hpp"
#include "api/cli/shell/protocol.hpp"
#include "api/cli/unique_fd.hpp"

#include <list>
#include <optional>
#include <string>
#include <utility>

namespace lockstep::cli::shell {

/// Descriptors that whoever starts the agent leaves open in it.
constexpr int kListenerFd = 3;
constexpr int kTaskFd = 4;
constexpr const char* kAgentCommand = "shell-agent";

/// Serves until the task's process ends.
class Agent {
 public:
  Agent(UniqueFd listener, UniqueFd task);

  void run();

 private:
  /// A command that is connected.
  struct Visitor {
    UniqueFd fd;
    pid_t process = 0;
    Reader reader{};
    std::string outgoing{};
  };
  /// The call that the member is in, and whose it is. It outlives its command: what this rank has
  /// told the others cannot be taken back.
  struct Call {
    Request request;
    Visitor* owner = nullptr;        ///< null: its command has gone without the answer
    std::optional<Answer> answer{};  ///< nobody has taken it yet
    bool runs_program = false;       ///< the owner is the first and has been told so
    bool is_void = false;            ///< nobody will want the answer
  };

  void turn();
  void welcome();
  /// Reads what has come; a visitor that is gone or talks nonsense is let go.
  void hear(Visitor& visitor);
  void obey(Visitor& visitor, const Message& message);
  void obey_request(Visitor& visitor, const Request& request);
  void begin(Visitor& visitor, const Request& request);
  void take_news();
  void answer_owner();
  /// Nobody will want the answer: the call is over.
  void drop_call();
  void give_up(const std::string& why);
  void let_go(Visitor& visitor);
  void send(Visitor& visitor, const Message& message);
  void flush(Visitor& visitor);
  void refuse(Visitor& visitor, const std::string& why);
  void relay_words();

  UniqueFd listener_;
  UniqueFd task_;
  UniqueFd words_;  ///< what the library writes to this process's stderr
  Member member_;
  std::list<Visitor> visitors_;
  std::optional<Call> call_;
  /// Waits until a call that nobody wants any more is over.
  std::optional<std::pair<Visitor*, Request>> next_;
  std::string unheard_;  ///< words that came while nobody waited
  bool is_over_ = false;
};

}  // namespace lockstep::cli::shell
