// What the tests of stream barriers run on every rank, above the fake driver: host threads are the
// streams, and all look at one clock. usage: stream_barrier_job WHAT
//   order      200 barriers between random work; each rank says how often somebody was too early
//   graph      the same work captured and launched 30 times
//   bits       random ranks raise random triggers; the same ones are seen after the same barrier
//   late       the last rank does not come in time
//   kill       the last rank is killed; those who are left have barriers in a group of their own
//   leaves     the last rank leaves the group
//   full       the last rank is killed while the others' queues are full, and a thread keeps asking
//   full_wait  the same, and the others wait for their streams
//   crosswise  two groups, each with a thread; on each rank another one is far ahead
//   captured   rank 1's first barrier would go into a graph
//   mistakes   wrong calls, one after the other
//   many       three groups at the same time, each on a stream of its own
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lockstep/lockstep.hpp"
#include "tests/job/everybody.hpp"
#include "tests/support/fake_stream.hpp"

namespace {

using lockstep::Group;
using lockstep::Session;
using lockstep::test::FakeStream;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;  // one for all processes of a machine

void say(const Session& job, const std::string& text) {
  std::printf("%s\n", ("rank " + std::to_string(job.rank()) + ": " + text).c_str());
  std::fflush(stdout);
}

std::int64_t ticks() {
  return Clock::now().time_since_epoch().count();
}

/// Work before and behind each barrier that notes when it was.
struct Diary {
  std::vector<std::int64_t> before;
  std::vector<std::int64_t> behind;

  void step(Group& group, FakeStream& stream, microseconds work) {
    stream.begin([this, work] {
      std::this_thread::sleep_for(work);
      before.push_back(ticks());
    });
    group.stream_barrier(&stream);
    stream.begin([this] { behind.push_back(ticks()); });
  }
};

void wait_for(const FakeStream& stream) {
  while (stream.is_busy) std::this_thread::sleep_for(microseconds(100));
}

/// How often something behind a barrier was before something in front of it, on whichever ranks.
std::size_t too_early(Group& group, const Diary& mine) {
  std::vector<std::string> texts;
  const auto packed = [](const std::vector<std::int64_t>& times) {
    return std::string(reinterpret_cast<const char*>(times.data()), times.size() * sizeof times[0]);
  };
  std::size_t early = 0;
  for (const std::string& other : group.gather(packed(mine.before))) {
    if (other.size() != mine.behind.size() * sizeof mine.behind[0]) return 1'000'000;
    for (std::size_t i = 0; i < mine.behind.size(); ++i) {
      std::int64_t time = 0;
      std::memcpy(&time, other.data() + i * sizeof time, sizeof time);
      if (time > mine.behind[i]) ++early;
    }
  }
  return early;
}

void order(Session& job) {
  FakeStream stream;
  Diary diary;
  std::mt19937 random(job.rank() + 1);
  for (int i = 0; i < 200; ++i) diary.step(job.job(), stream, microseconds(random() % 200));
  wait_for(stream);
  say(job, std::to_string(too_early(job.job(), diary)) + " too early, " +
               std::to_string(job.job().stream_barriers_over()) + " over");
}

void graph(Session& job) {
  job.job().prepare_stream_barrier();
  FakeStream stream;
  Diary diary;
  stream.is_captured = true;
  for (int i = 0; i < 5; ++i) diary.step(job.job(), stream, microseconds(job.rank() * 50));
  const FakeStream::Graph captured = stream.end_capture();
  for (int i = 0; i < 30; ++i) stream.launch(captured);
  wait_for(stream);
  say(job, std::to_string(too_early(job.job(), diary)) + " too early, " +
               std::to_string(job.job().stream_barriers_over()) + " over");
}

void bits(Session& job) {
  FakeStream stream;
  constexpr int kTriggers = 3;
  std::vector<lockstep::Trigger> triggers;
  std::vector<lockstep_stream_bit_t> all;
  for (int i = 0; i < kTriggers; ++i) {
    triggers.push_back(job.trigger("trigger " + std::to_string(i)));
    all.push_back(triggers.back().stream_bit());
  }
  std::mt19937 random(3);
  std::vector<std::uint32_t> expected;
  std::vector<std::uint32_t> agreed(50, 77);
  for (std::size_t i = 0; i < agreed.size(); ++i) {
    const std::size_t which = random() % kTriggers;
    const bool is_raised = random() % 2 == 0;
    expected.push_back(is_raised ? all[which].mask : 0);
    if (random() % job.size() == job.rank() && is_raised) {
      stream.begin([&one = all[which]] { std::atomic_ref(*one.raised).fetch_or(one.mask); });
    }
    job.job().stream_barrier(&stream);
    // The memory of a fake GPU is the host's.
    stream.begin(
        [&, i] { agreed[i] = std::atomic_ref(const_cast<std::uint32_t&>(*all[0].agreed)).load(); });
  }
  wait_for(stream);
  int wrong = 0;
  for (std::size_t i = 0; i < agreed.size(); ++i) {
    if (agreed[i] != expected[i] || job.job().stream_barrier_bits(i + 1) != expected[i]) ++wrong;
  }
  say(job, std::to_string(wrong) + " wrong");
}

/// The text of the failure that has to come soon, though nobody else calls.
std::string failure_of(Group& group, FakeStream& stream) {
  const auto end = Clock::now() + std::chrono::seconds(30);
  while (Clock::now() < end) {
    try {
      group.stream_barrier(&stream);
      wait_for(stream);
      std::this_thread::sleep_for(milliseconds(5));
    } catch (const lockstep::Error& error) {
      return std::string(lockstep_status_name(error.status())) + ": " + error.what();
    }
  }
  return "no failure";
}

void trouble(Session& job, const std::string& what) {
  std::optional<Group> part = job.job().split(0);
  FakeStream stream;
  part->stream_barrier(&stream);
  wait_for(stream);
  const bool is_culprit = job.is_last_process();
  if (!is_culprit) {
    part->stream_barrier(&stream, {.timeout = milliseconds(what == "late"     ? 300
                                                           : what == "leaves" ? 4'000
                                                                              : 20'000)});
  }
  if (is_culprit && what == "kill") kill(getpid(), SIGKILL);
  if (is_culprit && what == "leaves") part.reset();
  if (is_culprit && what == "late") std::this_thread::sleep_for(milliseconds(1500));
  const auto begin = Clock::now();
  if (part) {
    say(job, failure_of(*part, stream));
    wait_for(stream);  // which is let go
    if (Clock::now() - begin > std::chrono::seconds(15)) say(job, "late itself");
  }
  if (what != "kill") job.wait_for_everyone();
  Group next = what == "kill" ? part->shrink() : job.job().split(0).value();
  next.stream_barrier(&stream);
  wait_for(stream);
  say(job, "again " + std::to_string(next.stream_barriers_over()));
}

void full(Session& job, bool waits) {
  Group part = job.job().split(0).value();
  FakeStream stream;
  part.stream_barrier(&stream);
  wait_for(stream);
  if (job.is_last_process()) {
    std::this_thread::sleep_for(milliseconds(300));
    kill(getpid(), SIGKILL);
  }
  stream.room = 4;
  const auto begin = Clock::now();
  std::thread asking([&part] {
    try {
      for (;;) (void)part.stream_barriers_over();
    } catch (const lockstep::Error&) {
    }
  });
  try {
    // One more is under way.
    for (std::size_t i = 0; i <= stream.room || !waits; ++i) {
      part.stream_barrier(&stream, {.timeout = milliseconds(20'000)});
    }
    part.wait_for_everyone_on({&stream});
  } catch (const lockstep::Error& error) {
    say(job, std::string(lockstep_status_name(error.status())) + ": " + error.what());
  }
  asking.join();
  wait_for(stream);
  if (Clock::now() - begin > std::chrono::seconds(15)) say(job, "late itself");
}

void crosswise(Session& job) {
  std::array<Group, 2> groups{job.job().split(0).value(), job.job().split(0).value()};
  std::array<FakeStream, 2> streams;
  for (Group& group : groups) group.prepare_stream_barrier();
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 2; ++i) {
    streams[i].room = 4;
    threads.emplace_back([&, i] {
      if (i == job.rank() % 2) std::this_thread::sleep_for(milliseconds(300));
      for (int n = 0; n < 50; ++n) {
        groups[i].stream_barrier(&streams[i], {.timeout = milliseconds(20'000)});
      }
    });
  }
  for (std::thread& one : threads) one.join();
  for (FakeStream& stream : streams) wait_for(stream);
  for (Group& group : groups) say(job, std::to_string(group.stream_barriers_over()) + " over");
  if (Clock::now() - begin > std::chrono::seconds(15)) say(job, "late itself");
}

void captured(Session& job) {
  FakeStream stream;
  stream.is_captured = job.rank() == 1;
  try {
    job.job().stream_barrier(&stream);
    say(job, "no error");
  } catch (const lockstep::Error& error) {
    say(job, std::string(lockstep_status_name(error.status())) + ": " + error.what());
  }
  if (stream.is_capture_broken || !stream.captured.empty()) say(job, "the capture is broken");
  stream.is_captured = false;
  job.job().stream_barrier(&stream);
  wait_for(stream);
  say(job, "done");
}

void mistakes(Session& job) {
  Group& group = job.job();
  const auto expect = [&](const char* what, lockstep_status_t wanted, auto&& call) {
    lockstep_status_t status = LOCKSTEP_OK;
    try {
      call();
    } catch (const lockstep::Error& error) {
      status = error.status();
    }
    if (status != wanted) say(job, std::string(what) + ": " + lockstep_status_name(status));
  };
  expect("not ready", LOCKSTEP_E_STATE, [&] { (void)group.stream_barriers_over(); });
  FakeStream stream;
  group.stream_barrier(&stream);
  FakeStream foreign;
  foreign.ordinal = 77;
  expect("another GPU's", LOCKSTEP_E_INVALID, [&] { group.stream_barrier(&foreign); });
  group.stream_barrier(&stream);
  wait_for(stream);
  // Without bits: the last one is known.
  if (group.stream_barriers_over() != 2) say(job, "not 2 over");
  expect("the last one", LOCKSTEP_OK, [&] { (void)group.stream_barrier_bits(2); });
  expect("one before", LOCKSTEP_E_LIMIT, [&] { (void)group.stream_barrier_bits(1); });
  std::vector<lockstep::Trigger> triggers{group.trigger("first")};
  (void)triggers.back().stream_bit();
  for (int i = 0; i < 70; ++i) group.stream_barrier(&stream);
  wait_for(stream);
  expect("forgotten", LOCKSTEP_E_LIMIT, [&] { (void)group.stream_barrier_bits(3); });
  expect("remembered", LOCKSTEP_OK, [&] { (void)group.stream_barrier_bits(12); });
  if (group.stream_barriers_over() != 72) say(job, "not 72 over");
  if (group.stream_barrier_bits(73)) say(job, "one that nobody has enqueued is over");
  for (int i = 1; i < 31; ++i) {
    triggers.push_back(group.trigger("t" + std::to_string(i)));
    expect("a bit", LOCKSTEP_OK, [&] { (void)triggers.back().stream_bit(); });
  }
  triggers.push_back(group.trigger("one too many"));
  expect("no bit", LOCKSTEP_E_LIMIT, [&] { (void)triggers.back().stream_bit(); });
  if (job.size() > 1) {
    Group part = group.split(0).value();
    lockstep::Trigger one = part.trigger(job.rank() == 0 ? "this" : "that");
    expect("another trigger's bit", LOCKSTEP_E_MISMATCH, [&] { (void)one.stream_bit(); });
  }
  say(job, "done");
}

void many(Session& job) {
  std::array<FakeStream, 3> streams;
  std::vector<Group> groups;
  std::vector<Diary> diaries(streams.size());
  groups.push_back(job.job().split(0).value());
  groups.push_back(job.job().split(job.rank() % 2).value());
  groups.push_back(job.job().split(0).value());
  std::mt19937 random(job.rank());
  for (int i = 0; i < 50; ++i) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      diaries[g].step(groups[g], streams[g], microseconds(random() % 100));
    }
  }
  std::size_t early = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    wait_for(streams[g]);
    early += too_early(groups[g], diaries[g]);
  }
  say(job, std::to_string(early) + " too early");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Session job;
    const std::string what = argc > 1 ? argv[1] : "";
    if (what == "order") order(job);
    if (what == "graph") graph(job);
    if (what == "bits") bits(job);
    if (what == "late" || what == "kill" || what == "leaves") trouble(job, what);
    if (what == "full" || what == "full_wait") full(job, what == "full_wait");
    if (what == "crosswise") crosswise(job);
    if (what == "captured") captured(job);
    if (what == "mistakes") mistakes(job);
    if (what == "many") many(job);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stream_barrier_job: %s\n", error.what());
    return 1;
  }
}
