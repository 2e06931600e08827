// The sources merged: what is told first, what is told again.
#include "runtime/lifecycle/watch.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <ctime>
#include <string>

#include "lockstep/lockstep.h"

namespace lockstep::lifecycle {
namespace {

Environment ends_in(std::int64_t seconds) {
  std::map<std::string, std::string, std::less<>> values;
  values["SLURM_JOB_END_TIME"] = std::to_string(std::time(nullptr) + seconds);
  return Environment(values);
}

struct Started {
  Watch watch;
  explicit Started(const Environment& environment, bool keeps_time = true) {
    Config config{};
    config.stop_before_end = kNever;
    config.signals = {SIGTERM};
    EXPECT_TRUE(watch.start(config, environment, keeps_time).ok());
  }
};

TEST(Watch, HasNothingToTellAtFirst) {
  Started one{Environment()};
  EXPECT_FALSE(one.watch.take());
  EXPECT_EQ(one.watch.left(), kNever);
}

TEST(Watch, TellsTheMostUrgentAndTheRestIsThatEvent) {
  Started one(ends_in(100));
  one.watch.before_end(200 * kSecond);
  raise(SIGTERM);
  const auto notice = one.watch.take();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->source, Source::signal);
  EXPECT_EQ(notice->signal, SIGTERM);
  EXPECT_FALSE(one.watch.take());
  one.watch.before_end(200 * kSecond);
  const auto time = one.watch.take();
  ASSERT_TRUE(time);
  EXPECT_EQ(time->source, Source::time);
  EXPECT_FALSE(one.watch.take());
}

TEST(Watch, IsQuietUntilThereIsSomethingToTake) {
  Started one{Environment()};
  EXPECT_TRUE(one.watch.is_quiet());
  raise(SIGTERM);
  EXPECT_FALSE(one.watch.is_quiet());
  ASSERT_TRUE(one.watch.take());
  EXPECT_TRUE(one.watch.is_quiet());
  request::Box box{};
  one.watch.listen_to(box);
  EXPECT_TRUE(one.watch.is_quiet());
  ASSERT_TRUE(request::post(box, {"save", "alice@login1", ""}, 1, now()).ok());
  EXPECT_FALSE(one.watch.is_quiet());
}

TEST(Watch, EachTriggerTakesItsOwnSignalsAndRequests) {
  request::Box box{};
  Started one{Environment()};
  one.watch.listen_to(box);
  ASSERT_TRUE(one.watch.on_signal(SIGUSR1).ok());
  raise(SIGUSR1);
  raise(SIGTERM);
  ASSERT_TRUE(request::post(box, {"", "alice@login1", ""}, 1, now()).ok());
  const Interest save{
      .signals = signal_bit(SIGUSR1), .requests = "save", .any_request = false, .time = false};
  EXPECT_EQ(one.watch.take(save)->signal, SIGUSR1);
  EXPECT_FALSE(one.watch.take(save));
  ASSERT_TRUE(request::post(box, {"save", "bob@login2", ""}, 3, now()).ok());
  EXPECT_EQ(one.watch.take(save)->text, "bob@login2");
  const Interest rest{.signals = ~signal_bit(SIGUSR1)};
  raise(SIGUSR1);
  const auto notice = one.watch.take(rest);
  EXPECT_EQ(notice->signal, SIGTERM);
  EXPECT_NE(notice->requests, 0u) << "alice's";
  EXPECT_FALSE(one.watch.take(rest));
  EXPECT_EQ(one.watch.take(save)->signal, SIGUSR1);
}

TEST(Watch, TellsSuspensionsApart) {
  Started one{Environment()};
  for (const int signal : {SIGTSTP, SIGCONT}) ASSERT_TRUE(one.watch.on_signal(signal).ok());
  raise(SIGTSTP);
  Cause cause = one.watch.look_into(one.watch.take().value());
  EXPECT_EQ(cause.reason, LOCKSTEP_REASON_SUSPEND);
  EXPECT_EQ(cause.signal, SIGTSTP);
  raise(SIGCONT);
  cause = one.watch.look_into(one.watch.take().value());
  EXPECT_EQ(cause.reason, LOCKSTEP_REASON_RESUME);
  EXPECT_EQ(cause.signal, SIGCONT);
  // As at a preemption, where the second comes just after the first was noticed.
  raise(SIGCONT);
  const Notice notice = one.watch.take().value();
  raise(SIGTERM);
  cause = one.watch.look_into(notice);
  EXPECT_EQ(cause.reason, LOCKSTEP_REASON_SIGNAL);
  EXPECT_EQ(cause.signal, SIGTERM);
  EXPECT_FALSE(one.watch.take()) << "it was told";
}

TEST(Watch, ARequestComesAfterASignalAndBeforeTheTime) {
  request::Box box{};
  Started one(ends_in(100));
  one.watch.listen_to(box);
  one.watch.before_end(200 * kSecond);
  const request::Ticket ticket = *request::post(box, {"stop", "alice@login1", "why"}, 1, now());
  const Interest other{.requests = "other"};
  const Interest stop{.requests = "stop"};
  EXPECT_EQ(one.watch.take(other)->source, Source::time);
  one.watch.before_end(200 * kSecond);
  const auto notice = one.watch.take(stop);
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->source, Source::request);
  const Cause cause = one.watch.look_into(*notice);
  EXPECT_EQ(cause.reason, LOCKSTEP_REASON_REQUEST);
  EXPECT_EQ(cause.text, "alice@login1: why");
  EXPECT_EQ(request::look(box, ticket).progress, request::Progress::waits);
  one.watch.told(notice->requests, 9);
  EXPECT_EQ(request::look(box, ticket).check, 9u);
  EXPECT_FALSE(one.watch.take(stop));
  // Part of the signal's event, and answered all the same.
  const request::Ticket second = *request::post(box, {"stop", "bob", ""}, 3, now());
  raise(SIGTERM);
  const auto signal = one.watch.take(stop);
  EXPECT_EQ(signal->source, Source::signal);
  one.watch.told(signal->requests, 10);
  EXPECT_EQ(request::look(box, second).check, 10u);
}

TEST(Watch, TimeIsTheTimeKeepersBusiness) {
  Started keeper(ends_in(100));
  keeper.watch.before_end(50 * kSecond);
  EXPECT_FALSE(keeper.watch.take());
  keeper.watch.before_end(110 * kSecond);
  EXPECT_TRUE(keeper.watch.take());
  Started other(ends_in(100), false);
  other.watch.before_end(110 * kSecond);
  EXPECT_FALSE(other.watch.take());
}

TEST(Watch, StopsWhenAnotherSaveWouldNotFit) {
  Started one(ends_in(100));
  one.watch.before_end(kSecond);
  one.watch.saw_save(60 * kSecond);
  EXPECT_FALSE(one.watch.take());
  one.watch.saw_save(80 * kSecond);
  one.watch.saw_save(kSecond);  // the longest counts
  const auto notice = one.watch.take();
  ASSERT_TRUE(notice);
  const Cause cause = one.watch.look_into(*notice);
  EXPECT_EQ(cause.reason, LOCKSTEP_REASON_TIME_LIMIT);
  EXPECT_NE(cause.text.find("120 s are needed"), std::string::npos) << cause.text;
}

TEST(Watch, AMalformedEndIsNoEnd) {
  for (const char* const text : {"", "soon", "12x", "99999999999999999999"}) {
    std::map<std::string, std::string, std::less<>> values;
    values["SLURM_JOB_END_TIME"] = text;
    Started one{Environment(values)};
    EXPECT_EQ(one.watch.left(), kNever) << text;
  }
}

}  // namespace
}  // namespace lockstep::lifecycle
