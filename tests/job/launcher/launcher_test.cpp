// Proves what `lockstep run` promises about PMIx, output, exit codes and messages, by running it.
#include "tests/job/launcher/command_runner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace lockstep::test {
namespace {

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\nin: " << text;
}

Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// "3,2,2" for 7 ranks on 3 nodes.
std::string shares(int ranks, int nodes) {
  std::string text;
  for (int node = 0; node < nodes; ++node) {
    text += fmt::format("{}{}", node > 0 ? "," : "", ranks / nodes + (node < ranks % nodes));
  }
  return text;
}

struct Shape {
  int ranks;
  int nodes;
  const char* map;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.ranks << " ranks, " << shape.nodes << " nodes, " << shape.map;
}

class EveryShape : public testing::TestWithParam<Shape> {};

// The probe checks keys, fences and both kinds of modex against what the shape should give.
TEST_P(EveryShape, GivesRanksWhatARealClusterWould) {
  const auto [ranks, nodes, map] = GetParam();
  const Result result =
      run(probe({"-n", std::to_string(ranks), "--nodes", std::to_string(nodes), "--map", map},
                {"keys", shares(ranks, nodes), map}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "all checks passed\n");
}

INSTANTIATE_TEST_SUITE_P(
    Launcher, EveryShape,
    testing::Values(Shape{1, 1, "block"}, Shape{2, 1, "block"}, Shape{2, 2, "block"},
                    Shape{3, 2, "cyclic"}, Shape{5, 3, "block"}, Shape{7, 3, "block"},
                    Shape{7, 3, "cyclic"}, Shape{8, 4, "block"}, Shape{8, 8, "block"},
                    Shape{16, 8, "cyclic"}, Shape{64, 8, "block"}, Shape{64, 1, "block"}),
    [](const auto& shape) {
      return fmt::format("ranks{}nodes{}{}", shape.param.ranks, shape.param.nodes, shape.param.map);
    });

TEST(Launcher, ProbeNoticesAWrongShape) {
  const Result result = run(probe({"-n", "4", "--nodes", "2"}, {"keys", "1,3", "block"}));
  EXPECT_EQ(result.exit_code, 99);
}

TEST(Launcher, RunsInsideAnotherLauncher) {
  Words words = lockstep_run({"-n", "1"});
  const Words inner = probe({"-n", "3", "--nodes", "2"}, {"keys", "2,1", "block"});
  words.insert(words.end(), inner.begin(), inner.end());
  const Result result = run(words);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "all checks passed\n");
}

TEST(Launcher, RanksDoNotSeeAnOuterLaunchersIdentity) {
  const Words outer = {"PMIX_RANK=5",    "PMI_RANK=5",      "OMPI_COMM_WORLD_RANK=5",
                       "RANK=5",         "WORLD_SIZE=9",    "SLURM_PROCID=5",
                       "SLURM_NTASKS=9", "SLURM_STEP_ID=0", "SLURM_LOCALID=1",
                       "SLURM_NODEID=2"};
  const Words kept = {"SLURM_JOB_ID=77", "MY_SETTING=1"};
  Command::Options options{.environment = outer};
  options.environment.insert(options.environment.end(), kept.begin(), kept.end());
  const Result result = run(lockstep_run({"-n", "2", "--env", "MINE=a=b", "env"}), options);
  const Words lines = lines_of(result.out);
  const std::set<std::string> seen(lines.begin(), lines.end());
  for (const std::string& entry : outer) EXPECT_FALSE(seen.contains(entry)) << entry;
  for (const std::string& entry : kept) EXPECT_TRUE(seen.contains(entry)) << entry;
  EXPECT_TRUE(seen.contains("MINE=a=b"));
  EXPECT_TRUE(seen.contains("PMIX_RANK=0"));
  EXPECT_TRUE(seen.contains("PMIX_RANK=1"));
}

TEST(Launcher, ExitCodeIsThatOfTheFailedRank) {
  const Result result = run(probe({"-n", "8", "--nodes", "4"}, {"exit", "3", "7"}));
  EXPECT_EQ(result.exit_code, 7);
  expect_says(result.err, "lockstep run: rank 3 on n1 (pid ");
  expect_says(result.err,
              ") exited with code 7; ending the other 7 ranks (use --keep-going to let "
              "them run on)\n");
  EXPECT_EQ(count_of(result.err, "lockstep run:"), 1u) << result.err;
}

TEST(Launcher, KilledRankIsReportedWithItsSignal) {
  const Result result = run(probe({"-n", "4", "--nodes", "2"}, {"kill", "2", "11"}));
  EXPECT_EQ(result.exit_code, 128 + SIGSEGV);
  expect_says(result.err, "rank 2 on n1 (pid ");
  expect_says(result.err, "was killed by signal 11 (Segmentation fault)");
  expect_says(result.err, "; ending the other 3 ranks");
}

TEST(Launcher, AbortEndsTheJobWithItsCodeAndText) {
  const Result result = run(probe({"-n", "4", "--nodes", "2"}, {"abort", "3", "11", "disk full"}));
  EXPECT_EQ(result.exit_code, 11);
  expect_says(result.err, "called PMIx_Abort(11): disk full");
}

TEST(Launcher, SurvivorsRunOnWithKeepGoing) {
  const Result result =
      run(lockstep_run({"-n", "4", "--nodes", "2", "--keep-going", "sh", "-c",
                        "[ $PMIX_RANK = 1 ] && exit 5; sleep 0.3; echo done $PMIX_RANK"}));
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_EQ(count_of(result.out, "done"), 3u) << result.out;
  expect_says(result.err, "exited with code 5; the other 3 ranks run on");
}

// Who gives up because somebody was killed may be heard of first.
TEST(Launcher, ADeathOutranksAnEarlierFailure) {
  const Result result = run(lockstep_run(
      {"-n", "4", "--nodes", "2", "--keep-going", "sh", "-c",
       "[ $PMIX_RANK = 1 ] && exit 5; sleep 0.3; [ $PMIX_RANK = 2 ] && kill -9 $$; sleep 0.3; "
       "[ $PMIX_RANK = 3 ] && kill -6 $$; exit 0"}));
  EXPECT_EQ(result.exit_code, 128 + 9);
}

// One rank dies before a fence of all: nobody may hang. With one rank per node the launcher must
// notice, with one node libpmix must.
TEST(Launcher, FenceWithoutADeadRankEnds) {
  for (const char* nodes : {"1", "2", "4"}) {
    SCOPED_TRACE(fmt::format("{} nodes", nodes));
    const Result result =
        run(probe({"-n", "4", "--nodes", nodes, "--keep-going"}, {"fence-without", "1"}));
    EXPECT_EQ(count_of(result.out, "left the fence"), 3u) << result.out << result.err;
    EXPECT_EQ(result.exit_code, 128 + SIGKILL);
  }
}

TEST(Launcher, FenceWithoutANodeWhoseRanksHaveFinishedEnds) {
  const Result result = run(probe({"-n", "4", "--nodes", "4"}, {"fence-leave", "1"}));
  EXPECT_EQ(count_of(result.out, "LOST_CONNECTION"), 3u) << result.out;
}

TEST(Launcher, RequestForADeadRanksDataIsRefused) {
  const Result result = run(probe({"-n", "4", "--nodes", "4", "--keep-going", "--timeout", "20"},
                                  {"modex-of-dead", "1"}));
  EXPECT_EQ(count_of(result.out, "was refused"), 3u) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 128 + SIGKILL);
}

TEST(Launcher, TimeLimitNamesWhoStillRan) {
  const Result result = run(lockstep_run({"-n", "4", "--nodes", "2", "--timeout", "0.5", "sh", "-c",
                                          "[ $PMIX_RANK = 0 ] || exec sleep 1000"}));
  EXPECT_EQ(result.exit_code, 124);
  expect_says(result.err, "the time limit of 0.5 s is over");
  for (const char* name : {"rank 1 on n0", "rank 2 on n1", "rank 3 on n1"}) {
    expect_says(result.err, name);
  }
  EXPECT_EQ(result.err.find("rank 0"), std::string::npos) << result.err;
}

TEST(Launcher, RanksThatIgnoreSigtermAreKilledAfterTheGrace) {
  Command command(probe({"-n", "4", "--nodes", "2", "--grace", "0.2"}, {"stubborn"}));
  command.wait_for_output("waiting");
  kill(command.pid(), SIGTERM);
  EXPECT_EQ(command.wait().exit_code, 128 + SIGTERM);
  command.expect_nothing_left();
}

TEST(Launcher, CtrlCEndsTheRanksBySigterm) {
  Command command(probe({"-n", "3", "--nodes", "2"}, {"await", std::to_string(SIGTERM)}));
  command.wait_for_output("waiting");
  kill(command.pid(), SIGINT);
  const Result result = command.wait();
  EXPECT_EQ(result.exit_code, 128 + SIGINT);
  EXPECT_EQ(count_of(result.out, fmt::format("got signal {}", SIGTERM)), 3u) << result.out;
  expect_says(result.err, "got SIGINT (Interrupt); ending 3 ranks");
  command.expect_nothing_left();
}

TEST(Launcher, SecondCtrlCKillsAtOnce) {
  // A grace beyond the runner's patience: only the second signal can end this in time.
  Command command(probe({"-n", "4", "--nodes", "2", "--grace", "1000"}, {"stubborn"}));
  command.wait_for_output("waiting");
  kill(command.pid(), SIGINT);
  usleep(100'000);  // two at once would be one
  kill(command.pid(), SIGINT);
  EXPECT_EQ(command.wait().exit_code, 128 + SIGINT);
  command.expect_nothing_left();
}

TEST(Launcher, UserSignalsReachTheRanks) {
  for (const int number : {SIGUSR1, SIGUSR2, SIGCONT}) {
    Command command(probe({"-n", "3", "--nodes", "2"}, {"await", std::to_string(number)}));
    command.wait_for_output("waiting");
    kill(command.pid(), number);
    const Result result = command.wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(count_of(result.out, fmt::format("got signal {}", number)), 3u) << result.out;
  }
}

struct BadUse {
  Words words;
  int exit_code;
  const char* says;
};

TEST(Launcher, BadUseCostsOneClearLine) {
  const std::vector<BadUse> table = {
      {{"-n", "0", "true"}, 2, "at least 1 rank"},
      {{"-n", "-3", "true"}, 2, "at least 1 rank"},
      {{"-n", "5000", "true"}, 2, "the limit is 4096 ranks"},
      {{"-n", "many", "true"}, 2, "many"},
      {{"-n", "2", "--nodes", "3", "true"}, 2, "more nodes than ranks"},
      {{"-n", "300", "--nodes", "300", "true"}, 2, "the limit is 256 nodes"},
      {{"-n", "5", "--nodes", "2", "--ppn", "2", "true"}, 2, "does not fit"},
      {{"true"}, 2, "how many ranks?"},
      {{"-n", "2"}, 2, "which program?"},
      {{"-n", "2", "--frobnicate", "true"}, 2, "--frobnicate"},
      {{"-n", "2", "--bind", "moon", "true"}, 2, "moon"},
      {{"-n", "2", "--timeout", "0", "true"}, 2, "seconds"},
      {{"-n", "2", "--env", "NAME", "true"}, 2, "NAME=VALUE"},
      {{"-n", "2", "no-such-program-anywhere"}, 127, "no such program in PATH"},
      {{"-n", "2", "./no-such-program"}, 127, "No such file or directory"},
      {{"-n", "2", "/etc/passwd"}, 126, "Permission denied"},
      {{"-n", "2", "/"}, 126, "Is a directory"},
  };
  for (const auto& [words, exit_code, says] : table) {
    const Result result = run(lockstep_run(words));
    EXPECT_EQ(result.exit_code, exit_code) << says;
    EXPECT_EQ(result.out, "");
    expect_says(result.err, says);
  }
}

TEST(Launcher, ProgramThatCannotBeLoadedIsReported) {
  std::string script = "/tmp/lockstep-test-script-XXXXXX";
  const int fd = mkstemp(script.data());
  ASSERT_GT(write(fd, "#!/no/such/interpreter\n", 23), 0);
  fchmod(fd, S_IRWXU);
  close(fd);
  const Result result = run(lockstep_run({"-n", "1", script}));
  unlink(script.c_str());
  EXPECT_EQ(result.exit_code, 127);
  expect_says(result.err, "cannot run '" + script + "': No such file or directory");
}

TEST(Launcher, WordsAfterTheProgramAreItsOwn) {
  const Result plain = run(lockstep_run({"-n", "1", "echo", "-n", "4", "--help", "--", "run"}));
  EXPECT_EQ(plain.out, "4 --help -- run");
  const Result marked = run(lockstep_run({"-n", "1", "--", "echo", "--nodes", "9"}));
  EXPECT_EQ(marked.out, "--nodes 9\n");
}

TEST(Launcher, TaggedLinesAreWholeAndComplete) {
  constexpr int kLines = 300;
  constexpr int kRanks = 8;
  Command::Options options;
  options.merges_streams = true;  // where lines of two streams could mix
  const Result result =
      run(probe({"-n", "8", "--nodes", "4", "--tag-output"}, {"lines", std::to_string(kLines)}),
          options);
  EXPECT_EQ(result.exit_code, 0);
  std::map<std::string, std::set<int>> seen;
  for (const std::string& line : lines_of(result.out)) {
    int rank = -1;
    int node = -1;
    int number = -1;
    ASSERT_EQ(sscanf(line.c_str(), "[%d@n%d] <%d ", &rank, &node, &number), 3) << line;
    const std::string body(static_cast<std::size_t>((number * 37 + rank * 11) % 400),
                           static_cast<char>('a' + rank % 26));
    ASSERT_EQ(line, fmt::format("[{}@n{}] <{} {}>", rank, rank / 2, number, body));
    seen[std::to_string(rank)].insert(number);
  }
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kRanks));
  for (const auto& [rank, numbers] : seen) {
    EXPECT_EQ(numbers.size(), static_cast<std::size_t>(kLines)) << "rank " << rank;
  }
}

TEST(Launcher, TaggedStreamsStayApart) {
  const Result result = run(lockstep_run(
      {"-n", "2", "--nodes", "2", "--tag-output", "sh", "-c", "echo good; echo bad >&2"}));
  EXPECT_EQ(count_of(result.out, "good"), 2u);
  EXPECT_EQ(count_of(result.err, "bad"), 2u);
  EXPECT_EQ(count_of(result.out, "bad") + count_of(result.err, "good"), 0u);
  expect_says(result.err, "[1@n1] bad\n");
}

// The launcher holds a few megabytes; the rest has to wait in the ranks until somebody reads.
TEST(Launcher, TaggedOutputWaitsForASlowReader) {
  const Result result =
      run({"sh", "-c",
           std::string(LOCKSTEP_COMMAND) + " run -n 2 --nodes 2 --tag-output seq 1000000 | "
                                           "(sleep 1; wc -l)"});
  EXPECT_EQ(std::stol(result.out), 2'000'000) << result.err;
}

TEST(Launcher, TaggedOutputThatNobodyReadsEndsTheJob) {
  const Result result = run({"bash", "-c",
                             std::string("set -o pipefail; ") + LOCKSTEP_COMMAND +
                                 " run -n 2 --nodes 2 --tag-output yes | head -1"});
  EXPECT_EQ(count_of(result.out, "y\n"), 1u) << result.out;
  EXPECT_EQ(result.exit_code, 128 + SIGPIPE);
}

TEST(Launcher, OnlyRankZeroReadsStdin) {
  const Result result = run(lockstep_run({"-n", "3", "--nodes", "3", "--tag-output", "cat"}),
                            {.environment = {}, .input = "typed\n"});
  EXPECT_EQ(result.out, "[0@n0] typed\n");
}

TEST(Launcher, RanksInheritNoDescriptors) {
  // Not close-on-exec: what a careless caller hands to the launcher.
  const int fd = open("/dev/null", O_RDONLY);
  const Result result = run(probe({"-n", "2", "--nodes", "2"}, {"fds"}));
  close(fd);
  EXPECT_EQ(result.out, "fds 0 1 2\nfds 0 1 2\n");
}

TEST(Launcher, BindsEachRankToOneCoreInTurn) {
  const Result result = run(probe({"-n", "5", "--nodes", "2", "--bind", "hwthread"}, {"cpus"}));
  std::map<int, int> cpu_of;
  for (const std::string& line : lines_of(result.out)) {
    int rank = -1;
    int cpu = -1;
    int second = -1;
    ASSERT_EQ(sscanf(line.c_str(), "rank %d cpus %d %d", &rank, &cpu, &second), 2) << line;
    cpu_of[rank] = cpu;
  }
  ASSERT_EQ(cpu_of.size(), 5u);
  cpu_set_t own;
  ASSERT_EQ(sched_getaffinity(0, sizeof own, &own), 0);
  const int cpus = CPU_COUNT(&own);
  for (const auto& [rank, cpu] : cpu_of) {
    EXPECT_TRUE(CPU_ISSET(static_cast<std::size_t>(cpu), &own));
    for (const auto& [other, other_cpu] : cpu_of) {
      EXPECT_EQ(cpu == other_cpu, rank % cpus == other % cpus) << rank << " and " << other;
    }
  }
  EXPECT_EQ(result.err.find("ranks share") != std::string::npos, cpus < 5);
}

TEST(Launcher, VerboseShowsThePlacement) {
  const Result result = run(lockstep_run({"-n", "3", "--nodes", "2", "--verbose", "true"}));
  expect_says(result.err, "3 ranks on 2 nodes");
  expect_says(result.err, "     2     n1      0  any\n");
}

TEST(Launcher, HelpAndVersionReadWell) {
  const Result version = run({LOCKSTEP_COMMAND, "--version"});
  EXPECT_EQ(version.exit_code, 0);
  expect_says(version.out, "lockstep ");
  const Result help = run(lockstep_run({"--help"}));
  EXPECT_EQ(help.exit_code, 0);
  expect_says(help.out, "Usage: lockstep run [OPTIONS] PROGRAM [ARGS...]");
  expect_says(help.out, "lockstep run -n 8 --nodes 4 ./train");
  EXPECT_EQ(run({LOCKSTEP_COMMAND}).exit_code, 2);
  const Result unknown = run({LOCKSTEP_COMMAND, "frobnicate"});
  EXPECT_EQ(unknown.exit_code, 2);
  expect_says(unknown.err, "lockstep: ");
}

TEST(Launcher, OutputThatCannotBeWrittenIsAnError) {
  const Result full = run({"sh", "-c", "\"$0\" info > /dev/full", LOCKSTEP_COMMAND});
  EXPECT_EQ(full.exit_code, 1);
  expect_says(full.err, "stdout cannot be written: No space left on device");
}

TEST(Launcher, StreamsThatCameClosedStayEmpty) {
  const Result closed =
      run({"sh", "-c", "\"$0\" run -n 2 echo said <&- >&- 2>&-", LOCKSTEP_COMMAND});
  EXPECT_EQ(closed.exit_code, 0);
  EXPECT_EQ(closed.out + closed.err, "");
}

}  // namespace
}  // namespace lockstep::test
