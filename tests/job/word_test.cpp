// Words in memory that set triggers: whoever writes there, a kernel in the end, knows nothing of
// lockstep.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::Combine;
using lockstep::Reason;
using lockstep::Session;
using lockstep::Trigger;

void write(std::uint64_t& word, std::uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

TEST(Word, IsSeenByTheNextCheckOnAllRanksAndTakenBack) {
  Session& s = the_session();
  Trigger overflow = s.trigger("overflow", {.combine = Combine::sum});
  std::uint64_t word = 0;
  overflow.on_word(&word);
  EXPECT_FALSE(overflow.check());
  for (std::uint64_t turn = 1; turn <= 3; ++turn) {
    write(word, 10 * turn + s.rank());
    ASSERT_TRUE(overflow.check());
    EXPECT_EQ(std::atomic_ref(word).load(), 0u);
    const lockstep::TriggerReport report = overflow.report();
    EXPECT_EQ(report.reason, Reason::word);
    EXPECT_EQ(report.setters, s.size());
    EXPECT_EQ(report.value, 10 * turn * s.size() + s.size() * (s.size() - 1) / 2);
    EXPECT_EQ(report.text,
              std::to_string(10 * turn + report.rank) + " was written to its word in memory");
    EXPECT_FALSE(overflow.check());
  }
  overflow.close();
}

/// From a thread that is in no step with the loop, on a rank that is another each time.
TEST(Word, FiresInTheSamePollOnAllRanksAndNoneIsLost) {
  Session& s = the_session();
  Trigger stop = s.trigger("word");
  std::uint64_t word = 0;
  stop.on_word(&word);
  std::mt19937 random(7);
  std::uint64_t polls = 0;
  for (std::uint64_t turn = 1; turn <= 40; ++turn) {
    const std::uint32_t writer = static_cast<std::uint32_t>(random() % s.size());
    const auto pause = static_cast<useconds_t>(random() % 500);
    std::jthread kernel;
    if (writer == s.rank()) {
      kernel = std::jthread([&word, turn, pause] {
        usleep(pause);
        write(word, turn);
      });
    }
    do ++polls;
    while (!stop.poll());
    const lockstep::TriggerReport report = stop.report();
    ASSERT_EQ(report.rank, writer);
    ASSERT_EQ(report.value, turn);
    for (const std::uint64_t other : everybodys(s.job(), polls)) ASSERT_EQ(other, polls);
  }
  stop.close();
}

TEST(Word, IsOfAnyGroupAndOneForEachTrigger) {
  Session& s = the_session();
  lockstep::Group& node = s.local();
  Trigger stop = node.trigger("of a node");
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  stop.on_word(&first);
  stop.on_word(&second);
  write(first, 1);
  EXPECT_FALSE(stop.check()) << "another has taken its place";
  write(second, 2);
  EXPECT_TRUE(stop.check());
  EXPECT_EQ(stop.report().reason, Reason::word);
  EXPECT_EQ(stop.report().value, 2u);
  stop.on_word(nullptr);
  write(second, 3);
  EXPECT_FALSE(stop.check());
  stop.on_word(&second);
  stop.close();
  Trigger other = node.trigger("another of a node");
  EXPECT_FALSE(other.check()) << "the word was the other one's";
  other.close();
}

TEST(Word, ThatIsNotAlignedIsRefused) {
  Trigger stop = the_session().trigger("crooked");
  std::uint64_t words[2] = {};
  auto* const crooked = reinterpret_cast<std::uint64_t*>(reinterpret_cast<char*>(words) + 4);
  EXPECT_THROW(stop.on_word(crooked), lockstep::UsageError);
  EXPECT_FALSE(stop.check());
  stop.close();
}

}  // namespace
