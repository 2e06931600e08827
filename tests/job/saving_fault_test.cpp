// Saves that go wrong: no room, no right, no folder, no rank, and SIGKILL at each system call.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <sstream>
#include <vector>

#include "tests/support/command.hpp"

namespace {

namespace fs = std::filesystem;
using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

class SavingFault : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "lockstep-fault-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    store = pattern + "/store";
  }
  void TearDown() override { fs::remove_all(folder); }

  static Finished job(int ranks, int nodes, const std::string& arguments,
                      const std::string& options = "") {
    return run("LOCKSTEP_GRACE=2s LOCKSTEP_TIMEOUT=60s " LOCKSTEP_CLI " run -n " +
               std::to_string(ranks) + " --nodes " + std::to_string(nodes) + " " + options +
               " " SAVING_VICTIM " " + arguments);
  }
  static Finished alone(const std::string& arguments) { return run(SAVING_VICTIM " " + arguments); }

  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      names.push_back(entry.path().lexically_relative(folder).string());
    }
    return names;
  }
  /// Temporary files, parts that no manifest names, and folders without one.
  std::string leftovers() const {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const bool is_step = name.starts_with("step-");
      if (name.starts_with(".") || (is_step && !fs::exists(entry.path() / "manifest.json"))) {
        all += entry.path().string() + "\n";
      }
      if (!name.starts_with("part-")) continue;
      std::ifstream in(entry.path().parent_path() / "manifest.json");
      const std::string manifest{std::istreambuf_iterator<char>(in), {}};
      if (manifest.find(name) == std::string::npos) all += entry.path().string() + "\n";
    }
    return all;
  }

  /// Parts that a manifest names, and that are not there: a checkpoint goes with its manifest
  /// first.
  std::string missing() const {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.path().filename() != "manifest.json") continue;
      std::ifstream in(entry.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      const std::regex name("part-[0-9]+-[0-9a-f]+");
      for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at) {
        const fs::path part = entry.path().parent_path() / at->str();
        if (!fs::exists(part)) all += part.string() + "\n";
      }
    }
    return all;
  }

  fs::path folder;
  std::string store;
};

TEST_F(SavingFault, ARankThatIsKilledInItsPartLeavesNoManifest) {
  ASSERT_EQ(job(4, 2, "steps " + store + " 1 1").status, 0);
  const Finished finished = job(4, 2, "die " + store, "--keep-going");
  EXPECT_EQ(finished.status, 137) << finished.output;
  EXPECT_EQ(count(finished.output, "checkpoint_save"), 3u) << finished.output;
  EXPECT_EQ(count(finished.output, "gone: rank 1 on n0"), 3u) << finished.output;
  EXPECT_EQ(count(finished.output, ": saved"), 0u) << finished.output;
  EXPECT_FALSE(fs::exists(store + "/step-00000002/manifest.json"));
  EXPECT_EQ(alone("poll " + store + " 1").status, 0) << "the old one is whole";
  EXPECT_EQ(job(4, 2, "steps " + store + " 3 3").status, 0);
  EXPECT_EQ(leftovers(), "") << "what the killed save has left goes with the next";
}

TEST_F(SavingFault, OneRankWithoutRoomIsToldToAllAndNothingIsLeft) {
  const Finished finished = job(5, 3, "limit " + store);
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(count(finished.output, "rank 4 on n2: save: the writer of"), 5u) << finished.output;
  EXPECT_EQ(count(finished.output, "File too large; the file is larger than ulimit -f"), 5u)
      << finished.output;
  for (const std::string& name : entries()) EXPECT_EQ(name, "store");
}

TEST_F(SavingFault, AFolderThatVanishesIsAnErrorOnAllAndStaysAway) {
  const Finished finished = job(4, 2, "vanish " + store);
  EXPECT_EQ(count(finished.output, "io: "), 4u) << finished.output;
  EXPECT_EQ(count(finished.output, "rank 0 on n0: save: cannot "), 4u) << finished.output;
  EXPECT_EQ(count(finished.output, "No such file or directory"), 4u) << finished.output;
  EXPECT_EQ(entries().size(), 0u);
}

/// Commands in a mount namespace of their own, where `options` are those of a small tmpfs.
Finished in_small_file_system(const std::string& mount, const std::string& options,
                              const std::string& command) {
  return run("unshare -m bash -c \"mount -t tmpfs -o " + options + " none " + mount + " && " +
             command + "\"");
}

TEST_F(SavingFault, AFullOrReadOnlyFileSystemIsToldToAll) {
  const std::string mount = folder / "small";
  fs::create_directory(mount);
  if (in_small_file_system(mount, "size=1m", "true").status != 0) {
    GTEST_SKIP() << "mounting in a namespace (unshare -m, mount -t tmpfs) is not allowed here";
  }
  const std::string command = "LOCKSTEP_GRACE=2s " LOCKSTEP_CLI " run -n 4 --nodes 2 " SAVING_VICTIM
                              " full " +
                              mount + "/store; find " + mount + " -type f";
  const Finished full = in_small_file_system(mount, "size=200k", command);
  EXPECT_EQ(count(full.output, "io: "), 4u) << full.output;
  EXPECT_EQ(count(full.output, "No space left on device; free some space (df -h "), 4u)
      << full.output;
  EXPECT_EQ(count(full.output, mount + "/store/step-00000002/part-"), 4u)
      << "named by the error of each, and nothing is left of them:\n"
      << full.output;
  const Finished read_only =
      in_small_file_system(mount, "size=1m", "mount -o remount,ro " + mount + " && " + command);
  EXPECT_EQ(count(read_only.output, "Read-only file system; the file system is mounted read-only"),
            4u)
      << read_only.output;
}

// ---- SIGKILL at each system call

/// Names of the system calls between the two marks of a run, and how often each had been made
/// before and at the last of them.
std::map<std::string, std::pair<int, int>> calls_between_marks(const std::string& log) {
  std::map<std::string, int> seen;
  std::map<std::string, std::pair<int, int>> calls;
  std::ifstream in(log);
  bool is_inside = false;
  for (std::string line; std::getline(in, line);) {
    // With -f other threads' calls come in two halves: the first has the name.
    const auto begin = line.find_first_not_of("0123456789 ");
    const auto end = line.find('(');
    if (begin == std::string::npos || end == std::string::npos || line[begin] == '<') continue;
    const std::string name = line.substr(begin, end - begin);
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
      continue;
    const int number = ++seen[name];
    if (line.find("/lockstep-test-mark") != std::string::npos) is_inside = !is_inside;
    if (!is_inside) continue;
    auto& range = calls.try_emplace(name, number, number).first->second;
    range.second = number;
  }
  return calls;
}

/// Runs `command` under strace once for each of its system calls between the marks, and kills it
/// there; `check` looks at what is left.
template <class Prepare, class Check>
void kill_at_each_call(const fs::path& folder, const std::string& command, Prepare&& prepare,
                       Check&& check) {
  const std::string log = folder / "strace.log";
  if (run("strace -o /dev/null true").status != 0) {
    GTEST_SKIP() << "strace is missing, or may not trace (ptrace) here";
  }
  prepare();
  const Finished whole = run("strace -o " + log + " " + command);
  ASSERT_EQ(whole.status, 0) << whole.output;
  const auto calls = calls_between_marks(log);
  ASSERT_TRUE(calls.contains("fsync")) << "is this the save?";
  fs::remove(log);
  int kills = 0;
  for (const auto& [name, range] : calls) {
    for (int number = range.first; number <= range.second; ++number) {
      prepare();
      const std::string where = name + ":signal=KILL:when=" + std::to_string(number);
      const Finished finished = run("strace -o /dev/null -e inject=" + where + " " + command);
      EXPECT_EQ(finished.status, 137) << where << ' ' << finished.output;
      ++kills;
      check(where);
    }
  }
  std::printf("killed at %d system calls\n", kills);
}

class KilledSave : public SavingFault, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, KilledSave, testing::Values("unnamed", "named"));

TEST_P(KilledSave, AtEachSystemCallTheFileIsTheOldOrTheNew) {
  for (const std::string old : {"", "old"}) {
    const std::string file = folder / "model";
    const std::string command =
        std::string(SAVING_SOAK " once ") + GetParam() + " " + file + " new";
    const auto text = [&] {
      std::ifstream in(file);
      return std::string{std::istreambuf_iterator<char>(in), {}};
    };
    kill_at_each_call(
        folder, command,
        [&] {
          fs::remove(file);
          if (!old.empty()) std::ofstream(file) << old;
        },
        [&](const std::string& where) {
          EXPECT_TRUE(text() == "new" || (text() == old && fs::exists(file) == !old.empty()))
              << where << ": '" << text() << "'";
          EXPECT_EQ(run(command).status, 0);
          EXPECT_EQ(text(), "new");
          EXPECT_EQ(entries().size(), 1u) << where << ": the next save must leave the file alone";
        });
    if (IsSkipped() || HasFatalFailure()) return;
  }
}

TEST_F(SavingFault, ACheckpointKilledAtEachSystemCallIsTheOldOrTheNew) {
  kill_at_each_call(
      folder, SAVING_VICTIM " step " + store + " 8",
      [&] {
        fs::remove_all(store);
        ASSERT_EQ(alone("steps " + store + " 4 7").status, 0);
      },
      [&](const std::string& where) {
        EXPECT_EQ(missing(), "") << where;
        // Step 7 or 8: whichever has its manifest is whole.
        const Finished poll = alone("poll " + store + " 7");
        EXPECT_EQ(poll.status, 0) << where << '\n' << poll.output;
        EXPECT_EQ(count(poll.output, "passed over"), 0u) << where << '\n' << poll.output;
        EXPECT_EQ(alone("step " + store + " 9").status, 0);
        EXPECT_EQ(leftovers(), "") << where;
      });
}

TEST_F(SavingFault, ARandomRankKilledAtARandomMomentNeverLeavesAHalfCheckpoint) {
  const auto seed = static_cast<unsigned>(getpid());
  for (unsigned turn = 0; turn < 10; ++turn) {
    SCOPED_TRACE("seed " + std::to_string(seed + turn));
    const std::string first = std::to_string(1 + 1000 * turn);
    const std::string last = std::to_string(1000 + 1000 * turn);
    const Finished killed =
        job(3, 2, "steps " + store + " " + first + " " + last + " " + std::to_string(seed + turn));
    EXPECT_EQ(killed.status, 137) << killed.output;
    EXPECT_EQ(count(alone("poll " + store + " 0").output, "passed over"), 0u);
    if (!fs::exists(store)) continue;
    ASSERT_EQ(job(3, 2, "steps " + store + " " + last + " " + last).status, 0);
    const Finished poll = alone("poll " + store + " " + last);
    EXPECT_EQ(poll.status, 0) << poll.output;
    EXPECT_EQ(count(poll.output, "passed over"), 0u) << poll.output;
    EXPECT_EQ(leftovers(), "");
  }
}

TEST_F(SavingFault, AReaderNeverSeesAnIncompleteCheckpoint) {
  const char* const wanted = std::getenv("LOCKSTEP_TEST_SAVES");
  const std::string saves = wanted != nullptr ? wanted : "200";
  const Finished finished =
      run("timeout 240 " SAVING_VICTIM " poll " + store + " " + saves +
              " & " LOCKSTEP_CLI " run -n 4 --nodes 2 " SAVING_VICTIM " steps " + store + " 1 " +
              saves + " || { kill $!; exit 3; }; wait $!",
          300);
  EXPECT_EQ(finished.status, 0) << finished.output;
  EXPECT_EQ(count(finished.output, "passed over"), 0u) << finished.output;
  EXPECT_EQ(count(finished.output, "polled "), 1u) << finished.output;
  std::printf("%s", finished.output.c_str());
}

}  // namespace
