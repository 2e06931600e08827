// What Slurm prints, read; lines as Slurm 22.05 printed them.
#include "runtime/lifecycle/scheduler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::lifecycle {
namespace {

constexpr Nanos kMinute = 60 * kSecond;

TEST(SlurmJob, IsNamedAsCommandsTakeIt) {
  std::map<std::string, std::string, std::less<>> values;
  EXPECT_EQ(slurm_job_of(Environment(values)), "");
  values["SLURM_JOB_ID"] = "7";
  EXPECT_EQ(slurm_job_of(Environment(values)), "7");
  values["SLURM_ARRAY_JOB_ID"] = "7";
  EXPECT_EQ(slurm_job_of(Environment(values)), "7");
  values["SLURM_ARRAY_TASK_ID"] = "3";
  EXPECT_EQ(slurm_job_of(Environment(values)), "7_3");
}

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
  const auto state = read_job_state("1000293|4:53|RUNNING|None\n", 1000000);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->left, 293 * kSecond);
  EXPECT_EQ(state->left_by_limit, 293 * kSecond);
  EXPECT_EQ(state->state, "RUNNING");
  EXPECT_EQ(state->reason, "None");
  const auto ending = read_job_state("1000000|INVALID|COMPLETING|TimeLimit", 1000000);
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->left, std::nullopt);
  for (const char* const end : {"", "N/A", "2026-11-25T10:39:50", "99999999999999999999"}) {
    const auto odd = read_job_state(std::string(end) + "|4:53|RUNNING|None", 0);
    ASSERT_TRUE(odd) << end;
    EXPECT_EQ(odd->left, std::nullopt) << end;
  }
  for (const char* const line :
       {"", "\n", "4:53", "1|4:53|RUNNING", "|||", "slurm_load_jobs error"}) {
    EXPECT_FALSE(read_job_state(line, 0)) << line;
  }
}

TEST(Ending, IsToldApart) {
  struct Row {
    const char* line;
    Ending ending;
  };
  const std::vector<Row> rows = {
      {"1000000|INVALID|COMPLETING|TimeLimit", Ending::time_limit},
      {"1000000|4:53|COMPLETING|None", Ending::cancel},
      {"1000000|4:53|CANCELLED|None", Ending::cancel},
      {"1000000|UNLIMITED|COMPLETING|None", Ending::cancel},
      {"NONE|UNLIMITED|COMPLETING|None", Ending::requeue},
      {"1001200|20:00|COMPLETING|None", Ending::requeue},
      {"1000010|19:56|SIGNALING|None", Ending::preemption},
      {"1000010|19:56|RUNNING|None", Ending::preemption},
      {"1000030|0:30|PREEMPTED|None", Ending::preemption},
      {"1001200|20:00|PENDING|BeginTime", Ending::requeue},
      {"1001196|19:56|RUNNING|None", Ending::unknown},  // somebody's own kill
      {"1001196|19:56|SIGNALING|None", Ending::unknown},
      {"1031536000|UNLIMITED|RUNNING|None", Ending::unknown},
  };
  for (const Row& row : rows) {
    const auto state = read_job_state(row.line, 1000000);
    ASSERT_TRUE(state) << row.line;
    EXPECT_EQ(ending_of(*state), row.ending) << row.line;
  }
}

}  // namespace
}  // namespace lockstep::lifecycle
