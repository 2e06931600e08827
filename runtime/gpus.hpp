// This rank's GPU, and which members of a group have GPUs that reach each other.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/gpu/choice.hpp"
#include "runtime/gpu/driver.hpp"
#include "runtime/gpu/grouping.hpp"
#include "runtime/group.hpp"

namespace lockstep {

/// What a session knows of GPUs: nothing until somebody asks, since a driver is slow to start, and
/// a program may choose its GPU after it has joined (docs/decisions/0015).
class Gpus {
 public:
  struct Place {
    Rank rank;
    std::uint32_t ranks;
    std::uint32_t local_rank;
  };
  Gpus(const Config& config, const Place& place) : config_(config), place_(place) {}

  /// Decided once; from then on the same.
  struct Own {
    std::optional<gpu::Choice> choice;
    gpu::Device device;       ///< if there is one
    std::string why;          ///< there is none
    bool is_mistake = false;  ///< LOCKSTEP_GPU names none of them
  };
  /// Starts the driver the first time. Any thread.
  const Own& own();

  /// See lockstep_gpu_t::drain_start; 0: all are idle. LOCKSTEP_E_UNSUPPORTED: no GPU here. Any
  /// thread.
  Result<std::uint64_t> drain_start(std::span<void* const> streams);
  /// LOCKSTEP_AGAIN: not yet.
  Status drain_test(std::uint64_t ticket);
  void drain_drop(std::uint64_t ticket);

  /// See lockstep_gpu_t::barrier_open and those after it; on this rank's GPU. Any thread.
  Result<std::unique_ptr<gpu::Barrier>> open_barrier(const lockstep_gpu_barrier_setup_t& setup);
  Status connect(gpu::Barrier& barrier, std::uint32_t member, const UniqueFd& memory);
  Status enqueue(gpu::Barrier& barrier, void* stream, Nanos limit, bool reports, bool& is_captured);
  Result<gpu::Barrier::Last> ask(gpu::Barrier& barrier);
  /// Waits until the GPU is done with it, and ends it. `between` is called when it is done.
  void close(std::unique_ptr<gpu::Barrier>& barrier, const std::function<void()>& between);

  /// What all members of a group have, and who of them are together.
  struct Survey {
    std::vector<bool> has_gpu;     ///< by member; the rest is empty unless all have one
    std::vector<gpu::Seat> seats;  ///< by member
    bool has_mistake = false;      ///< somebody's LOCKSTEP_GPU names none
    gpu::Groups groups;
  };
  /// Collective; a few rounds.
  Result<Survey> survey(Group& group, const Call& call);

  /// The same where everybody has to have one. Collective. On all members LOCKSTEP_E_INVALID:
  /// LOCKSTEP_GPU is wrong on one; LOCKSTEP_E_UNSUPPORTED: somebody has no GPU.
  Result<Survey> survey_all(Group& group, const Call& call);

 private:
  /// Once; from then on the same answer.
  Status start_driver();
  Own find_own();
  gpu::Answers answers_about(const std::vector<gpu::Seat>& seats, Rank member);
  void tell_doubt(Group& group, const Survey& survey);

  const Config& config_;
  Place place_;
  std::mutex mutex_;  ///< of all below
  std::unique_ptr<gpu::Driver> driver_;
  std::optional<Status> started_;
  std::optional<Own> own_;
  bool has_told_doubt_ = false;
};

}  // namespace lockstep
