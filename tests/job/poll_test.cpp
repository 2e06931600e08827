// The free poll on all ranks of a job: whatever is set, at whatever moment, all are told in the
// poll of the same number, and of everything.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::Session;

/// Of polls that all ranks have made in the same loop: 1, 2, 3, ...
void expect_same_step(Session& s, std::uint64_t step) {
  for (const std::uint64_t other : everybodys(s.job(), step)) ASSERT_EQ(other, step);
}

/// The poll that fires, as a loop that works a little would see it: ranks may be many more than
/// cores.
std::uint64_t poll_until_fired(Session& s, const char* name) {
  std::uint64_t step = 0;
  while (!s.poll_trigger({.name = name})) {
    ++step;
    std::this_thread::sleep_for(20us);
  }
  return step;
}

TEST(Poll, IsFalseUntilSomebodySetsIt) {
  Session& s = the_session();
  for (int i = 0; i < (has_frames() ? 1000 : 3); ++i) ASSERT_FALSE(s.poll_trigger());
  for (const std::uint32_t who : {0u, s.size() / 2, s.size() - 1}) {
    s.wait_for_everyone();
    if (s.rank() == who) s.set_trigger();
    expect_same_step(s, poll_until_fired(s, "step"));
    EXPECT_EQ(s.last_trigger().rank, who);
  }
}

/// Ranks run freely, and set it at any moment, from their own and from other threads.
TEST(Poll, FiresInTheSamePollOnAllRanksAndLosesNothing) {
  Session& s = the_session();
  const std::uint64_t polls = has_frames() ? 20'000 * soak() : 20;
  std::mt19937_64 mine(s.rank() + 1);
  std::vector<std::uint64_t> fired;
  std::uint64_t sets = 0;
  for (std::uint64_t poll = 1; poll <= polls; ++poll) {
    const std::uint64_t draw = mine();
    if (draw % (200 * s.size()) == 0) {
      ++sets;
      s.set_trigger();
    } else if (draw % 64 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(draw >> 32 & 0xff));
    }
    if (s.poll_trigger({.name = "free"})) fired.push_back(poll << 16 | s.last_trigger().rank);
  }
  s.set_trigger();  // what was set last is told at the latest now
  (void)poll_until_fired(s, "last");
  s.wait_for_everyone();
  const auto counts = everybodys<std::uint64_t>(s.job(), fired.size());
  for (const std::uint64_t count : counts) ASSERT_EQ(count, fired.size());
  for (const std::uint64_t one : fired) expect_same_step(s, one);
  std::uint64_t all_sets = 0;
  for (const std::uint64_t count : everybodys(s.job(), sets)) all_sets += count;
  EXPECT_LE(fired.size(), all_sets);
  EXPECT_FALSE(s.check_trigger());  // nothing is left
}

TEST(Poll, ASignalToARandomRankStopsAllAtTheSameStep) {
  Session& s = the_session();
  s.trigger_on_signal(SIGUSR1);
  std::mt19937 shared(20261126);  // the same on all ranks
  const std::uint64_t episodes = has_frames() ? 50 * soak() : 3;
  for (std::uint64_t episode = 0; episode < episodes; ++episode) {
    const auto who = static_cast<std::uint32_t>(shared() % s.size());
    const std::chrono::microseconds delay(shared() % 3000);
    std::thread sender;
    if (s.rank() == who) sender = signal_after(delay, SIGUSR1);
    const std::uint64_t step = poll_until_fired(s, "step");
    if (sender.joinable()) sender.join();
    expect_same_step(s, step);
    ASSERT_EQ(s.last_trigger().rank, who);
    ASSERT_EQ(s.last_trigger().signal, SIGUSR1);
  }
}

TEST(Poll, AndCheckTellTheSameEvents) {
  Session& s = the_session();
  if (s.is_last_process()) s.set_trigger();
  s.wait_for_everyone();
  EXPECT_TRUE(s.check_trigger());
  // The meeting that was wanted for it finds nothing.
  for (int i = 0; i < (has_frames() ? 100 : 3); ++i) {
    ASSERT_FALSE(s.poll_trigger({.name = "after"}));
  }
}

}  // namespace
