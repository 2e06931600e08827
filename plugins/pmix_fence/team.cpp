// Contributions as PMIx values. A value says which epoch it is of: an old one is never mistaken.
//
// Which key: a new one per epoch is always right, but PMIx has no way to delete it, and every
// collecting fence carries all of them: rounds get slower and slower. Two keys in turn are enough
// when each process reads the node's store directly (a member can be one epoch ahead, not two).
// They are wrong when it reads through a cache of its own, which PMIx then never refreshes. So a
// team starts with new keys, watches for kTrialEpochs how it reads, and all members decide alike.
//
// Values come in few sizes, and each size has keys of its own: the shared store of PMIx 4.2 (ds21)
// loses a key whose value changes its size a few times.
#include "plugins/pmix_fence/team.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "lockstep/transport.h"

namespace lockstep::pmix_fence {
namespace {

constexpr std::uint64_t kTrialEpochs = 8;

// Values looked for in one call: each takes tens of microseconds.
constexpr std::size_t kLooksMax = 32;

// Travels in front of the vector.
struct Header {
  std::uint64_t epoch;
  FenceNumber fence;
  std::uint32_t needs_new_keys;
  std::uint32_t length;  // of the vector; zeros follow it up to the size of the value
};
static_assert(sizeof(Header) == 24);

constexpr std::array<std::size_t, 3> kRooms = {64, 256, LOCKSTEP_VECTOR_MAX + 64};

std::size_t room_for(std::size_t length) {
  return *std::find_if(kRooms.begin(), kRooms.end(), [=](auto room) { return length <= room; });
}

}  // namespace

Team::Team(Place place, Knowledge& knowledge)
    : place_(std::move(place)),
      knowledge_(knowledge),
      is_known_(place_.members->processes.size()) {}

std::string Team::key() const {
  const std::string team = "lockstep." + std::to_string(place_.group) + ".";
  if (!reuses_keys_) return team + std::to_string(epoch_);
  return team + (epoch_ % 2 == 0 ? "even." : "odd.") + std::to_string(room_for(combined_.size()));
}

lockstep_status_t Team::start(std::span<const std::byte> vector, FenceNumber fence) {
  ++epoch_;
  somebody_needs_new_keys_ = knowledge_.has_to_ask || !has_seen_directly_;
  is_all_seen_ = true;
  const Header header{epoch_, fence, somebody_needs_new_keys_ ? 1u : 0u,
                      static_cast<std::uint32_t>(vector.size())};
  Bytes contribution(sizeof header + room_for(vector.size()));
  std::memcpy(contribution.data(), &header, sizeof header);
  std::copy(vector.begin(), vector.end(), contribution.begin() + sizeof header);
  combined_.assign(vector.begin(), vector.end());
  const bool is_alone = place_.members->processes.size() == 1;
  if (!is_alone && publish(key(), contribution) != PMIX_SUCCESS) {
    --epoch_;
    return LOCKSTEP_E_BOOTSTRAP;
  }
  std::fill(is_known_.begin(), is_known_.end(), false);
  is_known_[place_.index] = true;
  missing_ = place_.members->processes.size() - 1;
  own_fence_ = fence;
  last_fence_ = fence;
  looked_after_ = 0;
  next_ = Next::fence;
  is_open_ = true;
  status_ = is_alone ? LOCKSTEP_OK : LOCKSTEP_AGAIN;
  return LOCKSTEP_OK;
}

void Team::advance(FenceNumber completed) {
  if (!is_open_ || is_finished() || own_fence_ > completed) return;
  if (looked_after_ != completed && !question_) {
    looked_after_ = completed;
    next_member_ = 0;
    next_ = Next::look;
  }
  if (next_ == Next::look && missing_ != 0) {
    look_for_missing();
  } else if (next_ == Next::ask && missing_ != 0) {
    if (!question_) ask_for_missing();
    if (question_->is_answered()) absorb_answers();
  }
  if (missing_ == 0 && last_fence_ <= completed && !is_finished()) finish();
}

// A member that has not started yet, because it runs another team of the same ranks first, is seen
// after one of the next fences: each member fences until it has everyone's contribution.
bool Team::needs_fence_after(FenceNumber completed) const noexcept {
  if (!is_open_ || is_finished()) return false;
  if (own_fence_ > completed) return true;
  return missing_ == 0 ? last_fence_ > completed : next_ == Next::fence;
}

void Team::fail(lockstep_status_t status) noexcept {
  if (is_open_ && !is_finished()) status_ = status;
}

lockstep_status_t Team::take(std::span<std::byte> combined) noexcept {
  if (status_ == LOCKSTEP_OK) std::copy(combined_.begin(), combined_.end(), combined.begin());
  is_open_ = false;
  return std::exchange(status_, LOCKSTEP_AGAIN);
}

void Team::look_for_missing() {
  Bytes value;
  for (std::size_t looks = 0; next_member_ < is_known_.size(); ++next_member_) {
    if (is_known_[next_member_]) continue;
    if (++looks > kLooksMax) return;
    if (!look(key(), place_.members->processes[next_member_], value)) continue;
    absorb(next_member_, value, false);
  }
  next_ = Next::ask;
}

void Team::ask_for_missing() {
  std::vector<Question::Item> items;
  items.reserve(missing_);
  for (std::size_t i = 0; i < is_known_.size(); ++i) {
    if (!is_known_[i]) items.push_back({i, place_.members->processes[i], {}});
  }
  question_ = Question::start(key(), std::move(items), !place_.members->is_whole_job);
}

void Team::absorb_answers() {
  for (const Question::Item& item : question_->items()) {
    absorb(item.member, item.value, true);
  }
  question_.reset();
  next_ = Next::fence;
}

void Team::absorb(std::size_t member, std::span<const std::byte> value, bool has_asked) {
  Header header{};
  if (value.size() < sizeof header) return;
  std::memcpy(&header, value.data(), sizeof header);
  if (header.epoch != epoch_) return;
  const std::span<const std::byte> vector = value.subspan(sizeof header);
  if (header.length != combined_.size() || header.length > vector.size()) {
    fail(LOCKSTEP_E_MISMATCH);
    return;
  }
  if (has_asked) {
    // A value that came between looking and asking proves nothing about looking.
    if (header.fence <= looked_after_) knowledge_.has_to_ask = true;
    is_all_seen_ = false;
  }
  for (std::size_t i = 0; i < combined_.size(); ++i) combined_[i] |= vector[i];
  somebody_needs_new_keys_ |= header.needs_new_keys != 0;
  last_fence_ = std::max(last_fence_, header.fence);
  is_known_[member] = true;
  --missing_;
}

void Team::finish() noexcept {
  // The first epoch may have been seen because start-up fetched everything there was.
  if (epoch_ > 1 && is_all_seen_) has_seen_directly_ = true;
  // Everyone has read the same headers, so everyone comes to the same answer.
  if (epoch_ == kTrialEpochs) {
    reuses_keys_ = !somebody_needs_new_keys_;
    if (!reuses_keys_ && !std::exchange(knowledge_.has_warned, true) && knowledge_.log != nullptr) {
      knowledge_.log(knowledge_.log_context, LOCKSTEP_LOG_WARN,
                     "pmix_fence: PMIx does not show new values of old keys here, so that every "
                     "round needs new ones and is a little slower than the last");
    }
  }
  status_ = LOCKSTEP_OK;
}

}  // namespace lockstep::pmix_fence
