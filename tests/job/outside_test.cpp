// What people see of a running job from outside, and how it hears them.
// Method: jobs of 8 ranks on 4 emulated nodes in the background; the command as one types it. Tests
// wait for what a job prints and for what `lockstep status` says, with a generous limit.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/command.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::test::count;
using lockstep::test::Finished;
using lockstep::test::run;

constexpr const char* kCommand = LOCKSTEP_CLI;

/// Tries for a minute.
bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 600; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(100ms);
  }
  return false;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A job that runs in the background until it is let go.
class Job {
 public:
  explicit Job(const std::string& mode, const std::string& environment = "",
               const std::string& shape = "-n 8 --nodes 4") {
    folder_ = testing::TempDir() + "lockstep-outside-XXXXXX";
    if (mkdtemp(folder_.data()) == nullptr) return;
    const std::string line = "exec env " + environment + " " + kCommand + " run " + shape + " " +
                             OUTSIDE_JOB " " + folder_ + "/go " + mode + " >" + folder_ +
                             "/log 2>&1";
    pid_ = fork();
    if (pid_ == 0) {
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    EXPECT_TRUE(eventually([&] { return log().find("started") != std::string::npos; })) << log();
    // Its name begins with the launcher's, whose process this is.
    const std::string pattern = "lockstep-" + std::to_string(pid_) + "-[0-9a-f]{8}";
    std::smatch name;
    const std::string all = run(std::string(kCommand) + " status").output;
    if (std::regex_search(all, name, std::regex(pattern))) name_ = name[0];
  }
  ~Job() {
    end();
    run("rm -rf " + folder_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const std::string& name() const { return name_; }
  std::string log() const { return contents(folder_ + "/log"); }
  std::string status(const std::string& options = "") const {
    return run(std::string(kCommand) + " status " + name_ + " " + options).output;
  }
  Finished trigger(const std::string& options) const {
    return run(std::string(kCommand) + " trigger " + name_ + " " + options);
  }
  void let_go() const { std::ofstream(folder_ + "/go") << "go\n"; }
  /// Its exit status.
  int result() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    result();
  }

 private:
  std::string folder_;
  std::string name_;
  pid_t pid_ = -1;
};

/// Until the picture has a line like that.
void expect_seen(const Job& job, const std::string& pattern, const std::string& options = "") {
  std::string last;
  EXPECT_TRUE(eventually([&] {
    last = job.status(options);
    return std::regex_search(last, std::regex(pattern));
  })) << "not seen: "
      << pattern << "\nbut:\n"
      << last;
}

TEST(Status, NamesTheRankThatStaysAwayAndWhereItWasLast) {
  for (const char* const environment : {"", "LOCKSTEP_PAGE=shm", "LOCKSTEP_TRANSPORT=pmix_fence"}) {
    SCOPED_TRACE(environment);
    Job job("away", environment);
    ASSERT_FALSE(job.name().empty());
    expect_seen(job, ": 8 ranks on 4 nodes, up ");
    expect_seen(job,
                "7 ranks wait at outside_job.cpp:[0-9]+ wait_for_everyone 'epoch end' since "
                "[0-9.]+ s: 0-6\n");
    expect_seen(job,
                "rank 7 on n3, pid [0-9]+, is missing: last seen at outside_job.cpp:[0-9]+ "
                "wait_for_everyone 'all are there', at least [0-9.]+ s ago; in no call now\n");
    expect_seen(job, "\n +7  n3 +[0-9]+  is in no call; last seen at .* 'all are there'\n",
                "--all");
    job.let_go();
    EXPECT_EQ(job.result(), 0) << job.log();
    EXPECT_NE(job.status().find("there is no session"), std::string::npos) << job.status();
  }
}

TEST(Status, TellsSectionsFromWaits) {
  Job job("first");
  expect_seen(job,
              "7 ranks wait for the first at outside_job.cpp:[0-9]+ process_first since [0-9.]+ s: "
              "1-7\n");
  expect_seen(job, "1 rank is in its section at outside_job.cpp:[0-9]+ process_first since ");
}

TEST(Status, TellsAnArrivalFromAWait) {
  Job job("split");
  expect_seen(job,
              "7 ranks have arrived at outside_job.cpp:[0-9]+ wait_for_everyone 'half' since ");
  expect_seen(job, "rank 7 on n3, pid [0-9]+, is missing: ");
}

TEST(Status, TellsWhoIsStoppedAndWhoIsGone) {
  Job job("away", "LOCKSTEP_TIMEOUT=never", "-n 8 --nodes 4 --keep-going");
  const auto pid_of = [&job](const std::string& rank) {
    std::smatch found;
    const std::string table = job.status("--all");
    const bool is_there =
        std::regex_search(table, found, std::regex("\n +" + rank + "  n[0-9] +([0-9]+)  "));
    return is_there ? std::stoi(found[1]) : -1;
  };
  const int last = pid_of("7");
  ASSERT_GT(last, 0);
  kill(last, SIGSTOP);
  expect_seen(job, "rank 7 on n3, .*; its process is stopped\n");
  kill(last, SIGKILL);
  expect_seen(job, "rank 7 on n3, pid [0-9]+, is gone: its process has ended; last seen at ");
}

TEST(Status, JsonHasEveryRankOnce) {
  Job job("away");
  const Finished json = run(std::string(kCommand) + " status " + job.name() +
                            " --json | python3 -c \"import json, sys; "
                            "one, = json.load(sys.stdin)[\\\"sessions\\\"]; "
                            "print([m[\\\"rank\\\"] for m in one[\\\"members\\\"]], "
                            "{m[\\\"host\\\"] for m in one[\\\"members\\\"]} == "
                            "{\\\"n0\\\", \\\"n1\\\", \\\"n2\\\", \\\"n3\\\"})\"");
  EXPECT_EQ(json.output, "[0, 1, 2, 3, 4, 5, 6, 7] True\n");
}

TEST(Trigger, ReachesAllRanksAtTheSameCheckWithItsReason) {
  Job job("fire 1");
  const Finished asked = job.trigger("--reason \"the disk is full\"");
  EXPECT_EQ(asked.status, 0) << asked.output;
  EXPECT_EQ(job.result(), 0) << job.log();
  std::smatch check;
  ASSERT_TRUE(std::regex_search(asked.output, check,
                                std::regex("^asked; rank 0 noticed it at check ([0-9]+)\n")))
      << asked.output;
  const std::string told = " at " + check[1].str() + ": reason 6 ";
  EXPECT_EQ(count(job.log(), told), 8u) << job.log();
  EXPECT_EQ(count(job.log(), ": the disk is full\n"), 8u) << job.log();
}

TEST(Trigger, WithANameIsForThatCheckOnly) {
  Job job("fire 1");
  const Finished other = job.trigger("save --wait 300ms");
  EXPECT_EQ(other.status, 3);
  EXPECT_NE(other.output.find("asked; not noticed within 0.3 s: rank 0 on n0 "), std::string::npos)
      << other.output;
  EXPECT_NE(other.output.find("it will be at its next check of 'save'"), std::string::npos);
  EXPECT_EQ(count(job.log(), "reason"), 0u) << job.log();
  EXPECT_EQ(job.trigger("step").status, 0);
  EXPECT_EQ(job.result(), 0);
}

TEST(Trigger, SetsTheOneThatHasTheName) {
  Job job("named");
  EXPECT_EQ(job.trigger("--wait 300ms").status, 3) << "nobody checks the one without a name";
  // All have checked hundreds of times by then, in which there was nothing.
  const Finished saved = job.trigger("save --reason \"just to be safe\"");
  const Finished stopped = job.trigger("stop --reason \"enough\"");
  EXPECT_EQ(job.result(), 0) << job.log();
  const auto expect_same_check = [&](const Finished& asked, const std::string& name) {
    EXPECT_EQ(asked.status, 0) << asked.output;
    std::smatch check;
    ASSERT_TRUE(std::regex_search(asked.output, check, std::regex("noticed it at check ([0-9]+)")))
        << asked.output;
    EXPECT_EQ(count(job.log(), " at " + check[1].str() + ": " + name + " 6 "), 8u)
        << asked.output << job.log();
  };
  expect_same_check(saved, "save");
  expect_same_check(stopped, "stop");
  EXPECT_EQ(count(job.log(), ": save 6 "), 8u) << job.log();
  EXPECT_EQ(count(job.log(), ": just to be safe\n"), 8u) << job.log();
  EXPECT_EQ(count(job.log(), ": stop 6 "), 8u) << job.log();
  EXPECT_EQ(count(job.log(), ": enough\n"), 8u) << job.log();
}

TEST(Trigger, StandsWhileTheJobIsBusyAndFailsWhenItEnds) {
  Job job("mute");
  const Finished early = job.trigger("--wait 200ms");
  EXPECT_EQ(early.status, 3) << early.output;
  EXPECT_NE(early.output.find("last seen at outside_job.cpp"), std::string::npos) << early.output;
  Finished late;
  std::thread asker([&] { late = job.trigger("--wait 50s"); });
  std::this_thread::sleep_for(300ms);
  job.let_go();
  asker.join();
  EXPECT_EQ(late.status, 1) << late.output;
  EXPECT_TRUE(std::regex_search(
      late.output, std::regex("asked too late: rank 0 (has left|is gone)|there is no session")))
      << late.output;
}

// Requests at random moments from two requesters at a time: each is told once, and the job's events
// are exactly the checks that the requesters were told of.
TEST(Trigger, AHundredRequestsAreEachNoticedOnce) {
  constexpr std::size_t kEach = 50;
  // How often it fires is not known before: two requests may be one event.
  Job job("fire 100000");
  const std::string ask = "for i in $(seq " + std::to_string(kEach) +
                          "); do sleep 0.0$((RANDOM % 10)); " + std::string(kCommand) +
                          " trigger " + job.name() + " --wait 50s; done";
  Finished one;
  Finished other;
  std::thread asker([&] { one = run(ask, 200); });
  other = run(ask, 200);
  asker.join();
  const std::string said = one.output + other.output;
  EXPECT_EQ(count(said, "asked; rank 0 noticed it at check "), 2 * kEach) << said;
  const auto checks_in = [](const std::string& text, const std::string& pattern) {
    std::multiset<std::string> checks;
    const std::regex form(pattern);
    for (std::sregex_iterator at(text.begin(), text.end(), form), end; at != end; ++at) {
      checks.insert((*at)[1]);
    }
    return checks;
  };
  const std::multiset<std::string> noticed = checks_in(said, "at check ([0-9]+)");
  const std::set<std::string> events(noticed.begin(), noticed.end());
  std::multiset<std::string> fired;
  EXPECT_TRUE(eventually([&] {
    fired = checks_in(job.log(), "rank [0-9] at ([0-9]+): reason 6 ");
    return fired.size() >= 8 * events.size();
  }));
  EXPECT_EQ(fired.size(), 8 * events.size()) << "a request has fired twice";
  EXPECT_EQ(std::set<std::string>(fired.begin(), fired.end()), events);
}

TEST(Refusals, SayWhatToType) {
  const Finished nothing = run(std::string(kCommand) + " status no-such-session");
  EXPECT_EQ(nothing.status, 1);
  EXPECT_NE(nothing.output.find("there is no session"), std::string::npos) << nothing.output;
  EXPECT_NE(nothing.output.find("type: lockstep status"), std::string::npos) << nothing.output;
  const Finished which = run(std::string(kCommand) + " trigger");
  EXPECT_EQ(which.status, 2);
  const Finished slurm = run("PATH=/nonexistent " + std::string(kCommand) + " status 4711");
  EXPECT_EQ(slurm.status, 1);
  EXPECT_NE(slurm.output.find("squeue was not found"), std::string::npos) << slurm.output;
}

}  // namespace
