// One node's part in agreeing on a poll: what it answers, what it refuses, and when it commits.
#include "runtime/engine/agreement.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace lockstep::engine {
namespace {

struct Page final : AgreementStore {
  std::uint64_t number = 0;
  std::uint64_t poll = 0;
  Ballot promised;
  std::uint64_t held = 0;
  std::uint64_t furthest = 10;
  bool is_wanted = false;
  bool is_hurried = false;
  bool is_ready = true;  ///< else it has a part only when it has to

  std::uint64_t agreement() const override { return number; }
  Value agreed() const override { return {poll, {}}; }
  Ballot promise() const override { return promised; }
  void promise(Ballot ballot) override { promised = ballot; }
  Wish wants() const override {
    return !is_wanted ? Wish::none : is_hurried ? Wish::at_once : Wish::some;
  }
  std::optional<Value> hold(std::uint64_t agreement, bool at_once) override {
    if (!is_ready && !at_once) return std::nullopt;
    held = agreement;
    return Value{furthest, {}};
  }
  void commit(std::uint64_t agreement, const Value& value) override {
    number = agreement;
    poll = value.word;
    is_wanted = false;
  }
  void add(Value& sum, const Value& part) const override {
    sum.word = std::max(sum.word, part.word);
  }
  /// Recognizable: 100 and more for every node left out.
  void leave_out(Value& sum, NodeIndex node) const override { sum.word += 100 + node; }
  Value conclude(Value sum) const override { return {sum.word + 1, {}}; }
};

struct Nodes final : Presence {
  std::vector<bool> lost = std::vector<bool>(3, false);
  std::optional<NodeIndex> unfit;
  bool is_there(NodeIndex node) const override { return !lost[node]; }
  bool is_given_up(NodeIndex node, Nanos) const override { return lost[node]; }
  bool can_coordinate(NodeIndex node, Nanos) const override { return !lost[node] && node != unfit; }
};

class Agreements : public testing::Test {
 protected:
  /// Speaks for this of three nodes.
  Agreement speaker(NodeIndex node) { return {{7, node, node, 3, kSecond}, page, nodes}; }
  static Frame frame(FrameType type, std::uint64_t number, Ballot ballot, std::uint64_t word = 0) {
    Frame made;
    made.type = type;
    made.epoch = number;
    made.site = ballot.count;
    made.signature = ballot.node;
    made.word = word;
    return made;
  }
  /// All that goes out now, as "type>peer".
  std::string sent() {
    std::string text;
    for (const Outgoing& one : out) {
      if (!text.empty()) text += ' ';
      text += std::to_string(static_cast<int>(one.frame.type)) + '>' + std::to_string(one.peer);
    }
    out.clear();
    return text;
  }

  Page page;
  Nodes nodes;
  Output out;
};

constexpr Ballot kFirst{1, 0};

TEST_F(Agreements, ACoordinatorAsksTellsAndCommitsOnceAnotherNodeHasIt) {
  Agreement zero = speaker(0);
  zero.tick(0, out);
  EXPECT_EQ(sent(), "");
  page.is_wanted = true;
  zero.tick(0, out);
  EXPECT_EQ(page.held, 1u);
  EXPECT_EQ(sent(), "11>1 11>2");
  zero.receive(1, frame(FrameType::poll_held, 1, kFirst, 25), 1, out);
  zero.receive(1, frame(FrameType::poll_held, 1, kFirst, 25), 1, out);  // a frame may come twice
  EXPECT_EQ(sent(), "");
  zero.receive(2, frame(FrameType::poll_held, 1, kFirst, 3), 1, out);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].frame.word, 26u);
  EXPECT_EQ(sent(), "13>1 13>2");
  EXPECT_EQ(page.number, 0u) << "nobody else has it yet";
  zero.receive(2, frame(FrameType::poll_receipt, 1, kFirst), 1, out);
  EXPECT_EQ(page.poll, 26u);
  EXPECT_TRUE(zero.is_busy());
  zero.receive(1, frame(FrameType::poll_receipt, 1, kFirst), 1, out);
  EXPECT_FALSE(zero.is_busy());
}

TEST_F(Agreements, WhatIsNotAnsweredIsSaidAgainToThoseWhoHaveNot) {
  Agreement zero = speaker(0);
  page.is_wanted = true;
  zero.tick(0, out);
  zero.receive(1, frame(FrameType::poll_held, 1, kFirst, 5), 1, out);
  sent();
  zero.tick(kMillisecond, out);
  EXPECT_EQ(sent(), "");
  zero.tick(kSecond, out);
  EXPECT_EQ(sent(), "11>2");
  nodes.lost[2] = true;
  zero.tick(2 * kSecond, out);
  EXPECT_EQ(sent(), "13>1") << "without the node that is lost";
}

TEST_F(Agreements, AnotherNodeTellsTheCoordinatorWhatItWants) {
  Agreement one = speaker(1);
  page.is_wanted = true;
  one.tick(0, out);
  EXPECT_EQ(sent(), "10>0");
  one.tick(kMillisecond, out);
  EXPECT_EQ(sent(), "");
  nodes.lost[0] = true;
  one.tick(2 * kMillisecond, out);
  EXPECT_EQ(sent(), "11>2") << "it coordinates itself now";
}

TEST_F(Agreements, ANodeIsBoundByItsPromise) {
  Agreement two = speaker(2);
  two.receive(0, frame(FrameType::poll_hold, 1, {1, 0}), 0, out);
  EXPECT_EQ(out.back().frame.word, 10u);
  two.receive(1, frame(FrameType::poll_hold, 1, {2, 1}), 0, out);
  EXPECT_EQ(out.back().frame.flags, 0);
  // What the first coordinator said before it went comes late.
  two.receive(0, frame(FrameType::poll_commit, 1, {1, 0}, 30), 0, out);
  EXPECT_EQ(page.number, 0u);
  EXPECT_EQ(out.back().frame.flags, kHeldOutdated);
  EXPECT_EQ(Ballot::unpacked(out.back().frame.word), (Ballot{2, 1}));
  two.receive(1, frame(FrameType::poll_commit, 1, {2, 1}, 11), 0, out);
  EXPECT_EQ(page.poll, 11u);
  EXPECT_EQ(out.back().frame.type, FrameType::poll_receipt);
}

TEST_F(Agreements, WhoHasCommittedSaysSoToTheNextCoordinator) {
  Agreement two = speaker(2);
  two.receive(0, frame(FrameType::poll_commit, 1, {1, 0}, 30), 0, out);
  two.receive(1, frame(FrameType::poll_hold, 1, {2, 1}), 0, out);
  EXPECT_EQ(out.back().frame.flags, kHeldCommitted);
  EXPECT_EQ(out.back().frame.word, 30u);
  EXPECT_EQ(page.held, 0u);
}

TEST_F(Agreements, WhoComesWithAnotherResultAfterwardsIsToldTheFirst) {
  Agreement two = speaker(2);
  two.receive(1, frame(FrameType::poll_commit, 1, {2, 1}, 30), 0, out);
  sent();
  two.receive(0, frame(FrameType::poll_commit, 1, {1, 0}, 40), 0, out);
  EXPECT_EQ(out.back().frame.word, 30u);
  EXPECT_EQ(sent(), "13>0") << "no receipt";
  two.receive(0, frame(FrameType::poll_commit, 1, {1, 0}, 30), 0, out);
  EXPECT_EQ(sent(), "14>0");
}

TEST_F(Agreements, WhatIsCommittedSomewhereIsTheResult) {
  nodes.lost[0] = true;
  Agreement one = speaker(1);
  page.is_wanted = true;
  page.furthest = 40;
  one.tick(0, out);
  const Ballot ballot = page.promised;
  Frame held = frame(FrameType::poll_held, 1, ballot, 30);
  held.flags = kHeldCommitted;
  one.receive(2, held, 0, out);
  one.receive(2, frame(FrameType::poll_receipt, 1, ballot), 0, out);
  EXPECT_EQ(page.poll, 30u) << "not 41";
}

TEST_F(Agreements, ANewCoordinatorFirstSpreadsTheLastAgreement) {
  page.number = 4;
  page.poll = 99;
  page.is_wanted = true;
  nodes.lost[0] = true;
  Agreement one = speaker(1);
  one.tick(0, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame.epoch, 4u);
  EXPECT_EQ(out[0].frame.word, 99u);
  EXPECT_EQ(sent(), "13>2");
  one.receive(2, frame(FrameType::poll_receipt, 4, page.promised), 0, out);
  one.tick(1, out);
  EXPECT_EQ(sent(), "11>2");
  EXPECT_EQ(page.held, 5u);
}

/// What its predecessor said last may come when it has begun: it has promised more than it asks
/// for.
TEST_F(Agreements, ACoordinatorThatIsOvertakenAsksAgain) {
  nodes.lost[0] = true;
  Agreement one = speaker(1);
  page.is_wanted = true;
  one.tick(0, out);
  one.receive(0, frame(FrameType::poll_hold, 1, {5, 0}), 1, out);
  sent();
  one.tick(2, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame.site, 6u);
  EXPECT_EQ(sent(), "11>2");
}

TEST_F(Agreements, ANodeThatHasNoPartYetAnswersOnceItHas) {
  Agreement two = speaker(2);
  page.is_ready = false;
  two.receive(0, frame(FrameType::poll_hold, 1, kFirst), 0, out);
  two.tick(1, out);
  EXPECT_EQ(sent(), "");
  page.is_ready = true;
  two.tick(2, out);
  EXPECT_EQ(out.back().frame.word, 10u);
  EXPECT_EQ(sent(), "12>0");
  two.tick(3, out);
  EXPECT_EQ(sent(), "") << "once";
}

TEST_F(Agreements, ANodeThatHasNoPartYetAnswersNoEarlierBallot) {
  Agreement two = speaker(2);
  page.is_ready = false;
  two.receive(0, frame(FrameType::poll_hold, 1, {1, 0}), 0, out);
  two.receive(1, frame(FrameType::poll_hold, 1, {2, 1}), 0, out);
  page.is_ready = true;
  two.tick(1, out);
  EXPECT_EQ(out.back().frame.site, 2u);
  EXPECT_EQ(sent(), "12>1");
}

TEST_F(Agreements, ACoordinatorWaitsForItsOwnPart) {
  Agreement zero = speaker(0);
  page.is_wanted = true;
  page.is_ready = false;
  zero.tick(0, out);
  for (const NodeIndex node : {1u, 2u}) {
    zero.receive(node, frame(FrameType::poll_held, 1, kFirst, 5), 1, out);
  }
  EXPECT_EQ(sent(), "11>1 11>2") << "all others have answered";
  page.is_ready = true;
  zero.tick(2, out);
  EXPECT_EQ(out.front().frame.word, 11u);
  EXPECT_EQ(sent(), "13>1 13>2");
}

TEST_F(Agreements, ANodeThatIsGivenUpIsLeftOut) {
  Agreement zero = speaker(0);
  nodes.lost[1] = true;
  page.is_wanted = true;
  zero.tick(0, out);
  zero.receive(2, frame(FrameType::poll_held, 1, kFirst, 5), 1, out);
  EXPECT_EQ(out.back().frame.word, 10u + 101u + 1u);
  EXPECT_EQ(sent(), "11>2 13>2");
}

TEST_F(Agreements, HurryIsPassedOnAndEndsAllWaiting) {
  Agreement two = speaker(2);
  page.is_wanted = true;
  page.is_hurried = true;
  two.tick(0, out);
  EXPECT_EQ(out.back().frame.flags, kAtOnce);
  EXPECT_EQ(sent(), "10>0");

  Page other;
  other.is_ready = false;
  Agreement zero({7, 0, 0, 3, kSecond}, other, nodes);
  Frame raise = frame(FrameType::poll_raise, 1, {});
  raise.flags = kAtOnce;
  zero.receive(2, raise, 0, out);
  EXPECT_EQ(other.held, 1u) << "it does not wait for its own part";
  EXPECT_EQ(out.back().frame.flags, kAtOnce) << "nor shall others";
  EXPECT_EQ(sent(), "11>1 11>2");
  zero.receive(2, frame(FrameType::poll_held, 1, kFirst, 5), 1, out);
  zero.tick(kSecond / 2, out);
  EXPECT_EQ(sent(), "11>1") << "asked again";
  zero.tick(kSecond, out);
  EXPECT_EQ(out.front().frame.word, 10u + 101u + 1u) << "without node 1, which is silent";
  EXPECT_EQ(sent(), "13>1 13>2");
}

TEST_F(Agreements, WhoIsInAHurryDoesNotWaitForASilentCoordinator) {
  Agreement one = speaker(1);
  page.is_wanted = true;
  page.is_hurried = true;
  one.tick(0, out);
  one.tick(kSecond, out);
  EXPECT_EQ(sent(), "10>0 10>0");
  one.tick(2 * kSecond, out);
  EXPECT_EQ(sent(), "11>0 11>2") << "it coordinates itself";
}

TEST_F(Agreements, WhoMayNotCoordinateWaitsForSomebodyWhoMay) {
  nodes.lost[0] = true;
  nodes.unfit = 1;
  Agreement one = speaker(1);
  page.is_wanted = true;
  one.tick(0, out);
  EXPECT_EQ(sent(), "");
  EXPECT_TRUE(one.is_busy());
  one.receive(2, frame(FrameType::poll_hold, 1, {1, 2}), 0, out);
  EXPECT_EQ(sent(), "12>2");
}

TEST_F(Agreements, FramesOfOtherAgreementsChangeNothing) {
  Agreement two = speaker(2);
  page.number = 3;
  page.poll = 20;
  two.receive(0, frame(FrameType::poll_hold, 9, {9, 0}), 0, out);
  EXPECT_EQ(sent(), "10>0") << "it lacks what was agreed before";
  two.receive(0, frame(FrameType::poll_commit, 9, {9, 0}, 70), 0, out);
  two.receive(0, frame(FrameType::poll_held, 4, {9, 0}, 70), 0, out);
  two.receive(0, frame(FrameType::poll_receipt, 4, {9, 0}), 0, out);
  EXPECT_EQ(sent(), "");
  two.receive(0, frame(FrameType::poll_commit, 2, {9, 0}, 70), 0, out);
  EXPECT_EQ(sent(), "14>0");
  EXPECT_EQ(page.number, 3u);
  EXPECT_EQ(page.held, 0u);
}

}  // namespace
}  // namespace lockstep::engine
