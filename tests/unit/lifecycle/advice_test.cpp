// Batch scripts and slurm.conf, as far as they defeat a wish.
#include "runtime/lifecycle/advice.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <random>
#include <string>

namespace lockstep::lifecycle {
namespace {

std::string script(const std::string& options, const std::string& body = "srun ./train\n") {
  return "#!/bin/bash\n#SBATCH -N4\n" + options + "\n" + body;
}

TEST(BatchSignal, IsFoundHoweverItIsTyped) {
  for (const char* const options :
       {"#SBATCH --signal=B:USR1@60", "#SBATCH --signal=B:SIGUSR1", "#SBATCH --signal B:USR1@60",
        "#SBATCH\t-t 5   --signal=B:10@60", "#SBATCH --signal=RB:USR1@60",
        "# a comment\n\n#SBATCH --signal=B:USR1", "#SBATCH --signal=TERM\n#SBATCH --signal=B:USR1",
        "#SBATCH --signal=B:USR1@60\r"}) {
    const auto found = find_batch_signal(script(options));
    ASSERT_TRUE(found) << options;
    EXPECT_EQ(found->signal, SIGUSR1) << options;
  }
  EXPECT_EQ(find_batch_signal(script("#SBATCH --signal=B:USR1@60"))->option, "--signal=B:USR1@60");
}

TEST(BatchSignal, IsNotFoundWhereThereIsNone) {
  for (const char* const options :
       {"", "#SBATCH --signal=USR1@60", "#SBATCH --signal=R:USR1@60",
        "#SBATCH --signal=", "#SBATCH --signal", "#SBATCH --signal=B:", "#SBATCH --signal=B:KILL",
        "#SBATCH --signal=B", "##SBATCH --signal=B:USR1",
        "#SBATCH --signal=B:USR1\n#SBATCH --signal=TERM", "hostname\n#SBATCH --signal=B:USR1"}) {
    EXPECT_FALSE(find_batch_signal(script(options))) << options;
  }
}

TEST(BatchSignal, AScriptThatTrapsItKnowsWhatItDoes) {
  const std::string options = "#SBATCH --signal=B:USR1@60";
  EXPECT_FALSE(find_batch_signal(script(options, "trap 'scancel -s USR1 $SLURM_JOB_ID.0' USR1\n")));
  EXPECT_FALSE(find_batch_signal(script(options, "  trap forward SIGUSR1 TERM\n")));
  EXPECT_FALSE(find_batch_signal(script(options, "  exec srun ./train\n")));
  EXPECT_TRUE(find_batch_signal(script(options, "exec\nexecute\n")));
  EXPECT_TRUE(find_batch_signal(script(options, "trap 'rm -f lock' EXIT\n")));
}

TEST(BatchSignal, AnyTextIsSurvived) {
  std::mt19937 random(3);
  const std::string letters = "#SBATCH \n\t=-:@BsignalUSR1\r\0";
  for (int turn = 0; turn < 20'000; ++turn) {
    std::string text;
    for (std::size_t length = random() % 60; length > 0; --length) {
      text += letters[random() % letters.size()];
    }
    (void)find_batch_signal(text);
    (void)find_batch_signal("#SBATCH --signal" + text);
    (void)find_step_enders(text);
  }
}

TEST(StepEnders, AreThoseOfSlurmConf) {
  const auto config = [](const std::string& kill, const std::string& wait) {
    return "Configuration data as of 2026-11-26T14:37:52\nAccountingStorageBackupHost = (null)\n"
           "KillOnBadExit           = " +
           kill + "\nKillWait                = 30 sec\nWaitTime                = " + wait +
           " sec\n";
  };
  EXPECT_TRUE(find_step_enders(config("0", "0")).empty());
  ASSERT_EQ(find_step_enders(config("1", "0")).size(), 1u);
  EXPECT_NE(find_step_enders(config("1", "0"))[0].find("srun --kill-on-bad-exit=0"),
            std::string::npos);
  ASSERT_EQ(find_step_enders(config("0", "30")).size(), 1u);
  EXPECT_NE(find_step_enders(config("0", "30"))[0].find("srun --wait=0"), std::string::npos);
  EXPECT_EQ(find_step_enders(config("1", "30")).size(), 2u);
  EXPECT_TRUE(find_step_enders("").empty());
  EXPECT_TRUE(find_step_enders("slurm_load_ctl_conf error: Unable to contact").empty());
}

}  // namespace
}  // namespace lockstep::lifecycle
