// What a command in a job script and its task's agent say to each other, as bytes. Pure: no
// sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>

namespace lockstep::cli::shell {

/// Longest name of a call or a trigger.
constexpr std::size_t kNameMax = 96;
/// Longest path of a scope.
constexpr std::size_t kPathMax = 4096;

enum class Action : std::uint8_t { barrier, first, once, set_trigger, check_trigger };
enum class Scope : std::uint8_t { job, node, numa, leaf_switch, file_system, gpu_group };
/// How many there are of each: a byte from outside is checked against it.
constexpr std::uint8_t kActions = 5;
constexpr std::uint8_t kScopes = 6;

// ---- from the command

/// What the agent is to do.
struct Request {
  Action action = Action::barrier;
  Scope scope = Scope::job;
  std::int64_t timeout_ns = 0;  ///< as lockstep_call_t has it
  std::string name{};           ///< empty: none
  std::string path{};           ///< of the scope, where it needs one

  bool operator==(const Request&) const = default;
  /// "lockstep barrier 'epoch end'"
  [[nodiscard]] std::string text() const;
};

/// How the program of `first` or `once` ended where it went first.
struct Ended {
  std::int32_t exit_code = 0;
  /// Why nobody can go on; empty: they can. `once` tells an exit code to all, so that is none.
  std::string failure{};
  std::string output{};  ///< of `once`: what all print

  bool operator==(const Ended&) const = default;
};

/// The answer has arrived: nobody else needs to be told.
struct Taken {
  bool operator==(const Taken&) const = default;
};

// ---- from the agent

/// This rank is the one that goes first: run the program now and say how it ended.
struct GoFirst {
  bool operator==(const GoFirst&) const = default;
};

/// A line for the standard error of whoever waits.
struct Say {
  std::string text{};

  bool operator==(const Say&) const = default;
};

/// It is over.
struct Answer {
  std::int32_t exit_code = 0;
  std::string text{};       ///< why it failed, or what is worth knowing; empty: nothing
  std::string output{};     ///< for the standard output, byte for byte
  bool is_ready = false;    ///< of `first`: run the program now
  bool is_speaker = false;  ///< the text of a success is for one rank to print

  bool operator==(const Answer&) const = default;
};

using Message = std::variant<Request, Ended, Taken, GoFirst, Say, Answer>;

/// The other side is not a lockstep of this version, or is damaged.
class ProtocolError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One frame: its length, the protocol's version, the kind, the fields.
[[nodiscard]] std::string encode(const Message& message);

/// Cuts a stream into messages. Nothing from outside is believed: a bad frame is a ProtocolError,
/// after which the stream is of no use any more.
class Reader {
 public:
  void add(std::string_view bytes) { bytes_.append(bytes); }
  /// The next message, once it is complete.
  [[nodiscard]] std::optional<Message> next();

 private:
  std::string bytes_;
};

}  // namespace lockstep::cli::shell
