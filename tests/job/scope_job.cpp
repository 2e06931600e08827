// What the tests of scopes look at and kill: says who sees the same files, and prepares them.
// usage: scope_job who PATH...      each rank: how many file systems, who is on its own, in how
// many
//                                   rounds; paths one after the other
//        scope_job prepare PATH     one of each file system prepares, and the others find it
//        scope_job die PATH         at most two at a time, and rank 3 is killed when it is its turn
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Scope;

void say(const lockstep::Session& job, const std::string& text) {
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": " + text).c_str());
  std::fflush(stdout);
}

/// Seen by strace: what comes between two of these is the search.
void mark() {
  [[maybe_unused]] const int nothing = access("/lockstep-test-mark", F_OK);
}

void who(lockstep::Session& job, const std::string& path) {
  std::string text;
  mark();
  try {
    const std::uint64_t before = job.counter("rounds");
    const std::uint32_t count = job.count_of(Scope::file_system(path));
    const std::uint64_t rounds = job.counter("rounds") - before;
    mark();
    const lockstep::Group mine = job.group_of(Scope::file_system(path));
    text = std::to_string(count) + " file systems, here";
    for (std::uint32_t i = 0; i < mine.size(); ++i) text += " " + std::to_string(mine.member(i));
    text += "; " + std::to_string(rounds) + " rounds";
  } catch (const lockstep::Error& error) {
    text = std::string(lockstep_status_name(error.status())) + ": " + error.what();
  }
  say(job, text);
}

void prepare(lockstep::Session& job, const std::string& path) {
  const std::filesystem::path file = std::filesystem::path(path) / "prepared";
  job.first(Scope::file_system(path), [&] {
    if (std::filesystem::exists(file)) return say(job, "found it");
    std::ofstream(file) << job.rank();
    say(job, "prepared it");
  });
}

void die(lockstep::Session& job) {
  bool has_run = false;
  try {
    job.job().at_most(2, [&] {
      has_run = true;
      if (job.rank() == 3) raise(SIGKILL);
    });
    say(job, "all have run");
  } catch (const lockstep::Error& error) {
    say(job, std::string(lockstep_status_name(error.status())) + ": " + error.what());
  }
  say(job, has_run ? "has run" : "has not run");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lockstep::Session job;
    const std::string what = argc > 2 ? argv[1] : "";
    for (int i = 2; i < argc; ++i) {
      if (what == "who") who(job, argv[i]);
      if (what == "prepare") prepare(job, argv[i]);
      if (what == "die") die(job);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "scope_job: %s\n", error.what());
    return 1;
  }
}
