// One peer: its UCX endpoint and the frames on their way to it.
#pragma once

#include <ucp/api/ucp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lockstep/transport.h"

namespace lockstep::ucx {

/// Frames of one peer that may wait for the network at once; more is LOCKSTEP_AGAIN.
inline constexpr std::size_t kSlots = 32;

/// The one active message of this plugin: both ends must agree on it.
inline constexpr unsigned kMessageId = 1;

class Endpoint {
 public:
  /// `has_loss` is set when the peer turns out to be lost, which UCX tells whenever it is called;
  /// it outlives the endpoint. Frames up to `header_max` bytes travel as a header.
  Endpoint(bool& has_loss, std::size_t header_max) noexcept;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// Starts to connect and returns at once; a peer that does not answer is told by is_lost().
  [[nodiscard]] ucs_status_t open(ucp_worker_h worker, const ucp_address_t* address) noexcept;

  /// Precondition: 1 <= frame.size() <= LOCKSTEP_FRAME_MAX.
  [[nodiscard]] lockstep_status_t post(std::span<const std::byte> frame) noexcept;

  [[nodiscard]] bool is_lost() const noexcept { return state_ != State::live; }

  void lose() noexcept;

  /// True once, for the caller that reports the loss.
  [[nodiscard]] bool take_loss() noexcept;

  /// Closing, part one: wait until the posted frames have left.
  void start_flush() noexcept;

  /// Closing, part two: give the endpoint back without asking the peer.
  void start_abandon() noexcept;

  /// Whether the parts started so far have ended; the worker has to be progressed in between.
  [[nodiscard]] bool is_settled() noexcept;

 private:
  enum class State : std::uint8_t { live, lost, lost_and_reported };

  // UCX 1.13 sends from the caller's bytes until the request completes, so each frame needs a home
  // that outlives post(). Later versions can copy the header themselves, but then nothing would
  // bound the queue: the slots stay, and there is one path for all versions.
  struct Slot {
    Endpoint* owner;
    std::array<std::byte, LOCKSTEP_FRAME_MAX> bytes;
  };

  static void on_error(void* argument, ucp_ep_h endpoint, ucs_status_t status);
  static void on_sent(void* request, ucs_status_t status, void* argument);

  bool& has_loss_;
  ucp_ep_h handle_ = nullptr;
  std::array<ucs_status_ptr_t, 2> closing_{};  // the requests of both parts, or NULL
  std::size_t header_max_;
  State state_ = State::live;
  bool has_sent_ = false;
  std::uint32_t free_ = ~std::uint32_t{0};  // one bit per slot: completions come in any order
  std::array<Slot, kSlots> slots_;
};
static_assert(kSlots == 32, "free_ has one bit per slot");

}  // namespace lockstep::ucx
