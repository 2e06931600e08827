// Whether the job runs again: the same decision on all ranks. Carried out by none of these tests,
// since the last decision counts; tests/slurm/stop_test.sh does that.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using lockstep::Requeue;

TEST(Requeue, OneVetoIsEnoughAndElseOneWish) {
  lockstep::Session& s = the_session();
  const bool has_scheduler = s.job().broadcast_value<bool>(std::getenv("SLURM_JOB_ID") != nullptr);
  std::mt19937 shared(7);  // the same on all ranks
  for (int turn = 0; turn < 30; ++turn) {
    bool is_vetoed = false;
    bool is_wanted = false;
    Requeue mine = Requeue::no_opinion;
    for (std::uint32_t rank = 0; rank < s.size(); ++rank) {
      // Few opinions, so that each of them decides now and then.
      const std::uint64_t dice = shared() % (2 * std::uint64_t{s.size()});
      const Requeue wish = dice == 0   ? Requeue::never
                           : dice <= 2 ? Requeue::wanted
                                       : Requeue::no_opinion;
      is_vetoed = is_vetoed || wish == Requeue::never;
      is_wanted = is_wanted || wish == Requeue::wanted;
      if (rank == s.rank()) mine = wish;
    }
    EXPECT_EQ(s.requeue(mine, "turn " + std::to_string(turn)),
              has_scheduler && is_wanted && !is_vetoed)
        << turn;
  }
  EXPECT_FALSE(s.requeue(Requeue::no_opinion));
}

TEST(Requeue, ReasonsOfAnyLengthAreTold) {
  lockstep::Session& s = the_session();
  s.requeue(Requeue::never, std::string(10'000, 'x'));
  s.requeue(Requeue::never, s.is_last_process() ? "diverged" : "");
  EXPECT_FALSE(s.requeue(Requeue::no_opinion));
}

TEST(Requeue, BadUseIsRefused) {
  lockstep::Session& s = the_session();
  const auto wish = static_cast<lockstep_requeue_t>(3);
  EXPECT_EQ(lockstep_requeue(s.handle(), wish, nullptr, nullptr, nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_requeue(nullptr, LOCKSTEP_REQUEUE_WANTED, nullptr, nullptr, nullptr),
            LOCKSTEP_E_INVALID);
  EXPECT_EQ(s.restarts(), 0u);
}

}  // namespace
