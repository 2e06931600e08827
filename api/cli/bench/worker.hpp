// One rank's part of a latency measurement, whatever library is measured: two loops, times to a
// file.
//
// Loop 1 is the plain one of the OSU benchmarks: calls back to back, each rank's mean. Successive
// rounds overlap there and skew is hidden. Loop 2 enters each round after a random delay and keeps
// the times of entry and exit on the host's one clock, so that T = max(exit) - max(entry) can be
// computed per round, and that nobody left before everybody had entered can be checked.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>
#include <random>
#include <stdexcept>
#include <string>

namespace lockstep::bench {

inline constexpr std::uint64_t kMagic = 0x6863'6e65'626b'634cu;

/// Head of the file that all ranks map; the driver makes it, with room for everybody.
struct Head {
  std::uint64_t magic;
  std::uint32_t ranks;
  std::uint32_t rounds;
};

/// One rank's part: this, then `rounds` pairs of entry and exit.
struct RankHead {
  double osu_mean_ns;
  std::uint64_t is_done;
};

struct Times {
  std::int64_t entry_ns;
  std::int64_t exit_ns;
};

inline std::size_t rank_bytes(std::uint32_t rounds) {
  return sizeof(RankHead) + rounds * sizeof(Times);
}
inline std::size_t file_bytes(std::uint32_t ranks, std::uint32_t rounds) {
  return sizeof(Head) + ranks * rank_bytes(rounds);
}

inline std::int64_t clock_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t;
  clock_gettime(clock, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// One rank's part of the file, which the driver has made.
class Record {
 public:
  Record(const std::string& path, std::uint32_t rank, std::uint32_t ranks) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    Head head{};
    if (fd < 0 || pread(fd, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head) ||
        head.magic != kMagic || head.ranks != ranks) {
      throw std::runtime_error(path + " was not made for this measurement");
    }
    size_ = file_bytes(head.ranks, head.rounds);
    rounds_ = head.rounds;
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory_ == MAP_FAILED) throw std::runtime_error("cannot map " + path);
    mine_ = static_cast<char*>(memory_) + sizeof head + rank * rank_bytes(head.rounds);
  }
  ~Record() { munmap(memory_, size_); }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  std::uint32_t rounds() const noexcept { return rounds_; }
  std::uint32_t warm_up() const noexcept { return rounds_ / 10 + 10; }
  Times& times(std::uint32_t round) noexcept {
    return reinterpret_cast<Times*>(mine_ + sizeof(RankHead))[round];
  }
  void finish(double mean_ns) noexcept { *reinterpret_cast<RankHead*>(mine_) = {mean_ns, 1}; }

 private:
  void* memory_ = nullptr;
  char* mine_ = nullptr;
  std::size_t size_ = 0;
  std::uint32_t rounds_ = 0;
};

/// Mean of `count` calls back to back, on this clock.
template <class Operation>
double plain_loop(std::uint64_t count, Operation&& operation, clockid_t clock = CLOCK_MONOTONIC) {
  const std::int64_t start = clock_ns(clock);
  for (std::uint64_t i = 0; i < count; ++i) operation();
  return static_cast<double>(clock_ns(clock) - start) / static_cast<double>(count);
}

/// Runs both loops. `operation` is one round; `rank` is this process within `ranks`.
template <class Operation>
void measure(const std::string& path, std::uint32_t rank, std::uint32_t ranks,
             Operation&& operation) {
  Record record(path, rank, ranks);
  plain_loop(record.warm_up(), operation);
  const double mean = plain_loop(record.rounds(), operation);

  std::mt19937_64 random(rank + 1);
  std::uniform_int_distribution<std::int64_t> delay(0, static_cast<std::int64_t>(2 * mean));
  for (std::uint32_t i = 0; i < record.rounds(); ++i) {
    const std::int64_t until = clock_ns() + delay(random);
    while (clock_ns() < until) sched_yield();  // the cores may be shared with late ranks
    record.times(i).entry_ns = clock_ns();
    operation();
    record.times(i).exit_ns = clock_ns();
  }
  record.finish(mean);
}

}  // namespace lockstep::bench
