// What the tests of waits on streams run on every rank, above a fake driver: work that ends when
// the test wants, and a look at the clock of all when the wait is over. usage: stream_job WHAT
//   many       100 waits of random streams; each says whether everybody's work was over
//   captured   rank 1 captures one of its streams into a graph
//   fails      rank 1's GPU fails
//   late       rank 1's work takes longer than the call's time limit
//   default    NULL, and none at all on the last rank
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lockstep/lockstep.hpp"
#include "tests/support/fake_stream.hpp"

namespace {

using lockstep::test::FakeStream;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;  // one for all processes of a machine

std::function<void()> takes(microseconds duration) {
  return [duration] { std::this_thread::sleep_for(duration); };
}

void say(const lockstep::Session& job, const std::string& text) {
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": " + text).c_str());
  std::fflush(stdout);
}

/// Waits, and tells the error that all should have; then the group must be as good as new.
void expect_error(lockstep::Session& job, std::initializer_list<void*> streams,
                  const lockstep::Options& options = {}) {
  std::string text = "no error";
  try {
    job.wait_for_everyone_on(streams, options);
  } catch (const lockstep::Error& error) {
    text = std::string(lockstep_status_name(error.status())) + ": " + error.what();
  }
  job.wait_for_everyone({.name = "the group goes on"});
  say(job, text);
}

void many(lockstep::Session& job) {
  std::mt19937 random(job.rank() + 1);
  std::array<FakeStream, 4> streams;
  int early = 0;
  for (int wait = 0; wait < 100; ++wait) {
    std::vector<void*> mine;
    for (FakeStream& stream : streams) {
      if (random() % 3 == 0) continue;
      if (random() % 3 != 0) stream.begin(takes(microseconds(random() % 300)));
      mine.push_back(&stream);
    }
    job.wait_for_everyone_on(mine);
    const Clock::time_point returned = Clock::now();
    Clock::time_point last{};
    bool is_busy = false;
    for (void* const one : mine) {
      const auto* const stream = static_cast<FakeStream*>(one);
      is_busy = is_busy || stream->is_busy;
      last = std::max(last, stream->finished);
    }
    if (is_busy) ++early;
    for (const std::string& other :
         job.job().gather(std::to_string(last.time_since_epoch().count()))) {
      if (std::stoll(other) > returned.time_since_epoch().count()) ++early;
    }
  }
  say(job, std::to_string(early) + " of 100 were too early");
}

void captured(lockstep::Session& job) {
  FakeStream idle;
  FakeStream stream;
  stream.is_captured = job.rank() == 1;
  expect_error(job, {&idle, &stream});
  if (stream.is_capture_broken) say(job, "the capture is broken");
}

void fails(lockstep::Session& job) {
  FakeStream stream;
  stream.begin(takes(milliseconds(20)), job.rank() == 1);
  expect_error(job, {&stream});
}

void late(lockstep::Session& job) {
  FakeStream stream;
  std::atomic<bool> may_end{false};
  if (job.rank() == 1) {
    stream.begin([&] {
      while (!may_end) std::this_thread::yield();
    });
  }
  expect_error(job, {&stream}, {.timeout = milliseconds(100)});
  // It still ends, and waiting for it again is possible.
  may_end = true;
  job.wait_for_everyone_on({&stream});
  say(job, stream.is_busy ? "busy" : "done");
}

void default_stream(lockstep::Session& job) {
  if (job.rank() + 1 == job.size()) {
    job.wait_for_everyone_on(std::span<void* const>{});
  } else {
    job.wait_for_everyone_on({nullptr});
  }
  say(job, "done");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lockstep::Session job;
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "many") many(job);
    if (what == "captured") captured(job);
    if (what == "fails") fails(job);
    if (what == "late") late(job);
    if (what == "default") default_stream(job);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_job: %s\n", error.what());
    return 1;
  }
}
