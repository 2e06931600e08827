// Sections and what is built on them, on every rank of a job in which nobody dies: policies,
// outcomes, exit barriers, once and gather.
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::Outcome;
using lockstep::Policy;
using lockstep::Session;

/// Rank 0 throws, whoever else goes first succeeds.
void fail_on_main(Session& s, bool& ran, Policy policy, bool exit_barrier = false) {
  s.main_process_first(
      [&] {
        ran = true;
        if (s.is_main_process()) throw std::out_of_range("no such shard");
      },
      {.name = "shards", .policy = policy, .exit_barrier = exit_barrier});
}

TEST(Policy, PropagateGivesEverybodyTheOutcome) {
  Session& s = the_session();
  for (const bool exit_barrier : {false, true}) {
    bool ran = false;
    if (s.is_main_process()) {
      EXPECT_THROW(fail_on_main(s, ran, Policy::propagate, exit_barrier), std::out_of_range);
    } else {
      EXPECT_THROW(fail_on_main(s, ran, Policy::propagate, exit_barrier), lockstep::FirstFailed);
    }
    EXPECT_EQ(ran, s.is_main_process());
    const auto outcome = s.job().last_outcome();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->kind, Outcome::Kind::failed);
    EXPECT_EQ(outcome->rank, 0u);
    EXPECT_EQ(outcome->attempts, 1u);
    EXPECT_EQ(outcome->host, lockstep_session_host(s.handle(), 0));
    EXPECT_EQ(outcome->type, "std::out_of_range");
    EXPECT_EQ(outcome->text, "no such shard");
    EXPECT_NE(outcome->site.find("section_test.cpp:"), std::string::npos) << outcome->site;
    EXPECT_NE(outcome->site.find("'shards'"), std::string::npos) << outcome->site;
  }
}

TEST(Policy, RetryNextGoesOnWithTheNextRank) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) GTEST_SKIP() << "a section is a round there";
  bool ran = false;
  if (s.is_main_process()) {
    EXPECT_THROW(fail_on_main(s, ran, Policy::retry_next), std::out_of_range);
  } else {
    fail_on_main(s, ran, Policy::retry_next);
    const auto outcome = s.job().last_outcome();
    EXPECT_EQ(outcome->kind, Outcome::Kind::ok);
    EXPECT_EQ(outcome->rank, 1u);
    EXPECT_EQ(outcome->attempts, 2u);
  }
  EXPECT_TRUE(ran);
  s.wait_for_everyone();
}

TEST(Policy, RetryNextEndsWithTheLastErrorWhenAllFail) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) GTEST_SKIP() << "a section is a round there";
  const auto fail = [] { throw std::runtime_error("nobody can"); };
  EXPECT_THROW(s.main_process_first(fail, {.policy = Policy::retry_next}), std::runtime_error);
  EXPECT_EQ(s.job().last_outcome()->rank, s.rank());
  s.wait_for_everyone();
}

TEST(Policy, ContinueOnErrorGoesOn) {
  Session& s = the_session();
  bool ran = false;
  if (s.is_main_process()) {
    EXPECT_THROW(fail_on_main(s, ran, Policy::continue_on_error), std::out_of_range);
  } else {
    fail_on_main(s, ran, Policy::continue_on_error);
    EXPECT_EQ(s.job().last_outcome()->kind, Outcome::Kind::failed);
  }
  EXPECT_TRUE(ran);
  s.wait_for_everyone();
}

TEST(Policy, MembersMustAgreeOnIt) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) GTEST_SKIP() << "a section is a round there, and breaks";
  const auto policy = s.is_main_process() ? Policy::propagate : Policy::continue_on_error;
  if (s.is_main_process()) {
    s.main_process_first([] {}, {.policy = policy});
  } else {
    EXPECT_THROW(s.main_process_first([] {}, {.policy = policy}), lockstep::UsageError);
  }
  s.main_process_first([] {});
}

TEST(Section, ACollectiveOfTheSameGroupInsideIsRefusedOnTheFirst) {
  Session& s = the_session();
  if (s.size() == 1) GTEST_SKIP() << "nobody waits";
  const auto section = s.main_process_first({.name = "outer"});
  EXPECT_EQ(section.is_first(), s.is_main_process());
  if (!section.is_first()) return;
  try {
    s.wait_for_everyone({.name = "inner"});
    FAIL() << "it was not refused";
  } catch (const lockstep::UsageError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("'inner'"), std::string::npos) << text;
    EXPECT_NE(text.find("'outer'"), std::string::npos) << text;
  }
  EXPECT_THROW((void)s.check_trigger(), lockstep::UsageError);
  EXPECT_THROW((void)s.job().broadcast("x"), lockstep::UsageError);
  EXPECT_THROW((void)s.job().split(0), lockstep::UsageError);
  EXPECT_EQ(s.job().rank(), 0u);
}

/// All ranks of these jobs have one clock.
TEST(Section, AnExitBarrierKeepsEverybodyUntilAllAreDone) {
  Session& s = the_session();
  const auto time = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  for (int i = 0; i < (has_frames() ? 20 : 2); ++i) {
    std::int64_t done = 0;
    s.main_process_first([&] { done = time(); }, {.exit_barrier = true});
    const std::int64_t left = time();
    for (const std::int64_t other : everybodys(s.job(), done)) EXPECT_LE(other, left);
  }
}

TEST(Section, BadUseIsRefused) {
  Session& s = the_session();
  lockstep_section_t section{sizeof section, 17, 0};
  EXPECT_EQ(lockstep_first_begin(s.job().handle(), &section, nullptr), LOCKSTEP_E_INVALID);
  section = {3, 0, 0};
  EXPECT_EQ(lockstep_first_begin(s.job().handle(), &section, nullptr), LOCKSTEP_E_INVALID);
  lockstep_outcome_t outcome{};
  EXPECT_EQ(lockstep_last_outcome(s.job().handle(), &outcome), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_first_fail(s.job().handle(), nullptr, "x"), LOCKSTEP_E_STATE);
  EXPECT_EQ(lockstep_is_first(s.job().handle()), 0);
  lockstep_once_work_t work{};
  EXPECT_EQ(lockstep_once(s.job().handle(), nullptr, &work, nullptr), LOCKSTEP_E_INVALID);
  std::size_t length = 0;
  EXPECT_EQ(lockstep_gather(s.job().handle(), nullptr, 1, nullptr, nullptr, &length),
            LOCKSTEP_E_INVALID);
}

TEST(Once, OneMakesTheBytesAndAllGetThem) {
  Session& s = the_session();
  const std::size_t most = has_frames() ? 300'000 : 5'000;
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{700},
                                   std::size_t{701}, std::size_t{1024}, std::size_t{1025}, most}) {
    int runs = 0;
    const std::string bytes = s.job().once([&] {
      ++runs;
      std::string made(length, '\0');
      for (std::size_t i = 0; i < length; ++i) made[i] = static_cast<char>(i * 7 >> 1);
      return made;
    });
    EXPECT_EQ(runs, s.is_main_process() ? 1 : 0);
    ASSERT_EQ(bytes.size(), length);
    for (std::size_t i = 0; i < length; ++i) {
      ASSERT_EQ(bytes[i], static_cast<char>(i * 7 >> 1)) << i;
    }
  }
  EXPECT_EQ(s.local().once([&] { return std::to_string(s.node()); }), std::to_string(s.node()));
}

TEST(Once, AFailureReachesAllAndAConsumerThatGivesUpHurtsNobodyElse) {
  Session& s = the_session();
  const auto fail = [&]() -> std::string { throw std::domain_error("no licence"); };
  if (s.is_main_process()) {
    EXPECT_THROW(s.job().once(fail), std::domain_error);
  } else {
    EXPECT_THROW(s.job().once(fail), lockstep::FirstFailed);
  }
  EXPECT_EQ(s.job().last_outcome()->type, "std::domain_error");
  EXPECT_EQ(s.job().last_outcome()->text, "no licence");
  std::size_t taken = 0;
  const std::size_t length = has_frames() ? 200'000 : 3'000;
  const auto produce = [&](std::ostream& out) { out << std::string(length, 'x'); };
  const auto consume = [&](std::string_view piece) {
    taken += piece.size();
    if (s.is_last_process()) throw std::length_error("enough");
  };
  if (s.is_last_process()) {
    EXPECT_THROW(s.job().once(produce, consume), std::length_error);
  } else {
    s.job().once(produce, consume);
    EXPECT_EQ(taken, length);
  }
  s.wait_for_everyone();
}

TEST(Once, TheNextRankTriesIfThatIsThePolicy) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) GTEST_SKIP() << "a section is a round there";
  if (s.size() == 1) GTEST_SKIP() << "there is no next";
  const auto make = [&]() -> std::string {
    if (s.is_main_process()) throw std::runtime_error("not here");
    return std::string(5, static_cast<char>('a' + s.rank()));
  };
  if (s.is_main_process()) {
    // Who failed does not learn what the next has made.
    EXPECT_THROW(s.job().once(make, {.policy = Policy::retry_next}), std::runtime_error);
  } else {
    EXPECT_EQ(s.job().once(make, {.policy = Policy::retry_next}), "bbbbb");
  }
  s.wait_for_everyone();
}

TEST(Gather, EverybodyGetsAllParts) {
  Session& s = the_session();
  const std::string mine(s.rank() % 5 * (has_frames() ? 300 : 20),
                         static_cast<char>('a' + s.rank() % 26));
  const auto parts = s.job().gather(mine);
  ASSERT_EQ(parts.size(), s.size());
  for (std::uint32_t rank = 0; rank < s.size(); ++rank) {
    EXPECT_EQ(parts[rank], std::string(rank % 5 * (has_frames() ? 300 : 20),
                                       static_cast<char>('a' + rank % 26)));
  }
}

}  // namespace
