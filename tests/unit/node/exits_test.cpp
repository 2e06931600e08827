// The page of exits is believed only if it is what Slurm's plugin makes, and of this step.
#include "runtime/node/exits.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "runtime/base/unique_fd.hpp"

namespace lockstep::node {
namespace {

/// Three tasks, ranks 10 to 12, as slurm/spank/page.c makes it.
class ExitPage {
 public:
  static constexpr std::uint32_t kTasks = 3;
  static constexpr Rank kFirst = 10;

  explicit ExitPage(std::size_t size = kTasks * sizeof(lockstep_exit_line),
                    std::uint32_t version = LOCKSTEP_EXIT_PAGE_VERSION)
      : file_(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    EXPECT_EQ(ftruncate(file_.get(), static_cast<off_t>(size)), 0);
    constexpr std::size_t kRoom = 4096;
    void* const memory = mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    lines_ = static_cast<lockstep_exit_line*>(memory);
    for (std::uint32_t i = 0; i < size / sizeof(lockstep_exit_line); ++i) {
      lines_[i].version = version;
      lines_[i].rank = kFirst + i;
      lines_[i].pid = static_cast<std::int32_t>(100 + i);
      lockstep_exit_publish(&lines_[i], LOCKSTEP_EXIT_RUNNING);
    }
  }
  ~ExitPage() { munmap(lines_, 4096); }
  ExitPage(const ExitPage&) = delete;
  ExitPage& operator=(const ExitPage&) = delete;

  ExitPage& seal(int seals = 0x0010 | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) {
    EXPECT_EQ(fcntl(file_.get(), F_ADD_SEALS, seals), 0);
    return *this;
  }
  lockstep_exit_line& line(std::uint32_t index) { return lines_[index]; }
  int file() const { return file_.get(); }
  Environment environment(const std::string& place = "1") const {
    return Environment(
        {{"LOCKSTEP_EXIT_PAGE_FD", std::to_string(file_.get())}, {"SLURM_LOCALID", place}});
  }

 private:
  UniqueFd file_;
  lockstep_exit_line* lines_ = nullptr;
};

constexpr Rank kSelf = ExitPage::kFirst + 1;

TEST(Exits, TellsHowTasksEndedAndWhichRun) {
  ExitPage page;
  page.seal();
  const Exits exits = Exits::find(page.environment(), kSelf);
  ASSERT_TRUE(exits.is_there());
  ASSERT_TRUE(exits.task_of(10));
  EXPECT_EQ(exits.task_of(10)->pid, 100);
  EXPECT_FALSE(exits.task_of(10)->wait_status);
  EXPECT_FALSE(exits.task_of(9));
  EXPECT_FALSE(exits.task_of(13));

  page.line(0).wait_status = SIGKILL;
  lockstep_exit_publish(&page.line(0), LOCKSTEP_EXIT_EXITED);
  ASSERT_TRUE(exits.task_of(10)->wait_status);
  EXPECT_EQ(describe_exit(*exits.task_of(10)->wait_status), "was killed by SIGKILL");
}

TEST(Exits, ATaskThatHasNotStartedIsNotKnown) {
  ExitPage page;
  lockstep_exit_publish(&page.line(2), LOCKSTEP_EXIT_NOT_STARTED);
  page.seal();
  const Exits exits = Exits::find(page.environment(), kSelf);
  ASSERT_TRUE(exits.is_there());
  EXPECT_FALSE(exits.task_of(12));
}

TEST(Exits, WhatIsStartedDoesNotInheritThePage) {
  ExitPage page;
  page.seal();
  fcntl(page.file(), F_SETFD, 0);
  const Exits exits = Exits::find(page.environment(), kSelf);
  EXPECT_EQ(fcntl(page.file(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(Exits, AnythingElseIsNoPage) {
  const auto is_page = [](const Environment& environment, Rank self = kSelf) {
    return Exits::find(environment, self).is_there();
  };
  ExitPage page;
  page.seal();
  EXPECT_TRUE(is_page(page.environment()));
  EXPECT_FALSE(is_page(Environment{}));
  EXPECT_FALSE(is_page(page.environment("")));
  EXPECT_FALSE(is_page(page.environment("-1")));
  EXPECT_FALSE(is_page(page.environment("3"))) << "there are three tasks";
  EXPECT_FALSE(is_page(page.environment("0"))) << "another rank's place";
  EXPECT_FALSE(is_page(page.environment(), 12)) << "another step's page, by the ranks in it";
  for (const char* const number : {"", "x", "-1", "4294967295", "2147483647", "1000000", "0"}) {
    const Environment environment({{"LOCKSTEP_EXIT_PAGE_FD", number}, {"SLURM_LOCALID", "1"}});
    EXPECT_FALSE(is_page(environment)) << number;
  }
  const ExitPage open_page;
  EXPECT_FALSE(is_page(open_page.environment())) << "anybody could write it";
  ExitPage growing;
  growing.seal(0x0010 | F_SEAL_SHRINK);
  EXPECT_FALSE(is_page(growing.environment()));
  ExitPage odd(100);
  odd.seal();
  EXPECT_FALSE(is_page(odd.environment()));
  ExitPage empty(0);
  empty.seal();
  EXPECT_FALSE(is_page(empty.environment()));
  ExitPage newer(3 * sizeof(lockstep_exit_line), LOCKSTEP_EXIT_PAGE_VERSION + 1);
  newer.seal();
  EXPECT_FALSE(is_page(newer.environment()));
}

TEST(Exits, OwnTaskMustBeRunning) {
  ExitPage page;
  lockstep_exit_publish(&page.line(1), LOCKSTEP_EXIT_EXITED);
  page.seal();
  EXPECT_FALSE(Exits::find(page.environment(), kSelf).is_there());
}

TEST(DescribeExit, NamesCodesAndSignals) {
  EXPECT_EQ(describe_exit(W_EXITCODE(3, 0)), "exited with 3");
  EXPECT_EQ(describe_exit(W_EXITCODE(0, 0)), "exited with 0");
  EXPECT_EQ(describe_exit(SIGSEGV), "was killed by SIGSEGV");
  EXPECT_EQ(describe_exit(SIGTERM), "was killed by SIGTERM");
  EXPECT_EQ(describe_exit(40), "was killed by signal 40");
}

}  // namespace
}  // namespace lockstep::node
