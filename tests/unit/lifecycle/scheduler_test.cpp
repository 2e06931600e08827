// What Slurm prints, read; lines as Slurm 22.05 printed them.
#include "runtime/lifecycle/scheduler.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace lockstep::lifecycle {
namespace {

constexpr Nanos kMinute = 60 * kSecond;

TEST(SlurmTime, HasDaysHoursMinutesAndSeconds) {
  EXPECT_EQ(read_slurm_time("0:00"), 0);
  EXPECT_EQ(read_slurm_time("4:53"), 293 * kSecond);
  EXPECT_EQ(read_slurm_time("1:00:01"), 3601 * kSecond);
  EXPECT_EQ(read_slurm_time("2-03:04:05"), ((2 * 24 + 3) * 60 + 4) * kMinute + 5 * kSecond);
}

TEST(SlurmTime, IsNothingElse) {
  for (const char* const text :
       {"", "INVALID", "UNLIMITED", "NOT_SET", "5", ":", "1:", ":1", "1:2:3:4", "-1:00", "1-",
        "1-2", "a:b", "1:-2", "1: 2", "99999999999:00", "1:2x"}) {
    EXPECT_EQ(read_slurm_time(text), std::nullopt) << text;
  }
}

TEST(JobStateLine, IsReadOrRefused) {
  const auto state = read_job_state("4:53|RUNNING|None\n");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->left, 293 * kSecond);
  EXPECT_EQ(state->state, "RUNNING");
  EXPECT_EQ(state->reason, "None");
  const auto ending = read_job_state("INVALID|COMPLETING|TimeLimit");
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->left, std::nullopt);
  for (const char* const line : {"", "\n", "4:53", "4:53|RUNNING", "||", "slurm_load_jobs error"}) {
    EXPECT_FALSE(read_job_state(line)) << line;
  }
}

TEST(Ending, IsToldApart) {
  struct Row {
    const char* line;
    Nanos left_before;
    Ending ending;
  };
  const std::vector<Row> rows = {
      {"INVALID|COMPLETING|TimeLimit", kSecond, Ending::time_limit},
      {"4:53|COMPLETING|None", 293 * kSecond, Ending::cancel},
      {"4:53|CANCELLED|None", kNever, Ending::cancel},
      {"0:30|RUNNING|None", 20 * kMinute, Ending::preemption},
      {"0:30|RUNNING|None", kNever, Ending::preemption},
      {"0:30|PREEMPTED|None", kMinute, Ending::preemption},
      {"20:00|PENDING|BeginTime", kMinute, Ending::preemption},
      {"19:59|RUNNING|None", 20 * kMinute, Ending::unknown},  // somebody's own kill
      {"UNLIMITED|RUNNING|None", kNever, Ending::unknown},
  };
  for (const Row& row : rows) {
    const auto state = read_job_state(row.line);
    ASSERT_TRUE(state) << row.line;
    EXPECT_EQ(ending_of(*state, row.left_before), row.ending) << row.line;
  }
}

}  // namespace
}  // namespace lockstep::lifecycle
