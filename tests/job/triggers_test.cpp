// Named triggers on all ranks of a job at once: when they fire, what with, and that all agree.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::check_triggers;
using lockstep::Combine;
using lockstep::Session;
using lockstep::Trigger;
using lockstep::TriggerReport;
using lockstep::When;

std::string text_of(const TriggerReport& report) {
  const auto ns = [](const auto& time) { return std::to_string(time.time_since_epoch().count()); };
  return report.name + "|" + std::to_string(static_cast<int>(report.reason)) + "|" + report.text +
         "|" + std::to_string(report.rank) + "|" + report.host + "|" + report.site + "|" +
         std::to_string(report.value) + "|" + std::to_string(report.step) + "|" +
         std::to_string(report.setters) + "|" + std::to_string(report.check) + "|" +
         ns(report.time) + "|" + ns(report.since);
}

void expect_same_everywhere(lockstep::Group& group, const std::string& mine) {
  const std::vector<std::string> all = group.gather(mine);
  for (const std::string& other : all) EXPECT_EQ(other, mine);
}

/// A group of the same ranks, for tests that break it or want a fresh one.
lockstep::Group copy_of_the_job() {
  return *the_session().job().split(0);
}

TEST(Triggers, AnyRankFiresItOnAllOnce) {
  Session& s = the_session();
  Trigger stop = s.trigger("fresh");
  EXPECT_FALSE(stop.check());
  for (std::uint32_t who = 0; who < s.size(); ++who) {
    if (s.rank() == who) stop.set("loss is not finite", who, 100 + who);
    ASSERT_TRUE(stop.check()) << "set by " << who;
    const TriggerReport report = stop.report();
    EXPECT_EQ(report.name, "fresh");
    EXPECT_EQ(report.reason, lockstep::Reason::set);
    EXPECT_EQ(report.text, "loss is not finite");
    EXPECT_EQ(report.rank, who);
    EXPECT_EQ(report.host, lockstep_session_host(s.handle(), who));
    EXPECT_EQ(report.site.substr(0, 18), "triggers_test.cpp:");
    EXPECT_EQ(report.value, who);
    EXPECT_EQ(report.step, 100 + who);
    EXPECT_EQ(report.setters, 1u);
    EXPECT_EQ(report.check, 2 * who + 2);
    EXPECT_EQ(report.time, report.since);
    expect_same_everywhere(s.job(), text_of(report));
    EXPECT_FALSE(stop.check());
  }
  stop.close();
}

TEST(Triggers, AQuorumFiresWithTheLastOneThatItTakes) {
  Session& s = the_session();
  const std::uint32_t half = (s.size() + 1) / 2;
  std::vector<std::pair<Trigger, std::uint32_t>> triggers;
  triggers.emplace_back(s.trigger("all", {.when = When::all}), s.size());
  triggers.emplace_back(s.trigger("half", {.when = When::quorum, .fraction = 0.5}), half);
  triggers.emplace_back(s.trigger("so many", {.when = When::quorum, .quorum = half}), half);
  for (int turn = 0; turn < 3; ++turn) {
    for (auto& [trigger, needed] : triggers) {
      // From the highest rank down; who has set it counts once.
      for (std::uint32_t count = 1; count <= needed; ++count) {
        if (s.rank() >= s.size() - count) trigger.set();
        ASSERT_EQ(trigger.check(), count == needed) << count << " of " << needed;
      }
      EXPECT_EQ(trigger.report().setters, needed);
      EXPECT_EQ(trigger.report().rank, s.size() - 1) << "the earliest";
      EXPECT_FALSE(trigger.check());
    }
  }
  for (auto& [trigger, needed] : triggers) trigger.close();
}

TEST(Triggers, NodeLeadersAreTheFirstOfEveryNode) {
  Session& s = the_session();
  Trigger ready = s.trigger("ready", {.when = When::node_leaders});
  if (s.local_rank() != 0) ready.set();
  EXPECT_FALSE(ready.check());
  for (std::uint32_t node = 0; node < s.node_count(); ++node) {
    if (s.local_rank() == 0 && s.node() == node) ready.set();
    ASSERT_EQ(ready.check(), node + 1 == s.node_count());
  }
  EXPECT_EQ(ready.report().setters, s.size()) << "the others count too";
  ready.close();
}

TEST(Triggers, ValuesAreCombined) {
  Session& s = the_session();
  const auto value_of = [](std::uint64_t rank) { return 3 + rank * rank % 5; };
  std::uint64_t bits = 0;
  std::uint64_t most = 0;
  std::uint64_t least = UINT64_MAX;
  std::uint64_t sum = 0;
  for (std::uint32_t rank = 0; rank < s.size(); ++rank) {
    bits |= value_of(rank);
    most = std::max(most, value_of(rank));
    least = std::min(least, value_of(rank));
    sum += value_of(rank);
  }
  const std::vector<std::pair<Combine, std::uint64_t>> expected = {
      {Combine::bit_or, bits}, {Combine::max, most}, {Combine::min, least}, {Combine::sum, sum}};
  for (const auto& [combine, value] : expected) {
    Trigger trigger = s.trigger("value", {.when = When::all, .combine = combine});
    trigger.set("", value_of(s.rank()));
    ASSERT_TRUE(trigger.check());
    EXPECT_EQ(trigger.report().value, value) << static_cast<int>(combine);
    trigger.close();
  }
  Trigger first = s.trigger("first", {.when = When::all, .combine = Combine::first});
  if (s.is_last_process()) first.set("before all others", 77);
  s.wait_for_everyone();
  if (!s.is_last_process()) first.set("after it", 1);
  ASSERT_TRUE(first.check());
  EXPECT_EQ(first.report().value, 77u);
  EXPECT_EQ(first.report().text, "before all others");
  first.close();
}

TEST(Triggers, RepeatedSetsOfARankAreOneWithTheFirstsCause) {
  Session& s = the_session();
  Trigger sum = s.trigger("sum", {.combine = Combine::sum});
  if (s.is_last_process()) {
    sum.set("the first", 1, 11);
    sum.set("the second", 2, 12);
    sum.set("the third", 4, 13);
  }
  ASSERT_TRUE(sum.check());
  EXPECT_EQ(sum.report().value, 7u);
  EXPECT_EQ(sum.report().text, "the first");
  EXPECT_EQ(sum.report().step, 11u);
  EXPECT_EQ(sum.report().setters, 1u);
  sum.close();
}

TEST(Triggers, SeveralFireInOneCheckAndADueOneWaitsForItsOwn) {
  Session& s = the_session();
  Trigger a = s.trigger("a");
  Trigger b = s.trigger("b", {.combine = Combine::max});
  Trigger c = s.trigger("c");
  if (s.is_main_process()) a.set("a is up");
  if (s.is_last_process()) c.set("c is up");
  const auto [has_a, has_b, has_c] = check_triggers({a, b, c});
  EXPECT_TRUE(has_a);
  EXPECT_FALSE(has_b);
  EXPECT_TRUE(has_c);
  EXPECT_EQ(a.report().text, "a is up");
  EXPECT_EQ(c.report().text, "c is up");
  EXPECT_THROW((void)b.report(), lockstep::UsageError);
  // All ranks have all three to tell: more than the first record of each.
  for (Trigger* const each : {&a, &b, &c}) each->set("", s.rank());
  EXPECT_FALSE(s.trigger("d").check());
  EXPECT_TRUE(c.check());
  EXPECT_TRUE(b.check());
  EXPECT_EQ(b.report().value, s.size() - 1);
  // What is told while it is due belongs to the same event.
  if (s.is_last_process()) a.set("", 1u << 20);
  EXPECT_TRUE(a.check());
  EXPECT_NE(a.report().value & (1u << 20), 0u);
  EXPECT_FALSE(a.check());
  for (Trigger* const each : {&a, &b, &c}) each->close();
}

TEST(Triggers, ACheckOfManyCostsOneRoundWhileThereIsNothing) {
  Session& s = the_session();
  Trigger a = s.trigger("a");
  Trigger b = s.trigger("b", {.when = When::all});
  Trigger c = s.trigger("c");
  (void)check_triggers({a, b, c});
  const std::uint64_t before = s.counter("rounds");
  for (int i = 0; i < 10; ++i) (void)check_triggers({a, b, c});
  EXPECT_EQ(s.counter("rounds") - before, 10u);
}

TEST(Triggers, AreArmedAgainAThousandTimes) {
  Session& s = the_session();
  Trigger again = s.trigger("again");
  const int turns = has_frames() ? 1000 : 10;
  for (int turn = 0; turn < turns; ++turn) {
    const auto who = static_cast<std::uint32_t>(turn) % s.size();
    if (s.rank() == who) again.set("", static_cast<std::uint64_t>(turn));
    ASSERT_TRUE(again.check()) << turn;
    ASSERT_EQ(again.report().value, static_cast<std::uint64_t>(turn));
    ASSERT_EQ(again.report().rank, who);
  }
  EXPECT_FALSE(again.check());
}

TEST(Triggers, ASetAfterOnesOwnCheckFiresTheNext) {
  Session& s = the_session();
  Trigger late = s.trigger("late");
  EXPECT_FALSE(late.check());
  if (s.is_last_process()) late.set();
  s.wait_for_everyone();
  EXPECT_TRUE(late.check());
}

TEST(Triggers, ACallThatIsRefusedLosesNothing) {
  Session& s = the_session();
  Trigger kept = s.trigger("kept", {.combine = Combine::sum});
  if (s.is_last_process()) kept.set("before", 1);
  lockstep::Arrival arrival = s.job().arrive();
  EXPECT_THROW((void)kept.check(), lockstep::UsageError);
  if (s.is_last_process()) kept.set("after", 2);
  arrival.wait();
  EXPECT_TRUE(kept.check());
  EXPECT_EQ(kept.report().text, "before");
  EXPECT_EQ(kept.report().value, 3u);
}

TEST(Triggers, NothingThatAnotherThreadSetsIsLost) {
  Session& s = the_session();
  Trigger count = s.trigger("count", {.combine = Combine::sum});
  constexpr std::uint64_t kSets = 2000;
  std::thread setter([&] {
    for (std::uint64_t i = 0; i < kSets; ++i) count.set("", 1);
  });
  std::uint64_t seen = 0;
  const auto look = [&] {
    if (count.check()) seen += count.report().value;
  };
  for (int i = 0; i < 20; ++i) look();
  setter.join();
  s.wait_for_everyone();
  look();
  EXPECT_EQ(seen, kSets * s.size());
}

/// Everything that this rank sees in a long run of checks, each of a few triggers of all kinds.
std::string random_run(unsigned seed, int checks) {
  Session& s = the_session();
  std::mt19937 shared(seed);                                // the same on all ranks
  std::mt19937 own(seed ^ (0x9e3779b9u * (s.rank() + 1)));  // its own
  std::vector<Trigger> all;
  for (unsigned i = 0; i < 6; ++i) {
    all.push_back(s.trigger("random " + std::to_string(i), {.when = static_cast<When>(i % 4),
                                                            .combine = static_cast<Combine>(i % 5),
                                                            .fraction = 0.3}));
  }
  std::string seen;
  for (int check = 0; check < checks; ++check) {
    while (own() % 3 == 0) all[own() % all.size()].set("by chance", own() % 1000, own());
    std::array<bool, 2> fired{};
    const Trigger one = all[shared() % all.size()];
    const Trigger two = all[shared() % all.size()];
    fired = check_triggers({one, two});
    if (one.handle() == two.handle()) fired[1] = false;
    if (fired[0]) seen += std::to_string(check) + " " + text_of(one.report()) + "\n";
    if (fired[1]) seen += std::to_string(check) + " " + text_of(two.report()) + "\n";
  }
  for (Trigger& trigger : all) trigger.close();
  return seen;
}

TEST(Triggers, RandomSetsAreSeenAlikeByAll) {
  Session& s = the_session();
  const unsigned seed = 20261126;
  const std::string mine = random_run(seed, has_frames() ? 2000 : 20);
  std::uint64_t disagreements = 0;
  for (const std::string& other : s.job().gather(mine)) disagreements += other != mine ? 1 : 0;
  EXPECT_EQ(disagreements, 0u) << "seed " << seed;
  EXPECT_FALSE(mine.empty());
  if (s.is_main_process()) {
    std::printf("%td firings, seed %u\n", std::count(mine.begin(), mine.end(), '\n'), seed);
  }
}

TEST(Triggers, RulesThatDifferAreNamedByTheCheck) {
  Session& s = the_session();
  if (s.size() == 1) GTEST_SKIP();
  lockstep::Group group = copy_of_the_job();
  Trigger stop =
      group.trigger("stop", s.is_last_process() ? lockstep::TriggerOptions{.when = When::all}
                                                : lockstep::TriggerOptions{});
  try {
    (void)stop.check();
    ADD_FAILURE() << "nobody has noticed";
  } catch (const lockstep::BrokenGroup& error) {
    EXPECT_EQ(error.status(), LOCKSTEP_E_MISMATCH);
    const std::string text = error.what();
    if (has_frames()) {
      EXPECT_NE(text.find("check 'stop'"), std::string::npos) << text;
      EXPECT_NE(text.find("check 'stop (all, or)'"), std::string::npos) << text;
    }
  }
}

TEST(Triggers, RulesThatDifferAreNamedByWhomeverIsToldOfASet) {
  Session& s = the_session();
  if (s.size() == 1) GTEST_SKIP();
  lockstep::Group group = copy_of_the_job();
  Trigger good = group.trigger("good");
  Trigger bad =
      group.trigger("bad", s.is_last_process() ? lockstep::TriggerOptions{.combine = Combine::sum}
                                               : lockstep::TriggerOptions{});
  EXPECT_FALSE(good.check());
  if (s.is_last_process()) bad.set();
  for (int turn = 0; turn < 2; ++turn) {  // it stays so
    try {
      (void)good.check();
      ADD_FAILURE() << "nobody has noticed";
    } catch (const lockstep::BrokenGroup& error) {
      EXPECT_EQ(error.status(), LOCKSTEP_E_MISMATCH);
      const std::string expected = "trigger 'bad' is 'any, or' on rank 0, but 'any, sum' on rank " +
                                   std::to_string(s.size() - 1) +
                                   "; open it with the same rules on all ranks";
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  }
}

/// Two triggers polled in one loop, set at any moment: whichever is due fires in its own poll.
TEST(Triggers, ArePolledAtNoCostAndFireInTheSamePollOnAllRanks) {
  Session& s = the_session();
  Trigger stop = s.trigger("polled stop", {.combine = Combine::sum});
  Trigger save = s.trigger("polled save", {.when = When::quorum, .fraction = 0.5});
  const std::uint64_t steps = has_frames() ? 3'000 * soak() : 30;
  std::mt19937_64 mine(s.rank() + 7);
  std::string seen;
  const auto note = [&](const char* what, std::uint64_t step, const Trigger& trigger) {
    const lockstep::TriggerReport report = trigger.report();
    seen += what + std::to_string(step) + " by " + std::to_string(report.rank) + " of " +
            std::to_string(report.setters) + " value " + std::to_string(report.value) + "\n";
  };
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const std::uint64_t draw = mine();
    if (draw % (60 * s.size()) == 0) stop.set("random", 1);
    if (draw % 97 == 0) save.set("random");
    if (draw % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw >> 32 & 0xff));
    if (stop.poll()) note("stop ", step, stop);
    if (save.poll()) note("save ", step, save);
  }
  s.wait_for_everyone();
  for (std::uint32_t root = 0; root < s.size(); ++root) {
    ASSERT_EQ(s.job().broadcast(seen, root), seen);
  }
  if (s.size() > 1 && has_frames()) {
    EXPECT_NE(seen, "");
  }
  if (soak() > 1) s.print(std::to_string(std::count(seen.begin(), seen.end(), '\n')) + " firings");
  stop.close();
  save.close();
}

TEST(Triggers, OfTwoGroupsAreTwoEvenIfTheyHaveOneName) {
  Session& s = the_session();
  lockstep::Group half = *s.job().split(s.rank() % 2);
  Trigger of_half = half.trigger("stop");
  Trigger of_all = s.trigger("stop");
  if (s.rank() == 0) of_half.set("even only");
  EXPECT_FALSE(of_all.check());
  EXPECT_EQ(of_half.check(), s.rank() % 2 == 0);
  if (s.rank() == 0) of_all.set();
  EXPECT_FALSE(of_half.check());
  EXPECT_TRUE(of_all.check());
  lockstep_trigger_t both[] = {of_half.handle(), of_all.handle()};
  int fired[2];
  EXPECT_EQ(lockstep_trigger_check(both, 2, nullptr, fired), LOCKSTEP_E_INVALID);
  EXPECT_THROW(of_half.on_signal(SIGUSR1), lockstep::UsageError);
}

TEST(Triggers, TheOneWithoutANameIsAnotherOne) {
  Session& s = the_session();
  Trigger stop = s.trigger("stop");
  if (s.is_last_process()) s.set_trigger();
  EXPECT_FALSE(stop.check());
  EXPECT_TRUE(s.check_trigger());
  EXPECT_TRUE(s.last_trigger().name.empty());
  if (s.is_last_process()) stop.set();
  EXPECT_FALSE(s.check_trigger());
  EXPECT_TRUE(stop.check());
}

TEST(Triggers, ASignalSetsTheOneThatItIsBoundTo) {
  Session& s = the_session();
  Trigger save = s.trigger("save on a signal");
  save.on_signal(SIGUSR2);
  s.trigger_on_signal(SIGUSR1);
  if (s.is_last_process()) raise(SIGUSR2);
  EXPECT_FALSE(s.check_trigger());
  ASSERT_TRUE(save.check());
  EXPECT_EQ(save.report().signal, SIGUSR2);
  EXPECT_EQ(save.report().text, "SIGUSR2");
  EXPECT_EQ(save.report().rank, s.size() - 1);
  if (s.is_last_process()) raise(SIGUSR1);
  EXPECT_FALSE(save.check());
  EXPECT_TRUE(s.check_trigger());
  save.close();
  if (s.is_last_process()) raise(SIGUSR2);
  EXPECT_TRUE(s.check_trigger()) << "nobody else listens to it now";
  EXPECT_THROW(s.trigger("other").on_signal(SIGKILL), lockstep::UsageError);
}

TEST(Triggers, BadUseIsRefused) {
  Session& s = the_session();
  using lockstep::UsageError;
  EXPECT_THROW((void)s.trigger(""), UsageError);
  EXPECT_THROW((void)s.trigger(std::string(64, 'x')), UsageError);
  EXPECT_THROW((void)s.trigger("a\nb"), UsageError);
  EXPECT_THROW((void)s.trigger(std::string("a\0b", 3)), UsageError);
  EXPECT_THROW((void)s.trigger("q", {.when = When::quorum}), UsageError);
  EXPECT_THROW((void)s.trigger("q", {.when = When::quorum, .quorum = s.size() + 1}), UsageError);
  EXPECT_THROW((void)s.trigger("q", {.when = When::quorum, .fraction = 1.5}), UsageError);
  EXPECT_THROW((void)s.trigger("q", {.when = When{9}}), UsageError);
  EXPECT_THROW((void)s.trigger("q", {.combine = Combine{-1}}), UsageError);
  Trigger stop = s.trigger("stop");
  EXPECT_EQ(stop.handle(), s.trigger("stop").handle());
  EXPECT_THROW((void)s.trigger("stop", {.when = When::all}), UsageError);
  int fired = 0;
  const lockstep_trigger_t none = nullptr;
  EXPECT_EQ(lockstep_trigger_check(nullptr, 1, nullptr, &fired), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_check(&none, 1, nullptr, &fired), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_check(&none, 0, nullptr, &fired), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_set(nullptr, nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_last(nullptr, nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_last(stop.handle(), nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_bind_signal(nullptr, SIGUSR1), LOCKSTEP_E_INVALID);
  lockstep_trigger_close(nullptr);
}

TEST(Triggers, WhatIsSetBeforeItIsClosedIsTold) {
  Session& s = the_session();
  Trigger other = s.trigger("other");
  Trigger brief = s.trigger("brief");
  if (s.is_last_process()) brief.set("and gone");
  brief.close();
  EXPECT_FALSE(other.check());
  EXPECT_THROW((void)s.trigger("brief", {.when = When::all}), lockstep::UsageError)
      << "it is due, as any";
  Trigger again = s.trigger("brief");
  EXPECT_TRUE(again.check());
  EXPECT_EQ(again.report().text, "and gone");
  again.close();
  other.close();
}

TEST(Triggers, SixtyFourAreOpenAtMost) {
  lockstep::Group group = copy_of_the_job();
  std::vector<Trigger> open;
  for (int i = 0; i < 64; ++i) open.push_back(group.trigger("number " + std::to_string(i)));
  EXPECT_THROW((void)group.trigger("one more"), lockstep::UsageError);
  EXPECT_NO_THROW((void)group.trigger("number 7")) << "that one is open";
  // All of them at once: the records of each rank take several rounds.
  for (Trigger& trigger : open) trigger.set("", 1);
  for (Trigger& trigger : open) ASSERT_TRUE(trigger.check());
  open.front().close();
  EXPECT_NO_THROW((void)group.trigger("one more"));
}

}  // namespace
