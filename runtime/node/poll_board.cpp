// Moves of the one word that a poll looks at.
#include "runtime/node/poll_board.hpp"

#include <algorithm>
#include <ctime>

#include "runtime/node/wait.hpp"

namespace lockstep::node {

PollBoard::View PollBoard::read(std::uint64_t state) noexcept {
  View view;
  view.is_wanted = (state & kWanted) != 0;
  const std::uint64_t value = state >> kValueShift;
  if ((state & kFires) != 0) {
    view.phase = Phase::fires;
    view.fire = value;
  } else if ((state & kHeld) != 0) {
    view.phase = Phase::held;
    view.agreement = value >> kHolderBits;
    view.holder = static_cast<std::uint32_t>(value & (kMembersMax - 1));
  } else if (view.is_wanted) {
    view.phase = Phase::wanted;
  }
  return view;
}

PollBoard::View PollBoard::look() const noexcept {
  return read(common_.state.load(std::memory_order_acquire));
}

void PollBoard::want() noexcept {
  common_.state.fetch_or(kWanted);
  ring(common_.call);
}

void PollBoard::finish(std::uint64_t fire) noexcept {
  std::uint64_t state = common_.state.load();
  do {
    const View seen = read(state);
    if (seen.phase != Phase::fires || seen.fire != fire) return;
  } while (!common_.state.compare_exchange_weak(state, state & kStands));
}

void PollBoard::alert() noexcept {
  common_.state.fetch_or(kAlert);
  wake_all(common_.bell);
}

bool PollBoard::try_hold(const View& seen) noexcept {
  std::uint64_t state = common_.state.load();
  const View present = read(state);
  if (present.phase != seen.phase || present.holder != seen.holder) return false;
  return common_.state.compare_exchange_strong(state, held_by_me(0, state));
}

void PollBoard::hold(std::uint64_t agreement) noexcept {
  std::uint64_t state = common_.state.load();
  while (!common_.state.compare_exchange_weak(state, held_by_me(agreement, state))) {
  }
}

/// What was wanted before a hold is what it is for; what was wanted in one stands.
std::uint64_t PollBoard::held_by_me(std::uint64_t agreement, std::uint64_t state) const noexcept {
  const std::uint64_t kept = state & (read(state).phase == Phase::held ? kStands : kAlert);
  return kHeld | (agreement << kHolderBits | self_) << kValueShift | kept;
}

std::uint64_t PollBoard::furthest() const noexcept {
  if (!fence_.heavy()) {
    // Refused since the start. What a processor has stored is seen by others in far less than that.
    constexpr timespec kDrain{.tv_sec = 0, .tv_nsec = 20'000'000};
    nanosleep(&kDrain, nullptr);
  }
  std::uint64_t most = 0;
  for (const PollLine& line : lines_) {
    most = std::max(most, line.entered.load(std::memory_order_relaxed));
  }
  return most;
}

bool PollBoard::has_pollers() const noexcept {
  return std::any_of(lines_.begin(), lines_.end(), [](const PollLine& line) {
    return line.entered.load(std::memory_order_relaxed) != 0;
  });
}

bool PollBoard::fire(std::uint64_t number) noexcept {
  std::uint64_t state = common_.state.load();
  do {
    const View seen = read(state);
    if (seen.phase != Phase::held || seen.holder != self_) return false;
  } while (!common_.state.compare_exchange_weak(state, firing(number, state)));
  ring(common_.bell);
  return true;
}

void PollBoard::set_fire(std::uint64_t number) noexcept {
  std::uint64_t state = common_.state.load();
  while (!common_.state.compare_exchange_weak(state, firing(number, state))) {
  }
  ring(common_.bell);
}

void PollBoard::commit(std::uint64_t agreement, std::uint64_t number) noexcept {
  // Who speaks next finds the last agreement whole, whenever this one dies.
  common_.fire[agreement % 2].store(number);
  common_.agreement.store(agreement);
  set_fire(number);
}

void PollBoard::repair() noexcept {
  const View seen = look();
  if (seen.phase == Phase::held && seen.agreement == agreement()) set_fire(agreed_fire());
}

}  // namespace lockstep::node
