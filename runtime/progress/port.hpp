// This process's way to other nodes: one transport or group operation, and the one thread behind
// it.
//
// A caller in a round polls the port itself. The thread sleeps on the transport's descriptor and
// takes over only while no caller of this process is in a round: it answers questions, forwards
// outcomes, and moves open split-phase rounds on. Whoever works holds the mutex.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/engine/frame.hpp"
#include "runtime/observe/counters.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep::progress {

/// What a group's leader hears from the port; every call comes with the port's mutex held.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void on_frame(const engine::Frame& frame) = 0;
  virtual void on_lost(Rank rank) = 0;
  /// Called now and then while no caller is at work. True: call again soon.
  virtual bool on_idle(Nanos now) = 0;
};

class Port {
 public:
  /// Opens what `plugin` offers; frames are preferred to a group operation.
  static Result<std::unique_ptr<Port>> open(std::unique_ptr<plugin::Plugin> plugin,
                                            const lockstep_environment_t& environment,
                                            Counters& counters);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  const lockstep_plugin_t& plugin() const noexcept { return plugin_->table(); }
  bool has_frames() const noexcept { return transport_ != nullptr; }
  const lockstep_group_operation_t* group_operation() const noexcept { return operation_; }
  void* self() const noexcept { return self_; }

  Result<std::vector<std::byte>> address();
  Status connect(Rank rank, std::span<const std::byte> address);
  /// The number of this incarnation of the job; frames of any other are rejected.
  void set_session(std::uint64_t session) noexcept { session_ = session; }
  void start_thread();
  /// Ranks poll, and hear of each other through the thread alone: it is to be quick.
  void expect_polls() noexcept { stand_back_ms_.store(1, std::memory_order_relaxed); }
  bool has_thread() const noexcept { return thread_.joinable(); }

  std::mutex& mutex() noexcept { return mutex_; }
  // -- with the mutex held
  /// Also hears of the ranks that were lost before, and what has come for the group too early.
  void listen(GroupId group, Listener* listener);
  void unlisten(GroupId group) { listeners_.erase(group); }
  /// Sends, or queues what the transport has no room for.
  void post(Rank rank, const engine::Frame& frame);
  void poll();

  // -- a caller's presence, without the mutex
  void enter() noexcept { active_.fetch_add(1, std::memory_order_relaxed); }
  void leave() noexcept {
    visits_.fetch_add(1, std::memory_order_relaxed);
    active_.fetch_sub(1, std::memory_order_release);
  }
  /// The caller is about to sleep on a bell: the thread shall watch the descriptor meanwhile.
  void hand_over() noexcept;

 private:
  /// A frame that waits for room in the transport, or for the end of a poll: what arrives is
  /// answered from within the poll, and the transport may not be called from there.
  struct Queued {
    Rank rank;
    std::size_t length;
    std::array<std::byte, LOCKSTEP_FRAME_MAX> bytes;
  };

  Port(std::unique_ptr<plugin::Plugin> plugin, Counters& counters)
      : plugin_(std::move(plugin)), counters_(counters) {}

  /// A frame for a group that is not known yet: others may have made it, and be in its first round.
  struct Early {
    engine::Frame frame;
    std::vector<std::byte> payload;
  };

  static void deliver(void* context, const void* frame, std::size_t length);
  void keep_early(const engine::Frame& frame);
  static void lost(void* context, std::uint32_t peer);
  void note(const engine::Frame& frame);
  void flush();
  void run();
  bool idle_turn(bool& can_sleep);

  std::unique_ptr<plugin::Plugin> plugin_;
  const lockstep_transport_t* transport_ = nullptr;
  const lockstep_group_operation_t* operation_ = nullptr;
  void* self_ = nullptr;
  std::uint64_t session_ = 0;
  Counters& counters_;

  std::mutex mutex_;
  std::map<GroupId, Listener*> listeners_;
  std::vector<Rank> lost_;     ///< each once: a lost rank does not come back
  std::deque<Early> early_;    ///< the oldest first
  std::vector<Queued> queue_;  ///< keeps its memory: no allocation once it has grown
  std::size_t queue_head_ = 0;
  bool is_polling_ = false;
  Nanos stay_until_ = 0;

  std::atomic<std::uint32_t> active_{0};
  std::atomic<std::uint64_t> visits_{0};
  std::atomic<bool> stop_{false};
  /// How long the thread stands back after it has seen a caller at work. Longer costs latency only
  /// when a caller stops calling, shorter costs wake-ups in every busy loop.
  std::atomic<int> stand_back_ms_{10};
  UniqueFd kick_;
  std::jthread thread_;
};

}  // namespace lockstep::progress
