// What a host makes of a barrier's words: numbers that go on where theirs begin again, results that
// are overtaken, and gaps where nothing was reported.
#include "runtime/gpu/results.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace lockstep::gpu {
namespace {

class ResultsOfABarrier : public testing::Test {
 protected:
  void report(std::uint64_t number, std::uint32_t low = 0) {
    line_->results[number % LOCKSTEP_GPU_RESULTS] = word_of(number, low);
  }

  std::unique_ptr<lockstep_gpu_line_t> line_ = std::make_unique<lockstep_gpu_line_t>();
  Results results_{*line_};
};

TEST_F(ResultsOfABarrier, AreNoneAtFirst) {
  EXPECT_EQ(results_.over(), 0u);
  EXPECT_FALSE(results_.word(1));
}

TEST_F(ResultsOfABarrier, AreSeenOneByOneAndManyAtATime) {
  report(1, 5);
  EXPECT_EQ(results_.over(), 1u);
  EXPECT_EQ(results_.word(1), word_of(1, 5));
  for (std::uint64_t number = 2; number <= 1000; ++number) report(number, 7);
  EXPECT_EQ(results_.over(), 1000u);
  EXPECT_EQ(results_.word(1000 - LOCKSTEP_GPU_RESULTS + 1), word_of(937, 7));
  EXPECT_FALSE(results_.word(1000 - LOCKSTEP_GPU_RESULTS)) << "overwritten";
  EXPECT_FALSE(results_.word(1001));
}

TEST_F(ResultsOfABarrier, GoOnWhereTheLowerHalfBeginsAgain) {
  const std::uint64_t end = std::uint64_t{1} << 32;
  results_.note(end - 3);
  for (std::uint64_t number = end - 2; number <= end + 5; ++number) report(number);
  EXPECT_EQ(results_.over(), end + 5);
  EXPECT_TRUE(results_.word(end));
  EXPECT_TRUE(is_of(word_of(end, 0), end));
  EXPECT_FALSE(is_of(word_of(end, 0), end + 1));
}

TEST_F(ResultsOfABarrier, StopAtAGapUntilItIsNoted) {
  report(4);
  EXPECT_EQ(results_.over(), 0u) << "nobody has said that 1 to 3 are over";
  results_.note(3);
  EXPECT_EQ(results_.over(), 4u);
  results_.note(2);
  EXPECT_EQ(results_.over(), 4u) << "what was over stays over";
}

TEST_F(ResultsOfABarrier, SayWhatIsBroken) {
  report(1, LOCKSTEP_GPU_BROKEN | 3);
  EXPECT_TRUE(is_broken(*results_.word(1)));
  EXPECT_FALSE(is_broken(word_of(0xffffffffu, 0x7fffffffu)));
}

}  // namespace
}  // namespace lockstep::gpu
