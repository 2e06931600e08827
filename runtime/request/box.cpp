// The moves of a slot.
#include "runtime/request/box.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "runtime/base/clean_text.hpp"
#include "runtime/base/hash.hpp"

namespace lockstep::request {
namespace {

enum class Phase : std::uint64_t { free, writing, posted, taken, told };
constexpr unsigned kPhaseBits = 3;
constexpr std::uint64_t kPhaseMask = (1u << kPhaseBits) - 1;

/// A slot in this state whose requester does not come back may be used again after that time.
constexpr Nanos kWritingMost = 10 * kSecond;
constexpr Nanos kToldMost = 60 * kSecond;

std::uint64_t state_of(std::uint64_t number, Phase phase) noexcept {
  return number << kPhaseBits | static_cast<std::uint64_t>(phase);
}
Phase phase_of(std::uint64_t state) noexcept {
  return static_cast<Phase>(state & kPhaseMask);
}
std::uint64_t with_phase(std::uint64_t state, Phase phase) noexcept {
  return (state & ~kPhaseMask) | static_cast<std::uint64_t>(phase);
}

bool move(Slot& slot, std::uint64_t from, Phase to) noexcept {
  return slot.state.compare_exchange_strong(from, with_phase(from, to), std::memory_order_acq_rel);
}

template <std::size_t N>
std::string_view view(const std::array<char, N>& text) noexcept {
  return {text.data(), strnlen(text.data(), N)};
}

template <std::size_t N>
void copy_text(std::array<char, N>& to, std::string_view from) noexcept {
  to.fill('\0');
  std::memcpy(to.data(), from.data(), std::min(from.size(), N - 1));
}

std::uint64_t hash_of(const Slot& slot, std::uint64_t state) noexcept {
  const auto whole = [](const auto& text) { return std::string_view(text.data(), text.size()); };
  std::uint64_t hash = mix(state >> kPhaseBits);
  for (const std::string_view part : {whole(slot.name), whole(slot.from), whole(slot.reason)}) {
    hash = hash_text(part, hash);
  }
  return hash;
}

bool may_be_claimed(const Slot& slot, std::uint64_t state, Nanos time) noexcept {
  const Nanos age = time - slot.since.load(std::memory_order_relaxed);
  switch (phase_of(state)) {
    case Phase::free:
      return true;
    case Phase::writing:
      return age > kWritingMost;
    case Phase::told:
      return age > kToldMost;
    case Phase::posted:
    case Phase::taken:
      break;
  }
  return false;
}

void announce_if_posted(Box& box, std::uint32_t index) noexcept {
  if (phase_of(box.slots[index].state.load(std::memory_order_acquire)) != Phase::posted) return;
  box.posted.fetch_or(1u << index, std::memory_order_release);
}

}  // namespace

Result<Ticket> post(Box& box, const Wish& wish, std::uint64_t number, Nanos time) {
  if (wish.name.size() > kNameMax) {
    return Status(LOCKSTEP_E_LIMIT,
                  fmt::format("the check's name is longer than {} bytes", kNameMax));
  }
  // Also for those who died before they could say that they had posted.
  for (std::uint32_t index = 0; index < kSlots; ++index) announce_if_posted(box, index);
  for (std::uint32_t index = 0; index < kSlots; ++index) {
    Slot& slot = box.slots[index];
    std::uint64_t state = slot.state.load(std::memory_order_acquire);
    const std::uint64_t mine = state_of(number | 1, Phase::writing);
    if (!may_be_claimed(slot, state, time)) continue;
    if (!slot.state.compare_exchange_strong(state, mine, std::memory_order_acq_rel)) continue;
    slot.since.store(time, std::memory_order_relaxed);
    copy_text(slot.name, wish.name);
    copy_text(slot.from, clean_text(wish.from, kFromMax));
    copy_text(slot.reason, clean_text(wish.reason, kReasonMax));
    slot.hash = hash_of(slot, mine);
    if (!move(slot, mine, Phase::posted)) continue;  // was so slow that it was given up
    announce_if_posted(box, index);
    return Ticket{index, mine >> kPhaseBits};
  }
  return Status(LOCKSTEP_E_LIMIT,
                fmt::format("{} requests wait already for the job to notice them", kSlots));
}

Answer look(const Box& box, const Ticket& ticket) noexcept {
  const Slot& slot = box.slots[ticket.slot];
  const std::uint64_t state = slot.state.load(std::memory_order_acquire);
  if (state >> kPhaseBits != ticket.number) return {Progress::lost};
  switch (phase_of(state)) {
    case Phase::posted:
    case Phase::taken:
      return {Progress::waits};
    case Phase::told:
      return {Progress::told, slot.check.load(std::memory_order_relaxed)};
    case Phase::free:
    case Phase::writing:
      break;
  }
  return {Progress::lost};
}

void finish(Box& box, const Ticket& ticket) noexcept {
  move(box.slots[ticket.slot], state_of(ticket.number, Phase::told), Phase::free);
}

Taken Inbox::take(std::string_view name, bool takes_any) noexcept {
  if (is_empty()) return 0;
  Taken taken = 0;
  const std::uint32_t posted = box_->posted.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < kSlots; ++index) {
    const std::uint32_t bit = 1u << index;
    if ((posted & bit) == 0) continue;
    Slot& slot = box_->slots[index];
    const std::uint64_t state = slot.state.load(std::memory_order_acquire);
    if (phase_of(state) != Phase::posted) {
      box_->posted.fetch_and(~bit, std::memory_order_acq_rel);
      announce_if_posted(*box_, index);  // in between
      continue;
    }
    if (slot.hash != hash_of(slot, state)) {
      // Two have written here at once; the one whose ticket it is sees that it was lost.
      box_->posted.fetch_and(~bit, std::memory_order_relaxed);
      slot.state.store(0, std::memory_order_release);
      continue;
    }
    const std::string_view wanted = view(slot.name);
    if (wanted.empty() ? !takes_any : wanted != name) continue;
    // The bit goes first: whoever posts here next sets it again.
    box_->posted.fetch_and(~bit, std::memory_order_relaxed);
    if (move(slot, state, Phase::taken)) taken |= bit;
  }
  return taken;
}

void Inbox::tell(Taken taken, std::uint64_t check) noexcept {
  for (std::uint32_t index = 0; taken != 0 && index < kSlots; ++index) {
    if ((taken >> index & 1) == 0) continue;
    Slot& slot = box_->slots[index];
    slot.since.store(now(), std::memory_order_relaxed);
    slot.check.store(check, std::memory_order_relaxed);
    move(slot, slot.state.load(std::memory_order_acquire), Phase::told);
  }
}

std::string Inbox::text(Taken taken) const {
  const Slot* oldest = nullptr;
  int count = 0;
  for (std::uint32_t index = 0; index < kSlots; ++index) {
    if ((taken >> index & 1) == 0) continue;
    const Slot& slot = box_->slots[index];
    if (oldest == nullptr || slot.since < oldest->since) oldest = &slot;
    ++count;
  }
  if (oldest == nullptr) return "somebody outside";
  std::string text = clean_text(view(oldest->from), kFromMax);
  if (text.empty()) text = "somebody outside";
  if (oldest->reason[0] != '\0') text += ": " + clean_text(view(oldest->reason), kReasonMax);
  if (count > 1) text += fmt::format(" (and {} more)", count - 1);
  return text;
}

}  // namespace lockstep::request
