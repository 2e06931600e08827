// What the tests of leaving start: jobs that end in one of several ways.
// usage: leave_job MODE
//   set       the last rank sets the trigger "late" and leaves
//   due       it is due when all leave, since they checked another one
//   signal    the last rank gets SIGUSR1, and nobody checks
//   told      all of that, and it is told; then a second signal
//   polls N   rank 3 polls N times, the others 1000 times
//   touched   rank 0 touches LOCKSTEP_TRIGGER_FILE, and all check until the trigger fires
//   clean     the same, but a CleanStop stops
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>

#include "lockstep/stopping.hpp"

int main(int argc, char** argv) {
  try {
    if (argc < 2) return EXIT_FAILURE;
    const std::string mode = argv[1];
    lockstep::Session job;
    lockstep::Trigger late = job.trigger("late");
    const bool is_last = job.is_last_process();
    job.trigger_on_signal(SIGUSR1);
    if (mode == "set" || mode == "due" || mode == "told") {
      if (is_last) late.set("loss is not finite");
    }
    if (mode == "signal" || mode == "told") {
      if (is_last) raise(SIGUSR1);
    }
    if (mode == "due") (void)job.check_trigger();
    if (mode == "told") {
      if (!job.check_trigger() || !late.check()) return EXIT_FAILURE;
      if (is_last) raise(SIGUSR1);
    }
    if (mode == "polls") {
      const int polls = job.rank() == 3 && argc > 2 ? std::stoi(argv[2]) : 1000;
      for (int i = 0; i < polls; ++i) (void)job.poll_trigger();
    }
    if (mode == "touched" || mode == "clean") {
      const char* const path = std::getenv("LOCKSTEP_TRIGGER_FILE");
      if (job.is_main_process()) std::ofstream(path != nullptr ? path : "").flush();
      if (mode == "clean") {
        lockstep::CleanStop stop(job);
        while (!stop.check(0)) {
        }
        job.print_in_order(stop.report().text + "\n");
      } else {
        while (!job.check_trigger()) {
        }
        job.print_in_order(job.last_trigger().text + "\n");
      }
    }
    job.wait_for_everyone();
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leave_job: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
