// What the tests of saving kill, starve and watch.
// usage: saving_victim step STORE STEP                one checkpoint
//        saving_victim steps STORE FIRST LAST [SEED]  many; with a seed a rank is killed some time
//        saving_victim die STORE                      rank 1 is killed in the middle of its part
//        saving_victim limit STORE                    the last rank may write small files only
//        saving_victim full STORE                     all write, and there is no room
//        saving_victim vanish STORE                   the folder goes while the parts are written
//        saving_victim poll STORE LAST                latest and load, until LAST is there
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <random>
#include <string>
#include <thread>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Checkpoints;

std::string part_of(std::uint32_t rank, std::uint64_t step) {
  return std::string(rank * 500 + step % 5000, static_cast<char>('a' + (rank + step) % 26));
}

/// Seen by strace: what comes between two of these is the save.
void mark() {
  [[maybe_unused]] const int nothing = access("/lockstep-test-mark", F_OK);
}

/// Says on one line how a save ended for this rank.
template <class Body>
void tell(lockstep::Session& job, Body&& body) {
  std::string line = "rank " + std::to_string(job.rank()) + ": ";
  try {
    body();
    line += "saved";
  } catch (const lockstep::Error& error) {
    line += std::string(lockstep_status_name(error.status())) + ": " + error.what();
  }
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void steps(lockstep::Session& job, Checkpoints& store, char** argv, bool may_die) {
  std::jthread killer;
  if (may_die) {
    std::mt19937 random(static_cast<unsigned>(std::stoul(argv[5])));
    const auto delay = std::chrono::microseconds(random() % 60'000);
    if (random() % job.size() == job.rank()) {
      killer = std::jthread([delay] {
        std::this_thread::sleep_for(delay);
        raise(SIGKILL);
      });
    }
  }
  for (std::uint64_t step = std::stoull(argv[3]); step <= std::stoull(argv[4]); ++step) {
    store.save(step, [&](std::ostream& out) { out << part_of(job.rank(), step); });
  }
}

void hurt(lockstep::Session& job, Checkpoints& store, const std::string& how) {
  const bool is_last = job.is_last_process();
  if (how == "limit" && is_last) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit small{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  tell(job, [&] {
    store.save(2, [&](std::ostream& out) {
      out << std::string(100'000, 'x') << std::flush;
      if (how == "die" && job.rank() == 1) raise(SIGKILL);
      if (how == "vanish") {
        job.wait_for_everyone({.name = "all write"});
        if (is_last) std::filesystem::remove_all(store.store());
        job.wait_for_everyone({.name = "it is gone"});
      }
    });
  });
}

int poll(Checkpoints& store, std::uint64_t last) {
  std::uint64_t highest = 0;
  std::size_t polls = 0;
  std::size_t loads = 0;
  std::size_t removed = 0;
  for (; highest < last; ++polls) {
    const auto latest = store.latest();
    if (!latest) continue;
    if (latest->step < highest) {
      std::printf("went back from %llu to %llu\n", static_cast<unsigned long long>(highest),
                  static_cast<unsigned long long>(latest->step));
      return EXIT_FAILURE;
    }
    highest = latest->step;
    try {
      store.load(highest, [&](std::istream& in, std::uint32_t part) {
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        if (!in.bad() && text != part_of(part, highest)) throw std::runtime_error("another text");
      });
      ++loads;
    } catch (const lockstep::Error& error) {
      if (error.status() != LOCKSTEP_E_STATE) throw;  // removed meanwhile, which is fine
      ++removed;
    }
  }
  std::printf("polled %zu times, loaded %zu, removed meanwhile %zu\n", polls, loads, removed);
  return EXIT_SUCCESS;
}

int run(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  lockstep::Session job;
  // Few, so that readers and removals meet.
  Checkpoints store(job, argv[2], {.keep_last = 1});
  if (what == "poll") return poll(store, std::stoull(argv[3]));
  if (what == "step") {
    const std::uint64_t step = std::stoull(argv[3]);
    mark();
    store.save(step, [&](std::ostream& out) { out << part_of(job.rank(), step); });
    mark();
    return EXIT_SUCCESS;
  }
  if (what == "steps") {
    steps(job, store, argv, argc > 5);
    return EXIT_SUCCESS;
  }
  hurt(job, store, what);
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "saving_victim: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
