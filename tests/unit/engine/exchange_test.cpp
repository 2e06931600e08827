// One exchange, driven by hand: what it sends and when it completes. Courses of events with several
// exchanges are the simulator's business (tests/sim).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/engine/exchange_desk.hpp"

namespace lockstep::engine::test {
namespace {

// -- the normal course

TEST(Exchange, ALoneNodeCompletesAtOnce) {
  Desk desk = Desk::tree(0, 1);
  desk.enter(1, 6);
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 6u);
  EXPECT_TRUE(desk.sent().empty());
}

TEST(Exchange, ALeafReportsUpwardsAndWaits) {
  Desk desk = Desk::tree(1, 2);
  desk.enter(1, 2);
  const auto sent = desk.sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].peer, 0u);
  EXPECT_EQ(sent[0].frame.type, FrameType::fact);
  EXPECT_EQ(sent[0].frame.session, 77u);
  EXPECT_EQ(sent[0].frame.group, 5u);
  EXPECT_EQ(sent[0].frame.epoch, 1u);
  EXPECT_EQ(sent[0].frame.sender, 2u);
  EXPECT_EQ(sent[0].frame.word, 2u);
  EXPECT_EQ(sent[0].frame.step, kUp);
  EXPECT_EQ(desk.state(), ExchangeState::open);
  EXPECT_TRUE(desk.receive(0, fact(1, kDown, 3)));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 3u);
}

TEST(Exchange, AnInnerNodeWaitsForAllItsChildren) {
  Desk desk = Desk::tree(1, 5);  // children 3 and 4, parent 0
  desk.enter(1, 1);
  desk.receive(3, fact(1, kUp, 2));
  EXPECT_TRUE(desk.sent().empty()) << "a report about a child that has not reported";
  desk.receive(4, fact(1, kUp, 4));
  const auto up = desk.sent();
  ASSERT_EQ(up.size(), 1u);
  EXPECT_EQ(up[0].frame.word, 7u);
  desk.receive(0, fact(1, kDown, 31));
  const auto down = desk.sent();
  ASSERT_EQ(down.size(), 2u);
  EXPECT_EQ(down[0].frame.word, 31u);
  EXPECT_EQ(desk.state(), ExchangeState::complete);
}

TEST(Exchange, FactsThatComeBeforeItsOwnEntryCount) {
  Desk desk = Desk::tree(0, 3);
  desk.receive(1, fact(1, kUp, 2));
  desk.receive(2, fact(1, kUp, 4));
  EXPECT_EQ(desk.state(), ExchangeState::idle) << "nobody here has entered";
  EXPECT_TRUE(desk.sent().empty());
  desk.enter(1, 1);
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 7u);
}

TEST(Exchange, RepeatedAndOldFactsChangeNothing) {
  Desk desk = Desk::tree(0, 2);
  for (Epoch epoch = 1; epoch <= 4; ++epoch) {
    desk.enter(epoch, 1);
    for (Epoch old = 1; old < epoch; ++old) EXPECT_TRUE(desk.receive(1, fact(old, kUp, 64)));
    EXPECT_EQ(desk.state(), ExchangeState::open);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(desk.receive(1, fact(epoch, kUp, 2)));
    EXPECT_EQ(desk.state(), ExchangeState::complete);
    EXPECT_EQ(desk.exchange().word(), 3u);
    EXPECT_EQ(desk.sent().size(), 1u) << "one message down, however often the report comes";
  }
}

TEST(Exchange, AnEpochStartsWithoutTheBitsOfTheLast) {
  Desk desk = Desk::tree(0, 2);
  for (Epoch epoch = 1; epoch <= 6; ++epoch) {
    const std::uint64_t theirs = std::uint64_t{1} << (2 * epoch);
    const Bytes vector(static_cast<std::size_t>(8 - epoch), static_cast<std::byte>(1u << epoch));
    Frame up = fact(epoch, kUp, theirs);
    up.payload = vector;
    if (epoch % 2 == 0) desk.receive(1, up);  // before the entry or after it
    desk.enter(epoch, 1);
    if (epoch % 2 == 1) desk.receive(1, up);
    ASSERT_EQ(desk.state(), ExchangeState::complete);
    EXPECT_EQ(desk.exchange().word(), theirs | 1);
    const auto result = desk.exchange().vector();
    EXPECT_TRUE(std::equal(result.begin(), result.end(), vector.begin(), vector.end()));
  }
}

TEST(Exchange, FramesThatDoNotBelongHereAreRefused) {
  Desk desk = Desk::tree(1, 5);
  desk.enter(1, 1);
  desk.sent();
  EXPECT_FALSE(desk.receive(77, fact(1, kUp, 2))) << "not a leader of this group";
  EXPECT_FALSE(desk.receive(1, fact(1, kUp, 2))) << "itself";
  EXPECT_FALSE(desk.receive(2, fact(1, kUp, 2))) << "no step of the plan";
  EXPECT_FALSE(desk.receive(3, fact(1, kDown, 2))) << "another step of the plan";
  EXPECT_FALSE(desk.receive(3, fact(3, kUp, 2))) << "nobody can be two epochs ahead";
  EXPECT_FALSE(desk.receive(3, frame_of(FrameType::outcome, 1)));
  EXPECT_TRUE(desk.sent().empty());
  EXPECT_EQ(desk.state(), ExchangeState::open);
}

}  // namespace
}  // namespace lockstep::engine::test
