// A section whose first does something bad, in one group of a job; every rank prints how it ended.
//
//   section_job SCOPE POLICY DEED COUNT [SEED]
//
// SCOPE: job, node, or odd (ranks of the same parity). The COUNT lowest ranks of rank 0's group do
// the deed when they go first. Lines: "rank R (F): ...", F being the lowest rank of R's group.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Group;
using lockstep::Policy;
using lockstep::Session;

const std::map<std::string, Policy> kPolicies = {{"propagate", Policy::propagate},
                                                 {"retry_next", Policy::retry_next},
                                                 {"continue_on_error", Policy::continue_on_error},
                                                 {"abort_job", Policy::abort_job}};

struct Case {
  std::string scope;
  Policy policy;
  std::string deed;
  std::uint32_t count;
  unsigned seed;
};

const char* kind_name(lockstep::Outcome::Kind kind) {
  switch (kind) {
    case lockstep::Outcome::Kind::ok:
      return "ok";
    case lockstep::Outcome::Kind::failed:
      return "failed";
    case lockstep::Outcome::Kind::dead:
      break;
  }
  return "dead";
}

/// Kills, or stops for a while, this process a little later.
void hurt_later(std::chrono::microseconds delay, bool only_stops) {
  const pid_t parent = getpid();
  if (fork() != 0) return;
  std::this_thread::sleep_for(delay);
  kill(parent, only_stops ? SIGSTOP : SIGKILL);
  if (only_stops) {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    kill(parent, SIGCONT);
  }
  _exit(0);
}

void do_deed(const Case& the) {
  if (the.deed == "throws") throw std::runtime_error("no such data set");
  if (the.deed == "exits") _exit(3);
  if (the.deed == "dies_inside") raise(SIGKILL);
  if (the.deed == "dies_publishing") {
    hurt_later(std::chrono::microseconds(the.seed * 37 % 1500), false);
  }
  if (the.deed == "stops") {
    hurt_later(std::chrono::microseconds(0), true);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

std::string outcome_text(const Group& group) {
  const auto outcome = group.last_outcome();
  if (!outcome) return "no outcome";
  return std::string(kind_name(outcome->kind)) + " by " + std::to_string(outcome->rank) + " on " +
         outcome->host + ", " + std::to_string(outcome->attempts) + " tried" +
         (outcome->type.empty() ? "" : ", " + outcome->type + ": " + outcome->text);
}

std::string run(Session& session, Group& group, const Case& the) {
  const bool is_culprit = group.member(0) == 0 && group.rank() < the.count;
  session.wait_for_everyone();
  if (is_culprit && the.deed == "dies_at_entry") raise(SIGKILL);
  try {
    auto section = group.first({.name = "data", .policy = the.policy});
    if (section.is_first() && is_culprit) {
      try {
        do_deed(the);
      } catch (const std::runtime_error& error) {
        section.fail(error.what(), "std::runtime_error");
        return "threw";
      }
    }
    section.end();
    return "went on, " + outcome_text(group);
  } catch (const lockstep::Error& error) {
    return std::string(lockstep_status_name(error.status())) + ", " + outcome_text(group) + ": " +
           error.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || kPolicies.count(argv[2]) == 0) {
    std::fprintf(stderr, "section_job: SCOPE POLICY DEED COUNT [SEED]\n");
    return 2;
  }
  const Case the{argv[1], kPolicies.at(argv[2]), argv[3],
                 static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10)),
                 argc > 5 ? static_cast<unsigned>(std::strtoul(argv[5], nullptr, 10)) : 0};
  try {
    Session session;
    std::optional<Group> own;
    if (the.scope == "odd") own = session.job().split(session.rank() % 2);
    Group& group = the.scope == "node" ? session.local() : own ? *own : session.job();
    const std::string line = "rank " + std::to_string(session.rank()) + " (" +
                             std::to_string(group.member(0)) + "): " + run(session, group, the) +
                             "\n";
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
    // Whoever is asked how it ended has to be there.
    std::this_thread::sleep_for(std::chrono::milliseconds(the.deed == "throws" ? 0 : 500));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "section_job: %s\n", error.what());
    return 1;
  }
}
