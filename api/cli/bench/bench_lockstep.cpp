// The measured program on lockstep's side. usage: lockstep-bench barrier|trigger|section FILE
#include <cstdio>
#include <cstring>

#include "api/cli/bench/worker.hpp"
#include "lockstep/lockstep.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr,
                 "usage: lockstep-bench barrier|trigger|section FILE (started by `lockstep "
                 "bench`)\n");
    return 2;
  }
  try {
    lockstep::Session session;
    const bool is_trigger = std::strcmp(argv[1], "trigger") == 0;
    const bool is_section = std::strcmp(argv[1], "section") == 0;
    lockstep::bench::measure(argv[2], session.rank(), session.size(), [&] {
      if (is_trigger) {
        (void)session.check_trigger();
      } else if (is_section) {
        session.main_process_first([] {});
      } else {
        session.wait_for_everyone();
      }
    });
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lockstep-bench: %s\n", error.what());
    return 1;
  }
}
