// Of a poll and a hold at least one sees the other, between threads; and who may rely on it.
// Method: a litmus test on real cores. It can fail: without a fence on the rare side it does, many
// times a second, wherever the two threads get a core each.
#include "runtime/node/asymmetric_fence.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <vector>

#include "tests/unit/node/litmus.hpp"

namespace lockstep::node {
namespace {

void no_hold_is_missed(const AsymmetricFence& fence) {
  alarm(120);
  Litmus litmus;
  std::uint64_t refusals = 0;
  std::thread frequent([&] { poll_until_held(litmus, fence); });
  const std::uint64_t misses = hold_and_count_misses(litmus, kSecond, [&] {
    if (!fence.heavy()) ++refusals;
  });
  frequent.join();
  EXPECT_EQ(misses, 0u) << "holds that missed a poll that missed them";
  EXPECT_EQ(refusals, 0u);
  alarm(0);
}

TEST(AsymmetricFence, NoHoldIsMissedWhereOnlyTheHolderFences) {
  const std::array members{join_barrier()};
  const AsymmetricFence fence = AsymmetricFence::agree(members);
  if (!fence.is_asymmetric()) GTEST_SKIP() << "membarrier(2) is refused here";
  no_hold_is_missed(fence);
}

TEST(AsymmetricFence, NoHoldIsMissedWhereAllFenceForThemselves) {
  no_hold_is_missed(AsymmetricFence());
}

TEST(AsymmetricFence, TakesAllMembers) {
  using enum Barrier;
  EXPECT_TRUE(AsymmetricFence::agree(std::vector{expedited, expedited}).is_asymmetric());
  EXPECT_FALSE(AsymmetricFence::agree(std::vector{expedited, none}).is_asymmetric());
  EXPECT_FALSE(AsymmetricFence::agree(std::vector{unknown, expedited}).is_asymmetric())
      << "somebody who has not said may be refused";
  EXPECT_FALSE(AsymmetricFence().is_asymmetric());
}

TEST(AsymmetricFence, MayBeJoinedAgain) {
  EXPECT_EQ(join_barrier(), join_barrier());
}

}  // namespace
}  // namespace lockstep::node
