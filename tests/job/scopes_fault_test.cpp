// File systems as ranks really find them: mounted for some, read-only, missing, on top of others;
// and ranks that are killed while they look. Views are made by views.sh.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "tests/support/command.hpp"

namespace {

namespace fs = std::filesystem;
using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

constexpr int kRanks = 8;  ///< two on each of four nodes

class ScopeViews : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lockstep-scopes-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base = fs::canonical(pattern);
    for (const char* name : {"view", "upper", "one", "node0", "node1", "node2", "node3"}) {
      fs::create_directory(base / name);
    }
  }
  void TearDown() override { fs::remove_all(base); }

  /// A job whose ranks have such views of base/view.
  Finished job(const std::string& how, const std::string& arguments) const {
    return run("LOCKSTEP_GRACE=2s LOCKSTEP_TIMEOUT=60s " LOCKSTEP_CLI
               " run -n 8 --nodes 4 bash " VIEWS " " +
               how + " " + base.string() + " 2 " SCOPE_JOB " " + arguments);
  }
  bool can_mount(const std::string& how) const {
    const Finished tried =
        run("PMIX_RANK=0 bash " VIEWS " " + how + " " + base.string() + " 2 true");
    return tried.status == 0;
  }
  std::string view() const { return base / "view"; }
  /// Names that a probe has left, wherever they can be seen from here.
  std::string leftovers() const {
    std::string found;
    for (const auto& entry : fs::recursive_directory_iterator(base)) {
      if (entry.path().filename().string().starts_with(".lockstep")) found += entry.path().string();
    }
    return found;
  }
  /// All ranks see that division; `places` gives each rank's group, by its members.
  void expect(const Finished& finished, const std::vector<std::string>& places,
              int times = 1) const {
    std::vector<std::string> distinct = places;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    EXPECT_EQ(finished.status, 0);
    for (int rank = 0; rank < kRanks; ++rank) {
      const std::string line = "rank " + std::to_string(rank) + ": " +
                               std::to_string(distinct.size()) + " file systems, here " +
                               places[static_cast<std::size_t>(rank)] + ";";
      EXPECT_EQ(count(finished.output, line), static_cast<std::size_t>(times)) << line << "\n"
                                                                               << finished.output;
    }
    EXPECT_EQ(leftovers(), "");
  }

  fs::path base;
  const std::vector<std::string> all = std::vector<std::string>(kRanks, "0 1 2 3 4 5 6 7");
  const std::vector<std::string> nodes = {"0 1", "0 1", "2 3", "2 3", "4 5", "4 5", "6 7", "6 7"};
  const std::vector<std::string> ranks = {"0", "1", "2", "3", "4", "5", "6", "7"};
};

#define LOCKSTEP_NEEDS_VIEW(how) \
  if (!can_mount(how)) GTEST_SKIP() << "mounting for one process (unshare -m) is not allowed here"

TEST_F(ScopeViews, OneFolderIsOneFileSystem) {
  expect(job("nothing", "who " + view()), all);
  LOCKSTEP_NEEDS_VIEW("one");
  expect(job("one", "who " + view()), all);
}

TEST_F(ScopeViews, EachNodesOwnIsOneForEachNode) {
  LOCKSTEP_NEEDS_VIEW("of_node");
  expect(job("of_node", "who " + view()), nodes);
}

TEST_F(ScopeViews, RanksOfOneNodeMayHaveTheirOwn) {
  LOCKSTEP_NEEDS_VIEW("of_rank");
  expect(job("of_rank", "who " + view()), ranks);
}

TEST_F(ScopeViews, SomeShareAndOthersDoNot) {
  LOCKSTEP_NEEDS_VIEW("mixed");
  expect(job("mixed", "who " + view()),
         {"0 1 2 3", "0 1 2 3", "0 1 2 3", "0 1 2 3", "4 5", "4 5", "6 7", "6 7"});
}

TEST_F(ScopeViews, OverlaysOfOneFolderAreApart) {
  LOCKSTEP_NEEDS_VIEW("overlay");
  expect(job("overlay", "who " + view()), ranks);
}

TEST_F(ScopeViews, ALinkLeadsIntoTheViewOfEach) {
  LOCKSTEP_NEEDS_VIEW("of_node");
  fs::create_directory_symlink("view", base / "link");
  expect(job("of_node", "who " + (base / "link" / "not" / "yet").string()), nodes);
}

TEST_F(ScopeViews, WhereNobodyCanWriteTheFolderItselfIsCompared) {
  LOCKSTEP_NEEDS_VIEW("read_only");
  const Finished one = job("read_only", "who " + view());
  expect(one, all);
  EXPECT_EQ(count(one.output, "is told by its mounts"), 1u) << one.output;
  const Finished own = job("read_only_of_rank", "who " + view());
  expect(own, ranks);
}

// As a network file system that nobody may write to: its type is none that is known to be a
// kernel's.
TEST_F(ScopeViews, WhereNobodyCanWriteTypesSourcesAndNumbersAreCompared) {
  const Finished finished = job("nothing", "who /proc");
  expect(finished, all);
  EXPECT_EQ(count(finished.output, "nothing can be written to /proc: "), 1u) << finished.output;
}

TEST_F(ScopeViews, WhoCannotWriteFindsWhatOthersHaveWritten) {
  LOCKSTEP_NEEDS_VIEW("partly_read_only");
  const Finished finished = job("partly_read_only", "who " + view());
  expect(finished, all);
  EXPECT_EQ(count(finished.output, "is told by its mounts"), 0u) << finished.output;
}

TEST_F(ScopeViews, AFolderThatOneNodeLacksIsToldToAll) {
  LOCKSTEP_NEEDS_VIEW("of_node");
  for (const char* node : {"node0", "node1", "node2"}) fs::create_directory(base / node / "sub");
  const Finished finished = job("of_node", "who " + view() + "/sub " + view());
  EXPECT_EQ(count(finished.output, "io: scope_job.cpp:"), 8u) << finished.output;
  EXPECT_EQ(count(finished.output,
                  "/view/sub is there for some ranks, but not for rank 6 on n3, "
                  "rank 7 on n3; make it there too"),
            8u)
      << finished.output;
  expect(finished, nodes);
}

TEST_F(ScopeViews, WhatIsKnownOfTheMountsIsNotProbedAgain) {
  LOCKSTEP_NEEDS_VIEW("of_rank");
  // The same folder's number on all: what tells them apart is the file system.
  const Finished finished = job("of_rank", "who " + view() + " " + view() + " " + view() + "/new");
  expect(finished, ranks, 3);
  EXPECT_EQ(count(finished.output, "; 1 rounds"), 8u) << finished.output;
}

TEST_F(ScopeViews, AsManyPrepareAsThereAreFileSystems) {
  for (const auto& [how, preparations] : std::map<std::string, std::size_t>{
           {"one", 1}, {"of_node", 4}, {"of_rank", 8}, {"mixed", 3}}) {
    LOCKSTEP_NEEDS_VIEW(how);
    const Finished finished = job(how, "prepare " + view());
    EXPECT_EQ(finished.status, 0) << finished.output;
    EXPECT_EQ(count(finished.output, "prepared it"), preparations) << how << finished.output;
    EXPECT_EQ(count(finished.output, "found it"), 8 - preparations) << how << finished.output;
    for (const char* name : {"one", "node0", "node1", "node2", "node3"}) {
      fs::remove(base / name / "prepared");
    }
  }
}

// ---- SIGKILL

/// How often a rank makes each system call until the second mark, as strace has seen it, and which
/// of them come after the first.
std::map<std::string, std::pair<int, int>> calls_between_marks(const fs::path& log) {
  std::map<std::string, int> seen;
  std::map<std::string, std::pair<int, int>> calls;
  std::ifstream in(log);
  bool is_inside = false;
  for (std::string line; std::getline(in, line);) {
    const std::string name = line.substr(0, line.find('('));
    const int number = ++seen[name];
    if (line.find("/lockstep-test-mark") != std::string::npos) is_inside = !is_inside;
    if (!is_inside) continue;
    calls.try_emplace(name, number, number).first->second.second = number;
  }
  return calls;
}

class ScopeFault : public ScopeViews, public testing::WithParamInterface<int> {
 protected:
  /// Two ranks on one node or two, the victim under strace.
  Finished pair(int victim, const std::string& strace) const {
    std::ofstream(base / "rank.sh")
        << "[ $PMIX_RANK != " << victim << " ] || exec strace " << strace << " \"$@\"\n"
        << "exec \"$@\"\n";
    return run("LOCKSTEP_GRACE=2s LOCKSTEP_TIMEOUT=60s " LOCKSTEP_CLI
               " run --keep-going -n 2 --nodes " +
               std::to_string(GetParam()) + " bash " + (base / "rank.sh").string() +
               " " SCOPE_JOB " who " + view());
  }
};
INSTANTIATE_TEST_SUITE_P(Nodes, ScopeFault, testing::Values(1, 2));

TEST_P(ScopeFault, AKilledRankLeavesNothingWhereSomebodyIsLeft) {
  if (run("strace -o /dev/null true").status != 0) {
    GTEST_SKIP() << "strace is missing, or may not trace (ptrace) here";
  }
  int kills = 0;
  int losses = 0;
  for (int victim = 0; victim < 2; ++victim) {
    const fs::path log = base / "strace.log";
    const Finished whole = pair(victim, "-o " + log.string());
    ASSERT_EQ(whole.status, 0) << whole.output;
    const auto calls = calls_between_marks(log);
    const bool looks = victim == 0 || GetParam() == 2;
    ASSERT_EQ(calls.contains("symlinkat"), looks) << "is this the search?";
    // Calls to the file system; others come as often as the wind blows.
    for (const char* name :
         {"symlinkat", "readlinkat", "unlinkat", "openat", "newfstatat", "fstat", "getdents64"}) {
      if (!calls.contains(name)) continue;
      const auto [first, last] = calls.at(name);
      for (int number = first; number <= last; ++number) {
        const std::string where = std::string(name) + ":signal=KILL:when=" + std::to_string(number);
        const Finished finished = pair(victim, "-o /dev/null -e inject=" + where);
        // Which of two makes the name is open, and with that who makes the last of its calls.
        ++kills;
        losses += finished.status == 137;
        if (finished.status == 137) {
          // The number of calls is not always the same: the last may come after the search.
          EXPECT_EQ(count(finished.output, "lost: ") + count(finished.output, " file systems, "),
                    1u)
              << where << finished.output;
        }
        EXPECT_EQ(leftovers(), "") << "rank " << victim << " at " << where << "\n"
                                   << finished.output;
      }
    }
  }
  std::printf("killed %d of %d times\n", losses, kills);
  EXPECT_GT(losses, kills / 2);
}

TEST_F(ScopeViews, WhoIsKilledWhenItIsItsTurnIsToldToAll) {
  const Finished finished = run("LOCKSTEP_GRACE=2s LOCKSTEP_TIMEOUT=60s " LOCKSTEP_CLI
                                " run --keep-going -n 8 --nodes 4 " SCOPE_JOB " die " +
                                view());
  EXPECT_EQ(finished.status, 137) << finished.output;
  EXPECT_EQ(count(finished.output, "lost: scope_job.cpp:"), 7u) << finished.output;
  EXPECT_EQ(count(finished.output, "gone: rank 3 on n1"), 7u) << finished.output;
  EXPECT_EQ(count(finished.output, ": has run"), 3u) << "the waves before, and the rest of its own";
  EXPECT_EQ(count(finished.output, ": has not run"), 4u) << finished.output;
}

}  // namespace
