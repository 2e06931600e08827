// What the tests of shrinking run on every rank: ranks are lost, those who are left go on.
// usage: shrink_job WHAT ...
//   kills SEED VICTIMS   so many ranks are killed at random moments of the first 300 ms, leaders
//                        more often, amid rounds and while the others shrink
//   late                 the last rank comes two seconds after the others have given it up
//   stopped              the last rank stands still meanwhile, and is told when it goes on
//   leave                the last rank leaves the group
//   outlive              somebody else sees to it that ranks are lost
//   whole                nobody is lost
//   alone                all but rank 0 end
//   sections             rank 0 is killed in a section; the next goes first among those left
//   mistakes             wrong calls
// Whoever goes on says with whom.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::BrokenGroup;
using lockstep::Group;
using lockstep::Session;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

void say(const Session& job, const std::string& text) {
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + " " + text).c_str());
  std::fflush(stdout);
}

void die() {
  kill(getpid(), SIGKILL);
}

std::string members(const Group& group) {
  std::string text;
  for (std::uint32_t i = 0; i < group.size(); ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(group.member(i));
  }
  return text;
}

/// Everything that a group can do works in the new one.
void use(Session& job, Group& group) {
  group.wait_for_everyone({.name = "use"});
  const std::string told = group.broadcast(group.rank() == 0 ? members(group) : "");
  if (told != members(group)) throw std::runtime_error("another group: " + told);
  int firsts = 0;
  group.first([&] { ++firsts; });
  lockstep::Trigger trigger = group.trigger("used");
  if (group.rank() == group.size() - 1) trigger.set();
  if (!trigger.check()) throw std::runtime_error("a trigger is lost");
  Group half = group.split(group.rank() % 2).value();
  half.wait_for_everyone({.name = "half"});
  say(job, "goes on with " + members(group));
}

Group shrunk(Group& group, milliseconds limit = seconds(20)) {
  return group.shrink({.timeout = limit});
}

/// Seeds are shared, so that all know who dies; nobody looks.
int be_killed(Session& job, unsigned seed, unsigned victims) {
  std::mt19937 random(seed);
  std::set<std::uint32_t> dead;
  while (dead.size() < victims) {
    const bool is_leader = random() % 2 == 0;
    const auto rank = static_cast<std::uint32_t>(random() % job.size());
    dead.insert(is_leader ? rank - rank % (job.size() / job.node_count()) : rank);
  }
  milliseconds delay(0);
  for (const std::uint32_t rank : dead) {
    const milliseconds one(random() % 300);
    if (rank == job.rank()) delay = one;
  }
  // Two at the same time, now and then.
  if (seed % 3 == 0) delay = milliseconds(100);
  std::thread end;
  if (dead.count(job.rank()) != 0) {
    end = std::thread([delay] {
      std::this_thread::sleep_for(delay);
      die();
    });
  }
  const auto begin = Clock::now();
  Group* group = &job.job();
  std::list<Group> shrunken;
  for (bool is_over = false; !is_over;) {
    try {
      lockstep::Trigger done = group->trigger("done");
      if (group->rank() == 0 && Clock::now() - begin > milliseconds(600)) done.set();
      is_over = done.check();
      if (is_over && group->size() != job.size() - victims) {
        throw std::runtime_error("left with " + members(*group));
      }
    } catch (const BrokenGroup&) {
      group = &shrunken.emplace_back(shrunk(*group, seconds(5)));
    }
  }
  use(job, *group);
  return 0;
}

/// Waits until the group is broken.
void wait_for_break(Group& group, seconds limit = seconds(20)) {
  try {
    for (;;) group.wait_for_everyone({.name = "work", .timeout = limit});
  } catch (const BrokenGroup&) {
  }
}

int come_late(Session& job, bool is_stopped) {
  const bool is_late = job.rank() == job.size() - 1;
  Group group = job.job().split(0).value();
  if (is_late && is_stopped) {
    if (fork() == 0) {  // a helper that wakes it
      const pid_t sleeper = getppid();
      usleep(6'000'000);
      kill(sleeper, SIGCONT);
      _exit(0);
    }
    raise(SIGSTOP);
  } else if (is_late) {
    std::this_thread::sleep_for(seconds(4));
  }
  try {
    group.wait_for_everyone({.name = "work", .timeout = seconds(1)});
  } catch (const BrokenGroup&) {
  }
  try {
    Group left = shrunk(group, seconds(1));
    use(job, left);
  } catch (const BrokenGroup& error) {
    say(job, std::string("is out: ") + lockstep_status_name(error.status()) + ": " + error.what());
    try {
      (void)shrunk(group, seconds(1));
    } catch (const BrokenGroup& again) {
      say(job, std::string("is still out: ") + again.what());
    }
  }
  // Not before all others: it is known as gone then, and not as late.
  if (!is_late) std::this_thread::sleep_for(seconds(is_stopped ? 8 : 5));
  return 0;
}

int lose_the_first(Session& job) {
  Group group = job.job().split(0).value();
  try {
    group.first([&] {
      if (job.rank() == 0) die();
    });
  } catch (const lockstep::Error& error) {
    say(job, std::string("sees: ") + lockstep_status_name(error.status()));
  }
  Group left = shrunk(group);
  left.first([&] {
    if (left.rank() == 0) say(job, "goes first");
  });
  use(job, left);
  return 0;
}

int make_mistakes(Session& job) {
  Group group = job.job().split(0).value();
  lockstep_group_t made = nullptr;
  const lockstep_call_t bad{nullptr, nullptr, 0, -7};
  say(job, lockstep_status_name(lockstep_group_shrink(nullptr, nullptr, &made)));
  say(job, lockstep_status_name(lockstep_group_shrink(group.handle(), nullptr, nullptr)));
  say(job, lockstep_status_name(lockstep_group_shrink(group.handle(), &bad, &made)));
  lockstep_arrive(group.handle(), nullptr);
  say(job, lockstep_status_name(lockstep_group_shrink(group.handle(), nullptr, &made)));
  lockstep_wait(group.handle());
  use(job, group);
  return 0;
}

int run(Session& job, const std::string& what, int argc, char** argv) {
  const auto number = [&](int i) {
    return argc > i ? static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10)) : 1u;
  };
  const bool is_last = job.rank() == job.size() - 1;
  if (what == "kills") return be_killed(job, number(2), number(3));
  if (what == "late" || what == "stopped") return come_late(job, what == "stopped");
  if (what == "sections") return lose_the_first(job);
  if (what == "mistakes") return make_mistakes(job);
  if (what == "alone" || what == "outlive") {
    if (what == "alone" && job.rank() != 0) die();
    Group& all = job.job();
    say(job, "is at work");
    wait_for_break(all, seconds(5));
    Group left = shrunk(all, seconds(5));
    use(job, left);
    return 0;
  }
  Group group = job.job().split(0).value();
  if (what == "leave") {
    if (is_last) return 0;
    wait_for_break(group);
  }
  Group left = shrunk(group);
  if (what == "whole") group.wait_for_everyone({.name = "as it was"});
  use(job, left);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Session job;
    return run(job, argc > 1 ? argv[1] : "", argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "shrink_job: %s\n", error.what());
    return 1;
  }
}
