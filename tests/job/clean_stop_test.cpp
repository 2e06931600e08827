// One object that stops all ranks cleanly, whoever asks: by each of its sources, and its hooks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "lockstep/stopping.hpp"
#include "tests/job/everybody.hpp"
#include "tests/job/shared_folder.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::CleanStop;
using lockstep::Reason;
using lockstep::Session;

/// Polls until it stops; `act` is called in step 10.
template <class Act>
void poll_until(CleanStop& stop, Act&& act) {
  std::uint64_t step = 0;
  while (!stop.poll(step)) {
    if (++step == 10) act();
    usleep(100);
  }
  EXPECT_EQ(stop.step(), step);
  for (const std::uint64_t other : everybodys(the_session().job(), step)) ASSERT_EQ(other, step);
}

TEST(CleanStop, RunsItsHooksOnceInOrderOnAllRanks) {
  Session& s = the_session();
  CleanStop stop(s, {});
  std::string ran;
  for (const char* const name : {"a", "b", "c"}) {
    stop.on_stop([&ran, name] { ran += name; });
  }
  std::uint64_t step = 0;
  for (; !stop.check(step); ++step) {
    EXPECT_EQ(ran, "");
    if (step == 3 && s.is_last_process()) stop.set("loss is not finite", 5);
  }
  EXPECT_EQ(step, 4u);
  EXPECT_EQ(ran, "abc");
  EXPECT_TRUE(stop.has_stopped());
  EXPECT_EQ(stop.report().text, "loss is not finite");
  EXPECT_EQ(stop.report().rank, s.size() - 1);
  EXPECT_EQ(stop.report().step, 3u);
  EXPECT_EQ(stop.report().value, 5u);
  EXPECT_EQ(stop.report().site.substr(0, 20), "clean_stop_test.cpp:");
  const std::uint64_t rounds = s.counter("rounds");
  stop.set("too late to count");
  EXPECT_TRUE(stop.check(step + 1));
  EXPECT_TRUE(stop.poll(step + 2));
  EXPECT_EQ(ran, "abc");
  EXPECT_EQ(s.counter("rounds"), rounds) << "nobody else is asked any more";
}

TEST(CleanStop, ASignalStopsIt) {
  Session& s = the_session();
  CleanStop stop(s, {.signals = {SIGUSR1, SIGUSR2}});
  poll_until(stop, [&] {
    if (s.is_last_process()) raise(SIGUSR2);
  });
  EXPECT_EQ(stop.report().reason, Reason::signal);
  EXPECT_EQ(stop.report().signal, SIGUSR2);
}

TEST(CleanStop, AFileStopsIt) {
  const SharedFolder folder;
  const std::string path = folder / "stop";
  CleanStop stop(the_session(), {.file = path, .name = "halt"});
  poll_until(stop, [&] { touch(path); });
  EXPECT_EQ(stop.report().reason, Reason::file);
  EXPECT_EQ(stop.report().name, "halt");
}

/// The job's end was long ago, by SLURM_JOB_END_TIME.
TEST(CleanStop, TheEndOfTheJobStopsItAndNobodyElse) {
  if (std::getenv("SLURM_JOB_END_TIME") == nullptr) GTEST_SKIP();
  Session& s = the_session();
  CleanStop stop(s, {.margin = 60s});
  EXPECT_FALSE(s.check_trigger()) << "the time is for the other one";
  poll_until(stop, [] {});
  EXPECT_EQ(stop.report().reason, Reason::time_limit);
  EXPECT_EQ(stop.report().text, "0 s are left before the job's end, 60 s are needed");
  ASSERT_TRUE(stop.left());
  EXPECT_LT(*stop.left(), *stop.report().left);
  s.trigger_before_end(60s);
  EXPECT_TRUE(s.check_trigger()) << "now it is for this one";
  EXPECT_EQ(s.last_trigger().reason, Reason::time_limit);
}

/// LOCKSTEP_SIGNALS=ALRM
TEST(CleanStop, TheSettingsStopItAndNobodyElse) {
  if (std::getenv("LOCKSTEP_SIGNALS") == nullptr) GTEST_SKIP();
  Session& s = the_session();
  {
    CleanStop stop(s);
    poll_until(stop, [&] {
      if (s.is_last_process()) raise(SIGALRM);
    });
    EXPECT_EQ(stop.report().reason, Reason::signal);
    EXPECT_EQ(stop.report().signal, SIGALRM);
    EXPECT_FALSE(s.check_trigger()) << "it was told to the other one";
  }
  if (s.is_last_process()) raise(SIGALRM);
  EXPECT_TRUE(s.check_trigger()) << "when there is no CleanStop any more";
  EXPECT_EQ(s.last_trigger().signal, SIGALRM);
}

TEST(CleanStop, AHookThatThrowsIsReportedAfterTheOthersHaveRun) {
  Session& s = the_session();
  CleanStop stop(s);
  std::string ran;
  stop.on_stop([&] {
    if (s.is_last_process()) throw std::domain_error("no room");
  });
  stop.on_stop([&] { ran += "b"; });
  if (s.is_main_process()) stop.set("enough");
  if (s.is_last_process()) {
    EXPECT_THROW((void)stop.check(0), std::domain_error);
  } else {
    EXPECT_TRUE(stop.check(0));
  }
  EXPECT_EQ(ran, "b");
  EXPECT_TRUE(stop.check(1)) << "it has stopped, and its hooks have run";
}

TEST(CleanStop, SeveralHooksThatThrowAreAllNamed) {
  CleanStop stop(the_session());
  stop.on_stop([] { throw std::domain_error("no room"); });
  stop.on_stop([] {});
  stop.on_stop([] { throw 7; });
  stop.set("enough");
  try {
    (void)stop.check(0);
    ADD_FAILURE() << "nobody has noticed";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(),
                 "2 of 3 hooks of a stop failed: hook 1: no room; hook 3: it threw something that "
                 "is not a std::exception");
  }
}

TEST(CleanStop, LeavesNothingBehindIfItCannotBeMade) {
  Session& s = the_session();
  EXPECT_THROW(CleanStop(s, {.signals = {SIGKILL}, .name = "once more"}), lockstep::UsageError);
  lockstep::Trigger again = s.trigger("once more", {.when = lockstep::When::all});
  EXPECT_FALSE(again.check());
  again.close();
}

}  // namespace
