// Tallies: when a trigger is due, and that everybody counts alike, in whatever order they are told.
#include "runtime/trigger/tally.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lockstep::trigger {
namespace {

const Members kMembers{8, {0, 3, 6}};

Record by(Rank rank, std::uint64_t value = 0, Nanos time = 0, std::uint8_t urgency = 3) {
  return {.value = value, .time = time, .rank = rank, .urgency = urgency};
}

TEST(Tally, AnyoneIsEnough) {
  Tally tally({}, kMembers);
  EXPECT_FALSE(tally.is_due());
  EXPECT_TRUE(tally.tell(by(5)));
  EXPECT_EQ(tally.setters(), 1u);
  EXPECT_EQ(tally.first().rank, 5u);
}

TEST(Tally, AllMeansEveryRankOnce) {
  Tally tally({.policy = Policy::all}, kMembers);
  for (Rank rank = 0; rank < 7; ++rank) {
    EXPECT_FALSE(tally.tell(by(rank)));
    EXPECT_FALSE(tally.tell(by(rank))) << "again";
  }
  EXPECT_TRUE(tally.tell(by(7)));
  EXPECT_EQ(tally.setters(), 8u);
}

TEST(Tally, AQuorumCountsRanksNotSets) {
  Tally tally({.policy = Policy::quorum, .quorum = 3}, kMembers);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(tally.tell(by(4)));
  EXPECT_FALSE(tally.tell(by(2)));
  EXPECT_TRUE(tally.tell(by(7)));
}

TEST(Tally, NodeLeadersAreTheFirstOfEachNode) {
  Tally tally({.policy = Policy::node_leaders}, kMembers);
  for (const Rank rank : {0u, 1u, 2u, 3u, 4u, 5u, 7u}) EXPECT_FALSE(tally.tell(by(rank)));
  EXPECT_TRUE(tally.tell(by(6)));
}

TEST(Tally, TheFirstIsTheMostUrgentThenTheEarliestThenTheLowest) {
  Tally tally({}, kMembers);
  tally.tell(by(5, 0, 20));
  EXPECT_EQ(tally.first().rank, 5u);
  tally.tell(by(6, 0, 10));
  EXPECT_EQ(tally.first().rank, 6u);
  tally.tell(by(4, 0, 10));
  EXPECT_EQ(tally.first().rank, 4u);
  tally.tell(by(7, 0, 30, 0));
  EXPECT_EQ(tally.first().rank, 7u);
  EXPECT_EQ(tally.since(), 10) << "of any";
}

TEST(Tally, TheLowestRankComesFirstWhereThatIsTheRule) {
  Rules rules{.order = Order::lowest_rank};
  Tally tally(rules, kMembers);
  Record late = by(2, 0, 20);
  Record early = by(5, 0, 10);
  late.rules = early.rules = rules;
  tally.tell(early);
  tally.tell(late);
  EXPECT_EQ(tally.first().rank, 2u);
}

TEST(Tally, ValuesFollowTheirRule) {
  const auto value = [](Combine combine) {
    Tally tally({.combine = combine}, kMembers);
    tally.tell(by(5, 4, 30));
    tally.tell(by(6, 1, 10));
    tally.tell(by(7, 8, 20));
    return tally.value();
  };
  EXPECT_EQ(value(Combine::bit_or), 13u);
  EXPECT_EQ(value(Combine::max), 8u);
  EXPECT_EQ(value(Combine::min), 1u);
  EXPECT_EQ(value(Combine::sum), 13u);
  EXPECT_EQ(value(Combine::first), 1u) << "of the first cause";
}

TEST(Tally, TheOrderOfTellingDoesNotMatter) {
  std::mt19937 random(20261126);
  for (int round = 0; round < 300; ++round) {
    Rules rules{.policy = static_cast<Policy>(random() % 4),
                .combine = static_cast<Combine>(random() % 5),
                .order = static_cast<Order>(random() % 2),
                .quorum = static_cast<std::uint32_t>(1 + random() % 8)};
    std::vector<Record> records;
    for (std::size_t i = 0; i < 1 + random() % 12; ++i) {
      records.push_back(by(static_cast<Rank>(random() % 8), random() % 100,
                           static_cast<Nanos>(i + 1000 * (random() % 3)),
                           static_cast<std::uint8_t>(random() % 4)));
      records.back().rules = rules;
    }
    Tally one(rules, kMembers);
    for (const Record& record : records) one.tell(record);
    std::shuffle(records.begin(), records.end(), random);
    Tally other(rules, kMembers);
    for (const Record& record : records) other.tell(record);
    ASSERT_EQ(one.is_due(), other.is_due()) << rules.text();
    ASSERT_EQ(one.value(), other.value()) << rules.text();
    ASSERT_EQ(one.setters(), other.setters());
    ASSERT_EQ(one.first(), other.first());
    ASSERT_EQ(one.since(), other.since());
  }
}

}  // namespace
}  // namespace lockstep::trigger
