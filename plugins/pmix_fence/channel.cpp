// Runs one fence after the other for as long as an operation needs it.
#include "plugins/pmix_fence/channel.hpp"

#include <algorithm>
#include <thread>

namespace lockstep::pmix_fence {

lockstep_status_t Channel::start(Team& team, std::span<const std::byte> vector) {
  if (has_failed_) return LOCKSTEP_E_PEER;
  open_.reserve(open_.size() + 1);
  // A fence under way may have collected before this contribution; the next one is sure to have it.
  team.start(vector, started_ + 1);
  open_.push_back(&team);
  advance();
  return LOCKSTEP_OK;
}

void Channel::advance() {
  if (fence_) {
    if (const std::optional<pmix_status_t> result = fence_->result()) {
      fence_.reset();
      if (*result == PMIX_SUCCESS) {
        completed_ = started_;
      } else {
        has_failed_ = true;
      }
    }
  }
  // While a fence carries values nothing may be published. What it has collected of this process
  // comes back with it, and a server that keeps values in a hash then puts the old value over a new
  // one of the same key, and carries the old one ever after.
  const bool may_publish = !fence_ || !members_->fence_carries;
  for (Team* team : open_) {
    if (may_publish) team->publish();
    team->advance(completed_);
    if (has_failed_ && team->needs_fence_after(completed_)) team->fail(LOCKSTEP_E_PEER);
  }
  std::erase_if(open_, [](const Team* team) { return team->is_finished(); });
  const bool is_needed = std::any_of(open_.begin(), open_.end(), [this](const Team* team) {
    return team->needs_fence_after(completed_);
  });
  if (is_needed && !fence_) {
    fence_ = Fence::start(members_);
    ++started_;
  }
}

bool Channel::wait_for_fence(std::chrono::steady_clock::time_point deadline) {
  constexpr std::chrono::microseconds kPause{200};
  while (!fence_->result()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  const bool is_complete = *fence_->result() == PMIX_SUCCESS;
  fence_.reset();
  return is_complete;
}

void Channel::leave(std::chrono::steady_clock::time_point deadline) {
  const bool has_fetchers = !members_->fence_carries && members_->processes.size() > 1;
  if (!has_fetchers || started_ == 0 || has_failed_) return;
  // One that is under way and that nobody needs any more does as well: the others join it.
  if (!fence_) fence_ = Fence::start(members_);
  (void)wait_for_fence(deadline);
}

void Channel::forget(const Team& team) noexcept {
  if (std::erase(open_, &team) > 0) is_abandoned_ = true;
}

}  // namespace lockstep::pmix_fence
