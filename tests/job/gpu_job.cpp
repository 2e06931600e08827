// What the tests of GPU groups look at: each rank says which group it is in, or why in none.
// usage: gpu_job [again | half]   again: asks twice, and says what the second time cost
//                                 half: asks in the group of every other rank
#include <cstdio>
#include <string>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Group;
using lockstep::Scope;

std::string members(const Group& group) {
  std::string text;
  for (std::uint32_t i = 0; i < group.size(); ++i) text += " " + std::to_string(group.member(i));
  return text;
}

std::string ask(Group& parent) {
  try {
    Group mine = parent.group_of(Scope::gpu_group, {.name = "training"});
    mine.wait_for_everyone();
    return std::to_string(parent.count_of(Scope::gpu_group)) + " groups, here" + members(mine);
  } catch (const lockstep::Error& error) {
    // The group goes on, whatever GPUs there are.
    parent.wait_for_everyone({.name = "all the same"});
    return std::string(lockstep_status_name(error.status())) + ": " + error.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lockstep::Session job;
    const std::string what = argc > 1 ? argv[1] : "";
    std::string text;
    if (what == "half") {
      Group half = *job.job().split(job.rank() % 2);
      text = ask(half);
    } else {
      text = ask(job.job());
    }
    if (what == "again") {
      const auto before = job.counter("rounds");
      const Group group = job.group_of(Scope::gpu_group);
      const bool is_same = group.handle() == job.group_of(Scope::gpu_group).handle();
      text += "; again: " + std::to_string(job.counter("rounds") - before) + " rounds, " +
              (is_same ? "the same" : "another");
    }
    std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": " + text + ".").c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_job: %s\n", error.what());
    return 1;
  }
}
