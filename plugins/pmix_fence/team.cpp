// Contributions as PMIx values. A value says which epoch it is of: an old one is never mistaken.
//
// Which key: PMIx has no way to delete one, and whoever carries values carries those of all keys.
// So two keys in turn where the fence carries values to every node: a member can be one epoch
// ahead, not two. Elsewhere a server that has fetched a value from another node never fetches it
// again, and each epoch needs a key of its own. (Cutting an old value down, to make the pile
// smaller, is not possible: the shared store of PMIx 4.2 then loses other keys of the process.)
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

// Values looked for in one call: each takes tens of microseconds.
constexpr std::size_t kLooksMax = 32;

// Travels in front of the vector.
struct Header {
  std::uint64_t epoch;
  FenceNumber fence;
  std::uint64_t length;  // of the vector; what of it is not in the value is zeros
};
static_assert(sizeof(Header) == 24);

constexpr std::array<std::size_t, 3> kRooms = {64, 256, LOCKSTEP_VECTOR_MAX + 64};

bool is_not_zero(std::byte byte) {
  return byte != std::byte{};
}

std::size_t room_for(std::size_t length) {
  return *std::find_if(kRooms.begin(), kRooms.end(), [=](auto room) { return length <= room; });
}

}  // namespace

Team::Team(Place place, std::shared_ptr<Line> line)
    : place_(std::move(place)),
      line_(std::move(line)),
      is_known_(place_.members->processes.size()) {}

std::string Team::key() const {
  const std::string team = "lockstep." + std::to_string(place_.group) + ".";
  if (!place_.members->fence_carries) return team + std::to_string(epoch_);
  return team + (epoch_ % 2 == 0 ? "even." : "odd.") + std::to_string(room_for(combined_.size()));
}

void Team::start(std::span<const std::byte> vector, FenceNumber fence) {
  ++epoch_;
  combined_.assign(vector.begin(), vector.end());
  const bool is_alone = place_.members->processes.size() == 1;
  if (!is_alone) {
    const Header header{epoch_, fence, vector.size()};
    const auto end = std::find_if(vector.rbegin(), vector.rend(), is_not_zero).base();
    const auto used = static_cast<std::size_t>(end - vector.begin());
    // A key of its own may have any size, and is never given back: it is kept as small as it can
    // be.
    const std::size_t room = place_.members->fence_carries ? room_for(vector.size()) : used;
    unpublished_.assign(sizeof header + room, std::byte{});
    std::memcpy(unpublished_.data(), &header, sizeof header);
    std::copy(vector.begin(), end, unpublished_.begin() + sizeof header);
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
}

void Team::publish() {
  if (unpublished_.empty()) return;
  const Bytes contribution = std::exchange(unpublished_, {});
  if (lockstep::pmix_fence::publish(key(), contribution) != PMIX_SUCCESS) fail(LOCKSTEP_E_PEER);
}

void Team::advance(FenceNumber completed) {
  if (!is_open_ || is_finished() || own_fence_ > completed) return;
  if (looked_after_ != completed && !is_asking()) {
    question_.reset();
    looked_after_ = completed;
    next_member_ = 0;
    next_ = Next::look;
  }
  if (next_ == Next::look && missing_ != 0) {
    look_for_missing();
  } else if (next_ == Next::ask && missing_ != 0) {
    if (!question_) ask_for_missing();
    if (question_->advance()) absorb_answers();
  }
  if (missing_ == 0 && last_fence_ <= completed && !is_finished()) status_ = LOCKSTEP_OK;
}

// A member that has not started yet, because it runs another team of the same ranks first, is seen
// after one of the next fences: each member fences until it has everyone's contribution. Fences
// that passed during a question are looked behind first: one that nobody else needs is open until
// they leave, and then fails.
//
// It also needs one while it waits for its turn to ask, if the question before may itself wait for
// a process that waits for the fence.
bool Team::needs_fence_after(FenceNumber completed) const noexcept {
  if (!is_open_ || is_finished()) return false;
  if (own_fence_ > completed) return true;
  if (missing_ == 0) return last_fence_ > completed;
  if (question_ && !is_asking()) return line_->load() == Reach::anywhere;
  return next_ == Next::fence && looked_after_ == completed;
}

bool Team::is_asking() const noexcept {
  return question_ && question_->has_started();
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
    absorb(next_member_, value);
  }
  next_ = Next::ask;
}

void Team::ask_for_missing() {
  std::vector<Question::Item> items;
  items.reserve(missing_);
  for (std::size_t i = 0; i < is_known_.size(); ++i) {
    if (!is_known_[i]) items.push_back({i, place_.members->processes[i], {}});
  }
  question_ =
      std::make_shared<Question>(line_, key(), std::move(items),
                                 place_.members->fence_carries ? Reach::here : Reach::anywhere);
}

void Team::absorb_answers() {
  for (const Question::Item& item : question_->items()) {
    absorb(item.member, item.value);
  }
  question_.reset();
  next_ = Next::fence;
}

void Team::absorb(std::size_t member, std::span<const std::byte> value) {
  Header header{};
  if (value.size() < sizeof header) return;
  std::memcpy(&header, value.data(), sizeof header);
  if (header.epoch != epoch_) return;
  const std::span<const std::byte> vector = value.subspan(sizeof header);
  if (header.length != combined_.size()) {
    fail(LOCKSTEP_E_MISMATCH);
    return;
  }
  const std::size_t length = std::min(combined_.size(), vector.size());
  for (std::size_t i = 0; i < length; ++i) combined_[i] |= vector[i];
  last_fence_ = std::max(last_fence_, header.fence);
  is_known_[member] = true;
  --missing_;
}

}  // namespace lockstep::pmix_fence
