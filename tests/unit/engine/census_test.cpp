// One exchange, driven by hand: what it asks and answers when a round does not end.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/engine/exchange_desk.hpp"

namespace lockstep::engine::test {
namespace {

// -- questions

TEST(Exchange, AnAnswerNamesWhoIsMissingAndFreezesTheEpoch) {
  Desk desk = Desk::tree(0, 2);
  desk.view.missing = RankSet({{1, 1}});
  desk.receive(1, frame_of(FrameType::ask, 1));
  const auto sent = desk.sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].peer, 1u);
  EXPECT_EQ(sent[0].frame.type, FrameType::answer);
  EXPECT_EQ(sent[0].frame.epoch, 1u);
  EXPECT_EQ(sent[0].frame.flags, 0u);
  EXPECT_EQ(decode_ranges(sent[0].payload)->text(), "1");

  desk.view.missing = {};
  desk.receive(1, fact(1, kUp, 2));
  desk.enter(1, 1);
  EXPECT_EQ(desk.state(), ExchangeState::open) << "it has promised not to complete the epoch";
  desk.receive(1, frame_of(FrameType::resume, 1));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 3u);
}

TEST(Exchange, AVerdictEndsAFrozenEpoch) {
  Desk desk = Desk::tree(0, 2);
  desk.receive(1, frame_of(FrameType::ask, 1));
  desk.receive(1, fact(1, kUp, 2));
  desk.enter(1, 1);
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_DEADLINE;
  verdict.epoch = 1;
  verdict.missing = RankSet({{0, 1}});
  const Bytes payload = encode_verdict(verdict);
  Frame broken = frame_of(FrameType::broken, 1);
  broken.payload = payload;
  desk.receive(1, broken);
  EXPECT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_EQ(desk.exchange().verdict().missing.text(), "0");
  desk.receive(1, frame_of(FrameType::resume, 1));
  EXPECT_EQ(desk.state(), ExchangeState::broken) << "broken is for good";
}

TEST(Exchange, AFinishedEpochIsAnsweredWithItsResult) {
  Desk desk = Desk::tree(0, 2);
  desk.receive(1, fact(1, kUp, 2));
  desk.enter(1, 1);
  desk.enter(2, 8);  // the answer must survive the next entry
  desk.sent();
  desk.receive(1, frame_of(FrameType::ask, 1));
  const auto sent = desk.sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].frame.flags, kAnswerComplete);
  EXPECT_EQ(sent[0].frame.word, 3u);
  EXPECT_EQ(desk.state(), ExchangeState::open);
}

TEST(Exchange, WhoAsksTakesOverAFinishedResult) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.ask(1);
  EXPECT_EQ(count(desk.sent(), FrameType::ask), 2u);
  desk.receive(0, complete_answer(1, 7));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 7u);
  EXPECT_EQ(count(desk.sent(), FrameType::resume), 2u) << "the others may go on as well";
}

TEST(Exchange, AVerdictNamesWhatAllAnswersName) {
  Desk desk = Desk::tree(0, 3);
  desk.enter(1, 1);
  desk.ask(1);
  desk.receive(1, Answer(1, RankSet({{3, 1}})).frame);
  EXPECT_EQ(desk.state(), ExchangeState::open) << "one answer is still out";
  desk.sent();
  desk.receive(2, Answer(1, RankSet({{4, 2}})).frame);
  ASSERT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_EQ(desk.exchange().verdict().cause, LOCKSTEP_E_DEADLINE);
  EXPECT_EQ(desk.exchange().verdict().missing.text(), "3-5");
  const auto sent = desk.sent();
  EXPECT_EQ(count(sent, FrameType::broken), 2u);
  EXPECT_EQ(decode_verdict(sent.at(0).payload)->missing.text(), "3-5");
}

TEST(Exchange, NobodyMissingMeansGoOn) {
  Desk desk = Desk::tree(0, 3);
  desk.enter(1, 1);
  desk.ask(1);
  desk.receive(1, fact(1, kUp, 2));
  desk.receive(2, fact(1, kUp, 4));
  EXPECT_EQ(desk.state(), ExchangeState::open)
      << "who asks does not complete before it has decided";
  desk.receive(1, Answer(1, {}).frame);
  desk.receive(1, Answer(1, {}).frame);  // repeated: is still one answer
  EXPECT_EQ(desk.state(), ExchangeState::open);
  desk.sent();
  desk.receive(2, Answer(1, {}).frame);
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(count(desk.sent(), FrameType::resume), 2u);
}

TEST(Exchange, WhoDoesNotAnswerIsNamedAfterTheGrace) {
  Desk desk = Desk::tree(0, 3);
  desk.enter(1, 1);
  desk.ask(1);
  desk.receive(1, Answer(1, {}).frame);
  desk.tick(kGrace);
  EXPECT_EQ(desk.state(), ExchangeState::open);
  desk.tick(kGrace + 1);
  ASSERT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_EQ(desk.exchange().verdict().cause, LOCKSTEP_E_LOST);
  EXPECT_EQ(desk.exchange().verdict().missing.text(), "4-5");
  EXPECT_EQ(desk.exchange().verdict().text, "rank 4 on n2 does not answer");
}

TEST(Exchange, ALostNodeEndsTheRoundAndTheNext) {
  Desk desk = Desk::tree(0, 2);
  desk.receive(1, fact(1, kUp, 2));
  desk.enter(1, 1);
  ASSERT_EQ(desk.state(), ExchangeState::complete);
  desk.lose(1);
  EXPECT_EQ(desk.state(), ExchangeState::complete) << "the round is over, and was fine";
  desk.enter(2, 1);
  ASSERT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_EQ(desk.exchange().verdict().cause, LOCKSTEP_E_LOST);
  EXPECT_EQ(desk.exchange().verdict().missing.text(), "2-3");
}

TEST(Exchange, AnswersWithAnotherSignatureAreAMismatch) {
  Desk desk = Desk::tree(0, 3);
  desk.view.site = "rank 0 at a.cpp:1";
  desk.enter(1, 1);
  desk.ask(1);
  desk.receive(1, Answer(1, {}, kSignature, "rank 2 at a.cpp:1").frame);
  desk.receive(2, Answer(1, {}, 99, "rank 4 at b.cpp:2").frame);
  ASSERT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_EQ(desk.exchange().verdict().cause, LOCKSTEP_E_MISMATCH);
  EXPECT_TRUE(desk.exchange().verdict().missing.empty());
  EXPECT_EQ(desk.exchange().verdict().text, "rank 0 at a.cpp:1, but rank 4 at b.cpp:2");
}

TEST(Exchange, ALowerNodesQuestionReplacesItsOwn) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.ask(1);
  EXPECT_TRUE(desk.exchange().is_asking());
  desk.receive(2, frame_of(FrameType::ask, 1));
  EXPECT_TRUE(desk.exchange().is_asking()) << "a higher node gives way";
  desk.receive(0, frame_of(FrameType::ask, 1));
  EXPECT_FALSE(desk.exchange().is_asking());
  desk.sent();
  desk.receive(2, frame_of(FrameType::resume, 1));
  desk.receive(0, fact(1, kDown, 7));
  EXPECT_EQ(desk.state(), ExchangeState::open) << "only node 0 may lift the freeze";
  desk.receive(0, frame_of(FrameType::resume, 1));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
}

TEST(Exchange, AFreezeThatNobodyLiftsMakesItAskByItself) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.receive(2, frame_of(FrameType::ask, 1));
  desk.sent();
  desk.tick(desk.time + 3 * kGrace - 1);
  EXPECT_TRUE(desk.sent().empty());
  desk.tick(desk.time + 1);
  EXPECT_EQ(count(desk.sent(), FrameType::ask), 2u);
}

TEST(Exchange, ABrokenNodeTellsWhoAsks) {
  Desk desk = Desk::tree(0, 2);
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_MISMATCH;
  verdict.epoch = 1;
  verdict.text = "here, but there";
  desk.fail(verdict);
  EXPECT_EQ(count(desk.sent(), FrameType::broken), 1u);
  desk.receive(1, frame_of(FrameType::ask, 1));
  const auto sent = desk.sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].frame.type, FrameType::broken);
  EXPECT_EQ(decode_verdict(sent[0].payload)->text, "here, but there");
  desk.enter(1, 1);
  EXPECT_EQ(desk.state(), ExchangeState::broken);
}

TEST(Exchange, AVerdictOnAFinishedEpochIsNotBelieved) {
  Desk desk = Desk::tree(0, 2);
  desk.receive(1, fact(1, kUp, 2));
  desk.enter(1, 1);
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_DEADLINE;
  verdict.epoch = 1;
  const Bytes payload = encode_verdict(verdict);
  Frame broken = frame_of(FrameType::broken, 1);
  broken.payload = payload;
  desk.receive(1, broken);
  EXPECT_EQ(desk.state(), ExchangeState::complete);
}

TEST(Exchange, MalformedAnswersAndVerdictsAreAsIfTheyHadNotCome) {
  Desk desk = Desk::tree(0, 2);
  desk.enter(1, 1);
  desk.ask(1);
  const Bytes junk(12, std::byte{0xff});
  Frame answer = frame_of(FrameType::answer, 1);
  answer.payload = junk;
  for (const std::uint16_t step : {std::uint16_t{8}, std::uint16_t{12}, std::uint16_t{13}}) {
    answer.step = step;
    desk.receive(1, answer);
    EXPECT_EQ(desk.state(), ExchangeState::open);
    EXPECT_TRUE(desk.exchange().is_asking());
  }
  Frame broken = frame_of(FrameType::broken, 1);
  broken.payload = junk;
  desk.receive(1, broken);
  EXPECT_EQ(desk.state(), ExchangeState::open);

  // Ranks that no job of this size has: whoever lists them would run out of memory.
  const RankSet foreign({{2, UINT32_MAX - 2}});
  const Answer much(1, foreign);
  desk.receive(1, much.frame);
  EXPECT_TRUE(desk.exchange().is_asking());
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_LOST;
  verdict.epoch = 1;
  verdict.missing = foreign;
  const Bytes coded = encode_verdict(verdict);
  broken.payload = coded;
  desk.receive(1, broken);
  EXPECT_EQ(desk.state(), ExchangeState::open);
}

TEST(Exchange, NoSequenceOfFramesDoesHarm) {
  std::mt19937_64 random(22);
  for (int run = 0; run < 2'000; ++run) {
    Desk desk = run % 2 == 0 ? Desk::tree(1, 5) : Desk::dissemination(1, {5, 3});
    Bytes payload(kPayloadMax);
    for (std::byte& byte : payload) byte = static_cast<std::byte>(random() % 3);
    Epoch epoch = 0;
    for (int i = 0; i < 60; ++i) {
      Frame frame;
      frame.type = static_cast<FrameType>(1 + random() % kFrameTypeLast);
      frame.epoch = random() % 20 == 0 ? random() : epoch + random() % 3;
      frame.word = random();
      frame.signature = random() % 4 == 0 ? 99 : kSignature;
      frame.step = static_cast<std::uint16_t>(random() % 4);
      frame.flags = static_cast<std::uint16_t>(random() % 4);
      frame.payload = std::span(payload).first(random() % (kPayloadMax + 1));
      desk.receive(static_cast<NodeIndex>(random() % 6), frame);
      const bool may_enter =
          desk.state() == ExchangeState::idle || desk.state() == ExchangeState::complete;
      if (random() % 4 == 0 && may_enter) desk.enter(++epoch, 1);
      if (random() % 16 == 0) desk.ask(epoch + random() % 2);
      if (random() % 64 == 0) desk.lose(static_cast<NodeIndex>(random() % 5));
      desk.tick(desk.time + static_cast<Nanos>(random() % kGrace));
      for (const Sent& sent : desk.sent()) {
        ASSERT_LT(sent.peer, 5u);
        ASSERT_NE(sent.peer, 1u);
        ASSERT_LE(sent.payload.size(), kPayloadMax);
      }
    }
  }
}

// -- courses of events that a review of this engine found

// The other node is in another call and was faster: its fact came before this node's entry.
TEST(Exchange, AFactThatComesEarlyShowsAMismatchToo) {
  Desk desk = Desk::tree(0, 2);
  desk.receive(1, fact(1, kUp, 2, 99));
  desk.enter(1, 1, kSignature);
  EXPECT_NE(desk.state(), ExchangeState::complete) << "members are in different calls";
}

// Frames may overtake each other: the next epoch's fact of a peer is not its fact of this epoch.
TEST(Exchange, ANewerFactDoesNotStandForAnOlderOne) {
  Desk desk = Desk::dissemination(0, {3, 3});
  desk.enter(1, 1);
  desk.receive(1, fact(2, 0, 64));  // node 1 has completed epoch 1 and goes on
  desk.receive(2, fact(1, 0, 4));
  EXPECT_EQ(desk.state(), ExchangeState::open) << "node 1's word of epoch 1 is still on its way";
  desk.receive(1, fact(1, 0, 2));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 7u);
}

// Somebody has completed the epoch: a freeze by a node that has given way must not delay that.
TEST(Exchange, AFinishedResultLiftsEveryFreeze) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.ask(1);
  desk.receive(2, frame_of(FrameType::ask, 1));  // crosses this node's own question
  desk.receive(0, complete_answer(1, 7));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
}

// A question about the next epoch says that this one has been completed elsewhere.
TEST(Exchange, AVerdictOnTheNextEpochDoesNotBreakThisOne) {
  Desk desk = Desk::tree(1, 2);
  desk.enter(1, 2);
  Verdict verdict;
  verdict.cause = LOCKSTEP_E_DEADLINE;
  verdict.epoch = 2;
  verdict.missing = RankSet({{2, 2}});
  const Bytes payload = encode_verdict(verdict);
  Frame broken = frame_of(FrameType::broken, 2);
  broken.payload = payload;
  desk.receive(0, broken);
  EXPECT_NE(desk.state(), ExchangeState::broken) << "node 0 has completed epoch 1";
  desk.receive(0, complete_answer(1, 3));  // if it has asked
  desk.receive(0, fact(1, kDown, 3));
  EXPECT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 3u);
}

// Two questions may be open at once, about this epoch and about the next: two promises.
TEST(Exchange, AFreezeOfTheNextEpochOutlastsAQuestionAboutThisOne) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.receive(0, frame_of(FrameType::ask, 2));  // node 0 has completed epoch 1
  desk.receive(2, frame_of(FrameType::ask, 1));  // node 2 has not
  desk.receive(2, frame_of(FrameType::resume, 1));
  desk.receive(0, complete_answer(1, 7));  // if it has asked
  desk.receive(0, fact(1, kDown, 7));
  ASSERT_EQ(desk.state(), ExchangeState::complete);
  desk.enter(2, 2);
  desk.receive(0, fact(2, kDown, 7));
  EXPECT_EQ(desk.state(), ExchangeState::open) << "it has promised node 0 not to complete epoch 2";
}

// More ranks are missing on one node than fit into its answer.
TEST(Exchange, ACutAnswerMakesACutVerdict) {
  Desk desk = Desk::tree(0, 2);
  desk.enter(1, 1);
  desk.ask(1);
  Answer answer(1, RankSet({{3, 1}}));
  answer.frame.flags = kTruncated;
  desk.receive(1, answer.frame);
  ASSERT_EQ(desk.state(), ExchangeState::broken);
  EXPECT_TRUE(desk.exchange().verdict().is_truncated);
}

// An answer to an earlier question of this node says nothing about now.
TEST(Exchange, AnAnswerToAnEarlierQuestionDoesNotCount) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.ask(1);
  desk.receive(0, frame_of(FrameType::ask, 1));     // gives its own question up,
  desk.receive(0, frame_of(FrameType::resume, 1));  // and everybody has entered meanwhile
  Answer late(1, RankSet({{5, 1}}));
  const auto sent = desk.sent();
  const auto question = std::find_if(
      sent.begin(), sent.end(), [](const Sent& one) { return one.frame.type == FrameType::ask; });
  ASSERT_NE(question, sent.end());
  late.frame.site = question->frame.site;
  desk.ask(1);
  desk.receive(2, late.frame);
  desk.receive(2, Answer(1, {}).frame);
  desk.receive(0, Answer(1, {}).frame);
  EXPECT_NE(desk.state(), ExchangeState::broken) << "rank 5 has entered long since";
}

// Node 0's release has come, node 2 has left in order: it had entered, or there were no release.
TEST(Exchange, WhatItHasHeardProvesThatALostNodeHadEntered) {
  Desk desk = Desk::tree(1, 3);
  desk.enter(1, 2);
  desk.ask(1);
  desk.receive(0, fact(1, kDown, 7));
  desk.lose(0);
  desk.lose(2);
  ASSERT_EQ(desk.state(), ExchangeState::complete);
  EXPECT_EQ(desk.exchange().word(), 7u);
}

// Node 2 may wait for a fact of the lost node, and only this node may have been told of the loss.
TEST(Exchange, AResultIsSentAgainToThoseWhoMayWaitForALostNode) {
  Desk desk = Desk::dissemination(0, {3, 3});
  desk.enter(1, 1);
  desk.receive(1, fact(1, 0, 2));
  desk.receive(2, fact(1, 0, 4));
  ASSERT_EQ(desk.state(), ExchangeState::complete);
  desk.sent();
  desk.lose(1);
  desk.tick(desk.time + kGrace / 2 - 1);
  EXPECT_TRUE(desk.sent().empty()) << "a node that leaves in order is followed by all others";
  desk.tick(desk.time + 1);
  const auto sent = desk.sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].peer, 2u);
  EXPECT_EQ(sent[0].frame.type, FrameType::resume);
  EXPECT_EQ(sent[0].frame.flags, kAnswerComplete);
  EXPECT_EQ(sent[0].frame.epoch, 1u);
  EXPECT_EQ(sent[0].frame.word, 7u);
  desk.tick(desk.time + kGrace);
  EXPECT_TRUE(desk.sent().empty()) << "once is enough";
}

// Whoever waits for a node that stands still can learn the result from those that have left.
TEST(Exchange, ANodeThatLeavesHandsTheResultOn) {
  Desk desk = Desk::tree(0, 4);
  desk.leave();
  EXPECT_TRUE(desk.sent().empty()) << "it knows nothing";
  for (const NodeIndex child : {1u, 2u, 3u}) desk.receive(child, fact(1, kUp, 2));
  desk.enter(1, 1);
  ASSERT_EQ(desk.state(), ExchangeState::complete);
  desk.lose(2);
  desk.sent();
  desk.leave();
  const auto sent = desk.sent();
  ASSERT_FALSE(sent.empty());
  for (const Sent& one : sent) {
    EXPECT_NE(one.peer, 2u) << "it is not there";
    EXPECT_EQ(one.frame.type, FrameType::resume);
    EXPECT_EQ(one.frame.flags, kAnswerComplete);
    EXPECT_EQ(one.frame.word, 3u);
  }
}

// Rank 5 is on its way; node 1, which is gone, had come, but may not have told everybody.
TEST(Exchange, AnInquiryAfterALossIsRepeatedUntilTheRoundEnds) {
  Desk desk = Desk::dissemination(0, {3, 3});
  desk.enter(1, 1);
  desk.receive(1, fact(1, 0, 2));
  desk.lose(1);
  desk.tick(desk.time + kGrace / 2);
  EXPECT_EQ(count(desk.sent(), FrameType::ask), 1u);
  desk.receive(2, Answer(1, RankSet({{5, 1}})).frame);
  EXPECT_EQ(desk.state(), ExchangeState::open);
  EXPECT_EQ(count(desk.sent(), FrameType::resume), 1u);
  desk.tick(desk.time + kGrace);
  EXPECT_EQ(count(desk.sent(), FrameType::ask), 1u);
}

TEST(Exchange, AGraceWithoutEndDoesNotOverflow) {
  Desk desk(1, 2, schedule::tree(1, {2, 2}), kNever);
  desk.enter(1, 2);
  desk.receive(0, frame_of(FrameType::ask, 1));
  desk.sent();
  desk.tick(desk.time + 3600 * kSecond);
  EXPECT_TRUE(desk.sent().empty()) << "the freeze has no end, so this node does not ask";
}

}  // namespace
}  // namespace lockstep::engine::test
