// A group's stream barrier on one member: what it enqueues, what has become of it, and the thread
// that sees to those whom its GPU cannot reach.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/streams.h"
#include "runtime/gpu/circles.hpp"
#include "runtime/gpu/results.hpp"
#include "runtime/gpus.hpp"
#include "runtime/group.hpp"
#include "runtime/progress/lookout.hpp"

namespace lockstep {

class StreamBarrier {
 public:
  /// What the members have agreed on (runtime/stream_barrier_setup.cpp).
  struct Made {
    std::unique_ptr<gpu::Barrier> barrier;
    gpu::Circle circle;        ///< of this member; numbers within the group
    Group* leaders = nullptr;  ///< of all circles; on them, if there are several
  };
  StreamBarrier(Gpus& gpus, Group& group, Made made);
  /// Waits until the GPU is done with it.
  ~StreamBarrier();
  StreamBarrier(const StreamBarrier&) = delete;
  StreamBarrier& operator=(const StreamBarrier&) = delete;

  /// See lockstep_stream_barrier().
  Status enqueue(void* stream, const Call& call);
  /// See lockstep_stream_barrier_test().
  Status test(std::uint64_t number, std::uint32_t* bits, std::uint64_t* over);
  /// See lockstep_stream_barrier_bind(). Collective.
  Result<lockstep_stream_bit_t> bind(const std::string& trigger, const Call& call);

  Group* leaders() const noexcept { return made_.leaders; }

 private:
  lockstep_gpu_line_t& line() const noexcept { return made_.barrier->line(); }
  bool carries() const noexcept { return made_.leaders != nullptr; }
  bool has_failed() const noexcept { return has_failed_.load(std::memory_order_acquire); }
  /// Where the attendant is; on its own thread.
  struct Post {
    std::uint64_t next = 1;      ///< the barrier that has to be carried next
    std::uint64_t enqueued = 0;  ///< as it has seen
    Nanos active = 0;            ///< since when nothing has happened
    Nanos look_at = 0;
    bool has_told = false;  ///< the other leaders know that it has failed
  };
  Nanos attend(Post& post);
  Nanos pause(const Post& post, Nanos time) const;
  bool carry(std::uint64_t number);
  void tell_leaders(std::uint64_t number);
  struct Seen {
    std::uint64_t over = 0;
    std::optional<std::uint32_t> low;  ///< of the barrier that was asked about; nothing: forgotten
  };
  Result<Seen> see(std::uint64_t number);
  void look();
  void fail(Status status);
  Status failure();
  Status failure_by_gpu(std::uint64_t cause) const;

  Gpus& gpus_;
  Group& group_;
  Made made_;
  node::Bell bell_{};  ///< rung when something is enqueued
  std::atomic<std::uint64_t> enqueued_{0};
  /// Results are written for the host once triggers have bits; before, the GPU is asked.
  std::atomic<bool> reports_{false};
  std::atomic<bool> has_mute_{false};     ///< some were enqueued before
  std::atomic<bool> is_captured_{false};  ///< in a graph, which nobody sees being launched
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;  ///< of all below
  gpu::Results results_;
  Status failure_;
  std::map<std::string, std::uint32_t> bits_;  ///< of triggers, by name
  std::unique_ptr<progress::Lookout> attendant_;
};

}  // namespace lockstep
