// Framed messages between the launcher and its node servers, over one end of a socketpair.
#pragma once

#include "api/cli/placement.hpp"
#include "api/cli/unique_fd.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep::cli {

enum class MessageKind : std::uint32_t {
  // Node server to launcher.
  server_ready,   ///< PMIx is up; ranks can be started.
  server_failed,  ///< bytes: why; the server ends.
  rank_started,   ///< rank, value: its pid.
  rank_ended,     ///< rank, value: its wait status.
  rank_aborted,   ///< rank, value: the code given to PMIx_Abort, bytes: its text.
  rank_output,    ///< rank, value: 1 stdout or 2 stderr, bytes.
  // Launcher to node server.
  start_ranks,
  signal_ranks,  ///< value: the signal.
  finish,        ///< Clean up and exit; all ranks have ended.
  // Both ways; `id` is the asker's and comes back with the answer.
  fence,         ///< ranks: who takes part, value: PMIx status, bytes: this node's data.
  fence_answer,  ///< value: PMIx status, bytes: everyone's data.
  modex,         ///< rank: whose data.
  modex_answer,  ///< value: PMIx status, bytes.
};

struct Message {
  MessageKind kind;
  Rank rank = 0;
  std::int32_t value = 0;
  std::uint64_t id = 0;
  std::vector<Rank> ranks = {};
  std::string bytes = {};
};

/// One end. Never blocks; what the peer does not take yet is kept. One thread.
class Channel {
 public:
  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

  void send(const Message& message);
  /// Sends what is kept, as far as it goes.
  void flush();
  /// The messages that have arrived completely.
  [[nodiscard]] std::vector<Message> receive();

  /// False once the peer is gone; nothing more will arrive or leave.
  [[nodiscard]] bool is_open() const { return fd_.is_open(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::size_t unsent() const { return outgoing_.size() - sent_; }

 private:
  bool read_available();

  UniqueFd fd_;
  std::string outgoing_;
  std::size_t sent_ = 0;
  std::string incoming_;
};

struct ChannelPair {
  UniqueFd launcher;
  UniqueFd server;
};
[[nodiscard]] ChannelPair make_channel_pair();

}  // namespace lockstep::cli
