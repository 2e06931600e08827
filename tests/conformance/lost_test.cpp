// A dead peer is told once, and neither a dead nor a frozen one can keep close() from returning.
// Method: the peer is a process of its own that is killed or stopped; an alarm ends what hangs.
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "link.hpp"
#include "victim.hpp"

namespace lockstep::conformance {
namespace {

class Lost : public TransportTest {
 protected:
  void SetUp() override {
    TransportTest::SetUp();
    if (is_self_only()) GTEST_SKIP() << "has no peer that could die";
    alarm(120);  // a close() that hangs ends the program, which is a failure
  }
  void TearDown() override {
    alarm(0);
    TransportTest::TearDown();
  }

  /// Polls until the peer's answer to `number` is here, so that both directions are known to work.
  static bool hears_answer(Instance& instance, std::uint64_t number, std::uint32_t peer = 1) {
    bool is_answered = false;
    instance.on_frame([&](const Bytes& frame) { is_answered |= number_of(frame) == number; });
    if (instance.post(peer, numbered_frame(number, 64)) != LOCKSTEP_OK) return false;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!is_answered && std::chrono::steady_clock::now() < deadline) {
      if (instance.poll() == 0) sched_yield();
    }
    instance.on_frame(nullptr);
    return is_answered;
  }

  /// Of an instance that has come and left.
  Bytes address_of_the_gone() {
    const Instance gone(plugin(), 1);
    EXPECT_TRUE(gone.is_open());
    return gone.address();
  }

  /// Posts to `peer` until `count` losses were reported; false when that takes too long.
  static bool hears_losses(Instance& instance, std::uint32_t peer, std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (instance.lost().size() < count && std::chrono::steady_clock::now() < deadline) {
      // AGAIN and E_PEER are both right here, as long as the loss is said in the end.
      (void)instance.post(peer, numbered_frame(2, 64));
      if (instance.poll() == 0) sched_yield();
    }
    return instance.lost().size() >= count;
  }

  /// Sleeps on wake_fd until a loss was reported; false when that takes too long.
  static bool wait_asleep(Instance& instance) {
    constexpr int kPatienceMs = 30'000;
    while (instance.lost().empty()) {
      if (instance.poll() != 0 || instance.arm() != LOCKSTEP_OK) continue;
      pollfd descriptor{instance.wake_fd(), POLLIN, 0};
      if (::poll(&descriptor, 1, kPatienceMs) == 0) return false;
    }
    return true;
  }
};

TEST_P(Lost, DeadPeerIsReportedOnce) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  Victim victim(GetParam().path, survivor);
  ASSERT_TRUE(victim.is_ready());
  ASSERT_TRUE(hears_answer(survivor, 1));
  ASSERT_TRUE(survivor.lost().empty());
  victim.kill();
  if (!hears_losses(survivor, 1, 1)) {
    GTEST_SKIP() << plugin().version << " does not notice a dead peer";
  }
  for (int i = 0; i < 1000; ++i) survivor.poll();
  EXPECT_EQ(survivor.lost(), std::vector<std::uint32_t>{1});
  EXPECT_EQ(survivor.post(1, numbered_frame(3, 64)), LOCKSTEP_E_PEER);
  survivor.close();
}

// The second death must not bring up the first again.
TEST_P(Lost, EachDeadPeerIsReportedOnce) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  Victim first(GetParam().path, survivor, 1);
  Victim second(GetParam().path, survivor, 2);
  ASSERT_TRUE(first.is_ready() && second.is_ready());
  ASSERT_TRUE(hears_answer(survivor, 1, 1));
  ASSERT_TRUE(hears_answer(survivor, 2, 2));
  first.kill();
  if (!hears_losses(survivor, 1, 1)) {
    GTEST_SKIP() << plugin().version << " does not notice a dead peer";
  }
  ASSERT_TRUE(hears_answer(survivor, 3, 2)) << "the other peer has suffered";
  second.kill();
  ASSERT_TRUE(hears_losses(survivor, 2, 2));
  for (int i = 0; i < 1000; ++i) survivor.poll();
  EXPECT_EQ(survivor.lost(), (std::vector<std::uint32_t>{1, 2}));
}

TEST_P(Lost, DeathWakesASleeper) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  if (survivor.wake_fd() < 0) GTEST_SKIP() << plugin().version << " can only be polled here";
  Victim victim(GetParam().path, survivor);
  ASSERT_TRUE(victim.is_ready());
  ASSERT_TRUE(hears_answer(survivor, 1));
  victim.kill();
  if (!wait_asleep(survivor)) GTEST_SKIP() << plugin().version << " does not notice a dead peer";
  EXPECT_EQ(survivor.lost(), std::vector<std::uint32_t>{1});
}

TEST_P(Lost, CloseDoesNotWaitForTheDead) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  Victim victim(GetParam().path, survivor);
  ASSERT_TRUE(victim.is_ready());
  ASSERT_TRUE(hears_answer(survivor, 1));
  victim.stop();
  while (survivor.post(1, numbered_frame(2, LOCKSTEP_FRAME_MAX)) == LOCKSTEP_OK) {
  }
  victim.kill();
  survivor.close();
}

TEST_P(Lost, CloseDoesNotWaitForTheFrozen) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  Victim victim(GetParam().path, survivor);
  ASSERT_TRUE(victim.is_ready());
  ASSERT_TRUE(hears_answer(survivor, 1));
  victim.stop();
  while (survivor.post(1, numbered_frame(2, LOCKSTEP_FRAME_MAX)) == LOCKSTEP_OK) {
  }
  survivor.close();
}

/// Who is slow to connect finds peers that have come, done their work and left: no fault of its
/// own.
TEST_P(Lost, APeerThatWasGoneBeforeConnectIsReportedOnce) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  const Bytes address = address_of_the_gone();
  ASSERT_EQ(survivor.connect(1, address), LOCKSTEP_OK);
  EXPECT_TRUE(hears_losses(survivor, 1, 1));
  EXPECT_EQ(survivor.connect(1, address), LOCKSTEP_E_PEER) << "a lost peer does not come back";
  survivor.poll();
  EXPECT_EQ(survivor.lost(), std::vector<std::uint32_t>{1});
}

TEST_P(Lost, CloseDoesNotWaitForAPeerThatNeverWas) {
  Instance survivor(plugin(), 0);
  ASSERT_TRUE(survivor.is_open());
  const Bytes address = address_of_the_gone();
  ASSERT_EQ(survivor.connect(1, address), LOCKSTEP_OK) << "that it is gone is for poll to say";
  (void)survivor.post(1, numbered_frame(0, 64));
  survivor.close();
}

INSTANTIATE_TEST_SUITE_P(Plugin, Lost, testing::ValuesIn(candidates()));

}  // namespace
}  // namespace lockstep::conformance
