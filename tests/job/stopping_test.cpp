// Early stopping and "every so often" on all ranks at once; time is a number here.
#include "lockstep/stopping.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::Better;
using lockstep::EarlyStopping;
using lockstep::EverySoOften;
using lockstep::Session;
using lockstep::Trigger;
using namespace std::chrono_literals;

TEST(EarlyStopping, OneRanksImpatienceStopsAllAtTheSameStep) {
  Session& s = the_session();
  Trigger stop = s.trigger("early stopping");
  EarlyStopping early(stop, {.patience = 3, .min_delta = 0.5});
  // The last rank's loss stays where it is from step 4 on, but for a little.
  std::uint64_t step = 0;
  for (;; ++step) {
    const double loss = s.is_last_process() && step > 4 ? 6 - 0.1 * static_cast<double>(step - 4)
                                                        : 10 - static_cast<double>(step);
    early.see(loss, step);
    if (stop.check()) break;
    ASSERT_LT(step, 100u);
  }
  EXPECT_EQ(step, 7u);
  EXPECT_EQ(stop.report().rank, s.size() - 1);
  EXPECT_EQ(stop.report().text, "no better than 6 of step 4, 3 times in a row");
  EXPECT_EQ(stop.report().step, 7u);
  EXPECT_EQ(stop.report().value, 3u);
  stop.close();
}

TEST(EarlyStopping, KnowsWhatIsBetter) {
  Session& s = the_session();
  Trigger stop = s.trigger("early stopping");
  EarlyStopping up(stop, {.patience = 2, .better = Better::higher});
  EXPECT_TRUE(std::isnan(up.best()));
  EXPECT_FALSE(up.see(1, 0));
  EXPECT_FALSE(up.see(2, 1));
  EXPECT_FALSE(up.see(2, 2)) << "no better, once";
  EXPECT_FALSE(up.see(3, 3));
  EXPECT_FALSE(up.see(NAN, 4));
  EXPECT_TRUE(up.see(1, 5));
  EXPECT_EQ(up.best(), 3);
  EXPECT_EQ(up.best_step(), 3u);
  EXPECT_TRUE(stop.check());
  EarlyStopping never(stop, {.patience = 2});
  EXPECT_FALSE(never.see(NAN));
  EXPECT_TRUE(never.see(NAN));
  EXPECT_TRUE(stop.check());
  EXPECT_EQ(stop.report().text, "not a number, 2 times in a row");
  stop.close();
}

/// A clock that every rank has set differently.
struct Clock {
  std::chrono::steady_clock::time_point time{std::chrono::hours(the_session().rank())};
};

TEST(EverySoOften, CountsCalls) {
  EverySoOften saves(the_session().job(), "save", {.calls = 3});
  for (int call = 1; call <= 9; ++call) EXPECT_EQ(saves.due(), call % 3 == 0) << call;
  saves.trigger().close();
}

TEST(EverySoOften, OnlyTheFirstRanksClockCounts) {
  Session& s = the_session();
  Clock clock;
  EverySoOften saves(s.job(), "save", {.time = 10min}, [&clock] { return clock.time; });
  EXPECT_FALSE(saves.due());
  if (s.rank() != 0) clock.time += 24h;
  EXPECT_FALSE(saves.due());
  if (s.rank() == 0) clock.time += 9min;
  EXPECT_FALSE(saves.due());
  if (s.rank() == 0) clock.time += 1min;
  EXPECT_TRUE(saves.due());
  EXPECT_EQ(saves.trigger().report().text, "it is time");
  EXPECT_EQ(saves.trigger().report().rank, 0u);
  EXPECT_FALSE(saves.due());
  clock.time += 10min;
  EXPECT_TRUE(saves.due());
  saves.trigger().close();
}

TEST(EverySoOften, IsDueAtOnceIfAskedAndStartsAnew) {
  Session& s = the_session();
  Clock clock;
  EverySoOften saves(s.job(), "save", {.calls = 3, .time = 10min}, [&] { return clock.time; });
  EXPECT_FALSE(saves.due());
  clock.time += 6min;
  if (s.is_last_process()) saves.trigger().set("somebody wants one");
  EXPECT_TRUE(saves.due());
  EXPECT_EQ(saves.trigger().report().text, "somebody wants one");
  clock.time += 6min;  // twelve in all, but six since
  EXPECT_FALSE(saves.due());
  EXPECT_FALSE(saves.due());
  EXPECT_TRUE(saves.due()) << "the third call since";
  saves.trigger().close();
}

TEST(EverySoOften, SharesARoundWithOthers) {
  Session& s = the_session();
  EverySoOften saves(s.job(), "save", {.calls = 2});
  Trigger stop = s.trigger("stop");
  const std::uint64_t before = s.counter("rounds");
  std::vector<bool> due;
  for (int call = 0; call < 4; ++call) {
    saves.look();
    const auto [stops, asked] = lockstep::check_triggers({stop, saves.trigger()});
    EXPECT_FALSE(stops);
    due.push_back(saves.settle(asked));
  }
  EXPECT_EQ(s.counter("rounds") - before, 4u);
  EXPECT_EQ(due, (std::vector<bool>{false, true, false, true}));
  saves.trigger().close();
}

}  // namespace
