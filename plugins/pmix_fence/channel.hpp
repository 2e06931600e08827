// The fences of one set of ranks, shared by all teams that have exactly these members.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "plugins/pmix_fence/requests.hpp"
#include "plugins/pmix_fence/team.hpp"

namespace lockstep::pmix_fence {

/// PMIx knows a fence by its processes, not by its purpose. So teams of the same ranks share one
/// sequence of fences, and members may start their operations in any order.
class Channel {
 public:
  explicit Channel(std::shared_ptr<const Members> members) : members_(std::move(members)) {}

  [[nodiscard]] const std::shared_ptr<const Members>& members() const noexcept { return members_; }
  [[nodiscard]] lockstep_status_t start(Team& team, std::span<const std::byte> vector);
  void advance();
  void forget(const Team& team) noexcept;
  /// A team was given up with its operation unfinished.
  [[nodiscard]] bool is_abandoned() const noexcept { return is_abandoned_; }
  /// Before this process ends: whoever has not fetched its last contribution yet could not fetch it
  /// any more. All members that have leave together; those that go on are waited for until then.
  void leave(std::chrono::steady_clock::time_point deadline);

 private:
  [[nodiscard]] bool wait_for_fence(std::chrono::steady_clock::time_point deadline);

  std::shared_ptr<const Members> members_;
  std::vector<Team*> open_;  // with an operation that is not finished
  std::shared_ptr<Fence> fence_;
  FenceNumber started_ = 0;
  FenceNumber completed_ = 0;
  bool has_failed_ = false;
  bool is_abandoned_ = false;
};

}  // namespace lockstep::pmix_fence
