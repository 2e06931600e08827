// What the tests of visitors start: jobs that do one thing, and go on when a file appears.
// usage: outside_job FILE MODE [COUNT]
//   away      the last rank stays away from a wait until the file is there
//   first     rank 0 is in its section until the file is there, the others wait for it
//   split     everybody arrives and waits only when the file is there; the last rank does not
//   fire      checks until the trigger has fired COUNT times; every rank prints what it was
//   named     checks the triggers 'save' and 'stop', and says why, until the latter has fired
//   mute      never checks; ends when the file is there
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "lockstep/lockstep.hpp"

namespace {

using namespace std::chrono_literals;

void wait_for_file(const char* path) {
  while (access(path, F_OK) != 0) std::this_thread::sleep_for(10ms);
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void fire(lockstep::Session& job, int count) {
  for (int fired = 0; fired < count;) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    if (!job.check_trigger({.name = "step"})) continue;
    ++fired;
    const lockstep::TriggerReport why = job.last_trigger();
    say("rank " + std::to_string(job.rank()) + " at " + std::to_string(why.check) + ": reason " +
        std::to_string(static_cast<int>(why.reason)) + " " + why.text);
  }
}

void named(lockstep::Session& job) {
  lockstep::Trigger save = job.trigger("save");
  lockstep::Trigger stop = job.trigger("stop");
  const auto tell = [&job](const lockstep::TriggerReport& why) {
    say("rank " + std::to_string(job.rank()) + " at " + std::to_string(why.check) + ": " +
        why.name + " " + std::to_string(static_cast<int>(why.reason)) + " " + why.text);
  };
  for (bool is_over = false; !is_over;) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    const auto [saves, stops] = lockstep::check_triggers({save, stop});
    if (saves) tell(save.report());
    if (stops) tell(stop.report());
    is_over = stops;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) return EXIT_FAILURE;
    const std::string mode = argv[2];
    lockstep::Session job;
    const bool is_last = job.is_last_process();
    job.wait_for_everyone({.name = "all are there"});
    if (job.is_main_process()) say("started");
    if (mode == "away") {
      if (is_last) wait_for_file(argv[1]);
      job.wait_for_everyone({.name = "epoch end"});
    } else if (mode == "first") {
      job.main_process_first([&] {
        if (job.is_main_process()) wait_for_file(argv[1]);
      });
    } else if (mode == "split") {
      if (is_last) wait_for_file(argv[1]);
      lockstep::Arrival half = job.job().arrive({.name = "half"});
      wait_for_file(argv[1]);
      half.wait();
    } else if (mode == "fire") {
      fire(job, argc > 3 ? std::stoi(argv[3]) : 1);
    } else if (mode == "named") {
      named(job);
    } else {
      wait_for_file(argv[1]);
    }
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "outside_job: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
