// Sets of ranks stay sorted, joined and exact. Method: random sets against std::set as the oracle.
#include "runtime/base/rank_set.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace lockstep {
namespace {

RankSet set_of(const std::set<Rank>& ranks) {
  RankSet made;
  for (const Rank rank : ranks) made.append(rank);
  return made;
}

std::set<Rank> random_ranks(std::mt19937& random) {
  std::set<Rank> ranks;
  const std::size_t count = random() % 40;
  const Rank limit = 1 + static_cast<Rank>(random() % 100);
  for (std::size_t i = 0; i < count; ++i) ranks.insert(static_cast<Rank>(random() % limit));
  return ranks;
}

/// Ranges ascend, are not empty, and neither overlap nor touch.
bool is_normal(const RankSet& set) {
  const auto& ranges = set.ranges();
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].count == 0) return false;
    if (i > 0 && ranges[i - 1].first + ranges[i - 1].count >= ranges[i].first) return false;
  }
  return true;
}

TEST(RankSet, IsEmptyAtFirst) {
  const RankSet set;
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.size(), 0u);
  EXPECT_EQ(set.text(), "");
  EXPECT_TRUE(set.list().empty());
}

TEST(RankSet, PrintsRanges) {
  EXPECT_EQ(set_of({7}).text(), "7");
  EXPECT_EQ(set_of({0, 1, 2, 3, 7}).text(), "0-3,7");
  EXPECT_EQ(set_of({2, 3, 5, 9, 10, 11}).text(), "2-3,5,9-11");
}

TEST(RankSet, AppendJoinsNeighbours) {
  std::mt19937 random(1);
  for (int turn = 0; turn < 2'000; ++turn) {
    const std::set<Rank> ranks = random_ranks(random);
    const RankSet set = set_of(ranks);
    EXPECT_TRUE(is_normal(set)) << set.text();
    EXPECT_EQ(set.size(), ranks.size());
    EXPECT_EQ(set.empty(), ranks.empty());
    EXPECT_EQ(set.list(), std::vector<Rank>(ranks.begin(), ranks.end()));
  }
}

TEST(RankSet, MergeIsTheUnion) {
  std::mt19937 random(2);
  for (int turn = 0; turn < 5'000; ++turn) {
    const std::set<Rank> left = random_ranks(random);
    const std::set<Rank> right = random_ranks(random);
    std::set<Rank> both = left;
    both.insert(right.begin(), right.end());
    RankSet merged = set_of(left);
    merged.merge(set_of(right));
    ASSERT_TRUE(is_normal(merged)) << merged.text();
    ASSERT_EQ(merged.list(), std::vector<Rank>(both.begin(), both.end()));
  }
}

TEST(RankSet, MergeJoinsWhatTouches) {
  RankSet set(std::vector<RankRange>{{0, 4}, {8, 4}});
  set.merge(RankSet(std::vector<RankRange>{{4, 4}}));
  EXPECT_EQ(set.ranges(), (std::vector<RankRange>{{0, 12}}));
}

TEST(RankSet, MergeKeepsTheLongerOfTwoRangesThatBeginAlike) {
  RankSet set(std::vector<RankRange>{{3, 2}});
  set.merge(RankSet(std::vector<RankRange>{{3, 9}}));
  EXPECT_EQ(set.text(), "3-11");
  set.merge(RankSet(std::vector<RankRange>{{4, 1}}));
  EXPECT_EQ(set.text(), "3-11");
}

TEST(RankSet, MergeDropsEmptyRanges) {
  RankSet set;
  set.merge(RankSet(std::vector<RankRange>{{3, 0}, {5, 1}}));
  EXPECT_EQ(set.text(), "5");
}

TEST(RankSet, HoldsTheLargestRanges) {
  RankSet set(std::vector<RankRange>{{0, UINT32_MAX - 1}});
  set.merge(RankSet(std::vector<RankRange>{{UINT32_MAX - 1, 1}}));
  EXPECT_EQ(set.size(), std::uint64_t{UINT32_MAX});
  EXPECT_EQ(set.text(), "0-4294967294");
}

TEST(RankSet, EndsBehindItsHighestRank) {
  EXPECT_EQ(RankSet().end(), 0u);
  EXPECT_EQ(RankSet({{3, 1}}).end(), 4u);
  EXPECT_EQ(RankSet({{0, 2}, {7, 3}}).end(), 10u);
  EXPECT_EQ(RankSet({{1, UINT32_MAX}}).end(), std::uint64_t{1} << 32);
}

}  // namespace
}  // namespace lockstep
