// One team: what each member contributed to the operation that is open, and their OR.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep/error.h"
#include "plugins/pmix_fence/requests.hpp"

namespace lockstep::pmix_fence {

/// Number of a fence on one set of ranks; members agree on it because they count alike.
using FenceNumber = std::uint64_t;

/// One operation at a time: start() and publish(), then advance() after every fence until it
/// is_finished().
class Team {
 public:
  struct Place {
    std::uint64_t group;
    std::size_t index;  ///< of this process among the members
    std::shared_ptr<const Members> members;
  };
  Team(Place place, std::shared_ptr<Line> line);

  /// Promises the contribution: it will be published before fence number `fence` begins, and is
  /// sure to be readable after it.
  void start(std::span<const std::byte> vector, FenceNumber fence);

  /// Hands what has been promised to PMIx, once.
  void publish();

  /// Reads on, now that fence number `completed` is over.
  void advance(FenceNumber completed);

  /// Whether the operation needs a fence after `completed` to get any further.
  [[nodiscard]] bool needs_fence_after(FenceNumber completed) const noexcept;

  void fail(lockstep_status_t status) noexcept;

  [[nodiscard]] bool is_open() const noexcept { return is_open_; }
  [[nodiscard]] bool is_finished() const noexcept { return status_ != LOCKSTEP_AGAIN; }
  /// Precondition: is_finished(). Ends the operation.
  [[nodiscard]] lockstep_status_t take(std::span<std::byte> combined) noexcept;
  [[nodiscard]] std::size_t length() const noexcept { return combined_.size(); }

 private:
  enum class Next : std::uint8_t { look, ask, fence };

  [[nodiscard]] std::string key() const;
  void look_for_missing();
  void ask_for_missing();
  [[nodiscard]] bool is_asking() const noexcept;
  void absorb_answers();
  /// Adds one member's value if it is of this epoch.
  void absorb(std::size_t member, std::span<const std::byte> value);

  Place place_;
  std::shared_ptr<Line> line_;
  std::uint64_t epoch_ = 0;
  bool is_open_ = false;
  lockstep_status_t status_ = LOCKSTEP_AGAIN;
  Bytes unpublished_;
  Bytes combined_;
  std::vector<bool> is_known_;  // by member: its contribution is in `combined_`
  std::size_t missing_ = 0;
  FenceNumber own_fence_ = 0;
  FenceNumber last_fence_ = 0;  // of all contributions known: with it everybody can read them
  FenceNumber looked_after_ = 0;
  Next next_ = Next::fence;
  std::size_t next_member_ = 0;  // to look for
  std::shared_ptr<Question> question_;
};

}  // namespace lockstep::pmix_fence
