// The measured program on lockstep's side. usage: lockstep-bench OPERATION FILE
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "api/cli/bench/worker.hpp"
#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Session;
using lockstep::Trigger;
using namespace lockstep::bench;

/// Nobody sets anything. A poll is over before a clock is read, and talks to nobody: many of them,
/// on the processor's time, so that ranks may share a core.
void measure_polls(const std::string& path, Session& session) {
  constexpr std::uint64_t kPollsPerRound = 1000;
  Record record(path, session.rank(), session.size());
  Trigger trigger = session.trigger("stop");
  const auto poll = [&] { (void)trigger.poll(); };
  plain_loop(record.warm_up() * kPollsPerRound, poll);
  record.finish(plain_loop(record.rounds() * kPollsPerRound, poll, CLOCK_THREAD_CPUTIME_ID));
}

void measure_checks(const std::string& path, Session& session, std::size_t count) {
  std::vector<lockstep_trigger_t> triggers;
  for (std::size_t i = 0; i < count; ++i) {
    triggers.push_back(session.trigger("trigger " + std::to_string(i)).handle());
  }
  std::vector<int> fired(count);
  measure(path, session.rank(), session.size(), [&] {
    if (lockstep_trigger_check(triggers.data(), count, nullptr, fired.data()) != LOCKSTEP_OK) {
      throw std::runtime_error(lockstep_last_error());
    }
  });
}

/// All poll, and at a random moment a random rank sets the trigger, or gets a signal that does. It
/// alone enters the round; all leave in the poll that fires.
void measure_firing(const std::string& path, Session& session, bool is_signal) {
  Record record(path, session.rank(), session.size());
  Trigger trigger = session.trigger("stop");
  if (is_signal) trigger.on_signal(SIGUSR1);
  const auto barrier = [&] { session.wait_for_everyone(); };
  const double mean = plain_loop(record.warm_up(), barrier);
  std::mt19937_64 shared(1);
  std::mt19937_64 own(session.rank() + 2);
  std::uniform_int_distribution<std::int64_t> delay(static_cast<std::int64_t>(mean),
                                                    static_cast<std::int64_t>(3 * mean));
  for (std::uint32_t i = 0; i < record.rounds(); ++i) {
    const bool is_mine = shared() % session.size() == session.rank();
    barrier();
    if (is_mine) {
      const std::int64_t until = clock_ns() + delay(own);
      do {
        if (trigger.poll()) throw std::runtime_error("it fired before it was set");
        sched_yield();
      } while (clock_ns() < until);
      record.times(i).entry_ns = clock_ns();
      is_signal ? (void)raise(SIGUSR1) : trigger.set();
    }
    while (!trigger.poll()) sched_yield();  // a step would leave the core to others, too
    record.times(i).exit_ns = clock_ns();
  }
  record.finish(0);
}

void measure_one(const std::string& operation, const std::string& path, Session& session) {
  const auto rounds = [&](auto&& round) { measure(path, session.rank(), session.size(), round); };
  if (operation == "barrier") return rounds([&] { session.wait_for_everyone(); });
  if (operation == "trigger") return rounds([&] { (void)session.check_trigger(); });
  if (operation == "section") return rounds([&] { session.main_process_first([] {}); });
  if (operation == "poll") return measure_polls(path, session);
  if (operation == "check-1") return measure_checks(path, session, 1);
  if (operation == "check-64") return measure_checks(path, session, 64);
  if (operation == "set" || operation == "signal") {
    return measure_firing(path, session, operation == "signal");
  }
  throw std::runtime_error("there is no operation " + operation);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: lockstep-bench OPERATION FILE (started by `lockstep bench`)\n");
    return 2;
  }
  try {
    Session session;
    measure_one(argv[1], argv[2], session);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lockstep-bench: %s\n", error.what());
    return 1;
  }
}
