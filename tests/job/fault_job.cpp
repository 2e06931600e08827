// A job that goes wrong in one way, named by its argument; every rank prints what it saw.
//
// Each rank prints one line: "rank R: STATUS missing LIST: TEXT", or "rank R: ok".
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "lockstep/lockstep.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::Session;

bool is_culprit(const Session& s, const char* list) {
  for (const char* at = list; *at != '\0';) {
    char* end = nullptr;
    if (std::strtoul(at, &end, 10) == s.rank()) return true;
    at = *end == ',' ? end + 1 : end;
  }
  return false;
}

void say(const Session& s, const std::string& what) {
  // One write, so that lines of several ranks do not mix.
  std::fprintf(stdout, "%s", ("rank " + std::to_string(s.rank()) + ": " + what + "\n").c_str());
  std::fflush(stdout);
}

void observe(const Session& s, const std::function<void()>& call) {
  try {
    call();
    say(s, "ok");
  } catch (const lockstep::BrokenGroup& error) {
    std::string missing;
    for (const std::uint32_t rank : error.missing()) {
      missing += (missing.empty() ? "" : ",") + std::to_string(rank);
    }
    say(s, std::string(lockstep_status_name(error.status())) + " missing " + missing + ": " +
               error.what());
  } catch (const lockstep::Error& error) {
    say(s, std::string(lockstep_status_name(error.status())) + ": " + error.what());
  }
}

/// The culprits come late; everybody must get the same verdict, also they.
void late(Session& s, const char* culprits) {
  s.wait_for_everyone();
  if (is_culprit(s, culprits)) std::this_thread::sleep_for(2s);
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 300ms}); });
  // The group is broken for good: a second call says so at once.
  observe(s, [&] { s.wait_for_everyone({.name = "after"}); });
}

/// Everybody is a little late, nobody too late: no verdict.
void slow(Session& s, const char* culprits) {
  s.wait_for_everyone();
  if (is_culprit(s, culprits)) std::this_thread::sleep_for(1s);
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 20s}); });
}

void mismatch(Session& s, const char* culprits) {
  s.wait_for_everyone();
  observe(s, [&] {
    if (is_culprit(s, culprits)) {
      (void)s.check_trigger({.name = "stop"});
    } else {
      s.wait_for_everyone({.name = "epoch end"});
    }
  });
}

void names(Session& s, const char* culprits) {
  observe(
      s, [&] { s.wait_for_everyone({.name = is_culprit(s, culprits) ? "step 499" : "step 500"}); });
}

void leave(Session& s, const char* culprits) {
  s.wait_for_everyone();
  if (is_culprit(s, culprits)) return;
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 20s}); });
}

void die(Session& s, const char* culprits) {
  s.wait_for_everyone();
  if (is_culprit(s, culprits)) raise(SIGKILL);
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 3s}); });
}

/// The culprits never come, so that there is time to hurt them from outside.
void stay(Session& s, const char* culprits) {
  s.wait_for_everyone();
  if (is_culprit(s, culprits)) {
    say(s, "stays");
    std::this_thread::sleep_for(120s);
  }
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 5s}); });
}

/// All are stopped for longer than the timeout, as by `scontrol suspend`; the culprit comes last.
void suspend(Session& s, const char* culprits) {
  std::vector<pid_t> pids;
  for (std::uint32_t r = 0; r < s.size(); ++r) {
    pids.push_back(s.job().broadcast_value(getpid(), r));
  }
  s.wait_for_everyone();
  if (s.is_main_process() && fork() == 0) {
    const pid_t last = pids[std::strtoul(culprits, nullptr, 10)];
    std::this_thread::sleep_for(300ms);
    for (const pid_t pid : pids) kill(pid, SIGSTOP);
    std::this_thread::sleep_for(3s);
    for (const pid_t pid : pids) {
      if (pid != last) kill(pid, SIGCONT);
    }
    std::this_thread::sleep_for(500ms);
    kill(last, SIGCONT);
    _exit(0);
  }
  if (is_culprit(s, culprits)) std::this_thread::sleep_for(1s);
  observe(s, [&] { s.wait_for_everyone({.name = "epoch end", .timeout = 2s}); });
}

/// The first of a section dies in it.
void die_first(Session& s, const char*) {
  s.wait_for_everyone();
  observe(s, [&] {
    s.main_process_first(
        [&] {
          if (s.is_main_process()) raise(SIGKILL);
        },
        {.timeout = 10s});
  });
}

/// Some leave a section out: from then on they would take each for the one before it.
void skip_section(Session& s, const char* culprits) {
  // Whoever is slow may still be in a section when the others have found out.
  observe(s, [&] {
    s.main_process_first([] {}, {.name = "first"});
    if (!is_culprit(s, culprits)) s.main_process_first([] {}, {.name = "second"});
    s.wait_for_everyone({.name = "epoch end"});
  });
}

/// A fork of a rank takes part in nothing, however it ends, and nobody misses the rank for it.
void fork_child(Session& s, const char*) {
  s.wait_for_everyone();
  const pid_t child = fork();
  if (child == 0) {
    int wrong = lockstep_wait_for_everyone(s.job().handle(), nullptr) != LOCKSTEP_E_STATE ? 1 : 0;
    lockstep_session_t second = nullptr;
    if (lockstep_session_join(&second) != LOCKSTEP_E_STATE) wrong |= 2;
    if (lockstep_session_rank(s.handle()) != UINT32_MAX) wrong |= 4;
    if (lockstep_session_leave(s.handle()) != LOCKSTEP_E_STATE) wrong |= 8;
    std::exit(wrong);  // with all destructors, as a program that does not know would
  }
  int status = 0;
  waitpid(child, &status, 0);
  observe(s, [&] {
    s.wait_for_everyone({.name = "epoch end", .timeout = 20s});
    if (status != 0) throw lockstep::Error(LOCKSTEP_E_STATE, "child: " + std::to_string(status));
  });
}

/// The culprit dies in a loop of polls. Then the rank behind it sets a trigger: whoever polls is
/// told of the death where all would have met, and whoever has not heard of it in its next round.
void poll(Session& s, const char* culprit) {
  lockstep::Trigger stop = s.trigger("stop");
  for (int step = 0; step < 100; ++step) (void)stop.poll();
  s.wait_for_everyone();
  if (is_culprit(s, culprit)) raise(SIGKILL);
  std::this_thread::sleep_for(300ms);
  if (s.rank() == (std::strtoul(culprit, nullptr, 10) + 1) % s.size()) stop.set("one is gone");
  observe(s, [&] {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!stop.poll() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(1ms);
    }
    s.wait_for_everyone({.timeout = 2s});
  });
}

/// The culprit dies while all poll, and nobody sets anything: whoever is left is to stop in the
/// same step.
void poll_loss(Session& s, const char* culprit) {
  lockstep::Trigger stop = s.trigger("stop");
  stop.on_loss();
  std::uint64_t step = 0;
  const auto poll = [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(100 + 50 * s.rank()));
    ++step;
    return stop.poll();
  };
  while (step < 100) (void)poll();
  if (is_culprit(s, culprit)) raise(SIGKILL);
  while (!poll()) {
  }
  const lockstep::TriggerReport report = stop.report();
  say(s, "stops in step " + std::to_string(step) + " for rank " + std::to_string(report.rank) +
             ": " + report.text);
  observe(s, [&] { (void)stop.poll(); });
}

/// A trigger is set, and the culprits are in a loop in which nobody has thought of it.
void no_poll(Session& s, const char* culprits) {
  lockstep::Trigger stop = s.trigger("stop");
  for (int step = 0; step < 50; ++step) (void)stop.poll();
  s.wait_for_everyone({.name = "evaluation"});
  if (s.rank() == 0) stop.set("seen enough");
  if (is_culprit(s, culprits)) std::this_thread::sleep_for(2500ms);
  observe(s, [&] {
    while (!stop.poll()) {
    }
  });
}

/// A long section: the others say whom they wait for.
void long_first(Session& s, const char*) {
  observe(s, [&] {
    s.main_process_first([&] {
      if (s.is_main_process()) std::this_thread::sleep_for(1500ms);
    });
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const char* const culprits = argc > 2 ? argv[2] : "";
  const char* const rank = std::getenv("PMIX_RANK");
  if (mode == "never_joins" && rank != nullptr && std::strcmp(rank, culprits) == 0) {
    std::this_thread::sleep_for(10s);
    return 0;
  }
  const std::map<std::string, void (*)(Session&, const char*)> modes = {
      {"late", late},           {"slow", slow},
      {"mismatch", mismatch},   {"names", names},
      {"leave", leave},         {"die", die},
      {"die_first", die_first}, {"skip_section", skip_section},
      {"fork", fork_child},     {"long_first", long_first},
      {"stay", stay},           {"suspend", suspend},
      {"poll", poll},           {"no_poll", no_poll},
      {"poll_loss", poll_loss}};
  try {
    Session session;
    if (mode != "never_joins") modes.at(mode)(session, culprits);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
