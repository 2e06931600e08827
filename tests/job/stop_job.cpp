// A program that runs until it is asked to stop, and says why: what the life cycle's tests start.
// usage: stop_job [FILE to save when it stops [what rank 3 wants then: requeue, never, or lost,
// which is requeue and the loss of rank 5]]
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <ostream>
#include <thread>

#include "lockstep/lockstep.hpp"

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  try {
    lockstep::Session job;
    job.wait_for_everyone({.name = "all are there"});
    if (job.is_main_process()) std::printf("started\n");
    std::fflush(stdout);
    while (!job.check_trigger({.name = "step"})) std::this_thread::sleep_for(10ms);
    const lockstep::TriggerReport why = job.last_trigger();
    std::printf("rank %u stops at %llu: reason %d by rank %u on %s: %s\n", job.rank(),
                static_cast<unsigned long long>(why.check), static_cast<int>(why.reason), why.rank,
                why.host.c_str(), why.text.c_str());
    std::fflush(stdout);
    if (argc > 1) job.save(argv[1], [&](std::ostream& out) { out << why.check << '\n'; });
    if (argc > 2) {
      using lockstep::Requeue;
      const Requeue wish = argv[2][0] == 'n' ? Requeue::never : Requeue::wanted;
      const bool will = job.requeue(job.rank() == 3 ? wish : Requeue::no_opinion, "says rank 3");
      std::printf("rank %u %s\n", job.rank(), will ? "will be back" : "will not be back");
      std::fflush(stdout);
      if (argv[2][0] == 'l' && job.rank() == 5) raise(SIGKILL);
    }
    job.wait_for_everyone({.name = "saved"});
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stop_job: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
