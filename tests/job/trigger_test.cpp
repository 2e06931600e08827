// The trigger on all ranks of a job at once, and what it says about why it fired.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>
#include <string>
#include <thread>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::Session;

std::vector<std::string> everybodys_text(const std::string& mine) {
  std::vector<std::string> all;
  lockstep::Group& job = the_session().job();
  for (std::uint32_t root = 0; root < job.size(); ++root) all.push_back(job.broadcast(mine, root));
  return all;
}

TEST(Trigger, IsDownAtFirstUpOnAllOnceAndDownAgain) {
  Session& s = the_session();
  EXPECT_FALSE(s.check_trigger());
  for (std::uint32_t who = 0; who < s.size(); ++who) {
    if (s.rank() == who) s.set_trigger();
    EXPECT_TRUE(s.check_trigger({.name = "stop"})) << "set by " << who;
    EXPECT_FALSE(s.check_trigger({.name = "stop"}));
  }
  s.set_trigger();
  s.set_trigger();  // by everybody and twice: still one event
  EXPECT_TRUE(s.check_trigger());
  EXPECT_FALSE(s.check_trigger());
}

TEST(Trigger, ASetAfterOnesOwnCheckIsReportedByTheNext) {
  Session& s = the_session();
  EXPECT_FALSE(s.check_trigger());
  if (s.is_last_process()) s.set_trigger();
  s.wait_for_everyone();
  EXPECT_TRUE(s.check_trigger());
}

/// The same on all ranks, byte for byte.
void expect_same_everywhere(const lockstep::TriggerReport& report) {
  const std::string mine = std::to_string(static_cast<int>(report.reason)) + "|" +
                           std::to_string(report.rank) + "|" + report.host + "|" +
                           std::to_string(report.signal) + "|" + std::to_string(report.check) +
                           "|" + report.text;
  for (const std::string& other : everybodys_text(mine)) {
    EXPECT_EQ(other, mine);
  }
}

TEST(TriggerReport, NamesTheLowestOfThoseWhoSetIt) {
  Session& s = the_session();
  for (std::uint32_t who = 0; who < s.size(); ++who) {
    if (s.rank() >= who) s.set_trigger();
    ASSERT_TRUE(s.check_trigger({.name = "stop"}));
    const lockstep::TriggerReport report = s.last_trigger();
    EXPECT_EQ(report.reason, lockstep::Reason::set);
    EXPECT_EQ(report.rank, who);
    EXPECT_EQ(report.signal, 0);
    EXPECT_EQ(report.host, lockstep_session_host(s.handle(), who));
    expect_same_everywhere(report);
  }
}

// A signal to one rank, whichever and whenever: all leave the loop at the same step.
TEST(TriggerReport, ASignalToARandomRankAtARandomMomentStopsAllAtTheSameStep) {
  Session& s = the_session();
  s.trigger_on_signal(SIGUSR1);
  std::mt19937 shared(20240801);  // the same on all ranks
  const int episodes = has_frames() ? 100 : 5;
  for (int episode = 0; episode < episodes; ++episode) {
    const auto who = static_cast<std::uint32_t>(shared() % s.size());
    const std::chrono::microseconds delay(shared() % 3000);
    std::thread sender;
    if (s.rank() == who) sender = signal_after(delay, SIGUSR1);
    std::uint64_t step = 0;
    while (!s.check_trigger({.name = "step"})) ++step;
    if (sender.joinable()) sender.join();
    for (const std::uint64_t other : everybodys(s.job(), step)) ASSERT_EQ(other, step) << episode;
    const lockstep::TriggerReport report = s.last_trigger();
    ASSERT_EQ(report.rank, who) << episode;
    ASSERT_EQ(report.signal, SIGUSR1);
    ASSERT_EQ(report.reason, lockstep::Reason::signal);
  }
}

TEST(TriggerReport, ASignalComesBeforeACall) {
  Session& s = the_session();
  s.trigger_on_signal(SIGUSR1);
  s.set_trigger();
  if (s.is_last_process()) raise(SIGUSR1);
  ASSERT_TRUE(s.check_trigger());
  EXPECT_EQ(s.last_trigger().rank, s.size() - 1);
  EXPECT_EQ(s.last_trigger().text, "SIGUSR1");
  EXPECT_EQ(s.check_trigger(), false);  // the calls were part of the same event
}

TEST(TriggerReport, BadUseIsRefused) {
  Session& s = the_session();
  EXPECT_THROW(s.trigger_on_signal(SIGKILL), lockstep::UsageError);
  EXPECT_THROW(s.trigger_before_end(-1s), lockstep::UsageError);
  lockstep_trigger_report_t report{};
  EXPECT_EQ(lockstep_last_trigger(s.handle(), &report), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_last_trigger(s.handle(), nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_time_left(s.handle(), nullptr), LOCKSTEP_E_INVALID);
}

}  // namespace
