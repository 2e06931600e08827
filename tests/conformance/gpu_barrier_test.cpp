// What any plugin's stream barriers must do, on the table alone: all members in one process, and
// the test is their hosts. usage: gpu_conformance PLUGIN.so [--gtest_...]
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gpu_device.hpp"
#include "instance.hpp"
#include "lockstep/gpu.h"

namespace {

using lockstep::conformance::candidates;
using lockstep::conformance::GpuDevice;
using lockstep::conformance::load;
using lockstep::conformance::make_gpu_device;

constexpr std::uint64_t kNoLimit = 0;
constexpr std::uint64_t kShort = 20'000'000;  // ns
constexpr std::uint64_t kLong = 500'000'000;
constexpr std::uint64_t kSeen = std::uint64_t{1} << 63;

std::uint64_t load_word(std::uint64_t& word) {
  return std::atomic_ref(word).load(std::memory_order_acquire);
}

void store_word(std::uint64_t& word, std::uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

/// For what has to come, however slow the machine is.
bool comes(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

/// One member's: plugin, barrier, and a stream.
struct Member {
  const lockstep_gpu_t* table = nullptr;
  void* self = nullptr;
  void* barrier = nullptr;
  lockstep_gpu_barrier_view_t view{};
  std::unique_ptr<GpuDevice> device;
  void* stream = nullptr;
  std::array<char, 256> why{};

  bool enqueue(std::uint64_t limit_ns = kNoLimit, std::uint32_t reports = 1) {
    std::uint32_t is_captured = 7;
    const lockstep_status_t status = table->barrier_enqueue(barrier, stream, limit_ns, reports,
                                                            &is_captured, why.data(), why.size());
    EXPECT_EQ(status, LOCKSTEP_OK) << why.data();
    EXPECT_LE(is_captured, 1u);
    return is_captured == 1;
  }
  void raise(std::uint32_t bits) { device->raise(stream, view.raised, bits); }
  /// The lower half of the word of that barrier, once it is over.
  std::uint32_t result(std::uint64_t number) {
    std::uint64_t& place = view.line->results[number % LOCKSTEP_GPU_RESULTS];
    EXPECT_TRUE(comes([&] { return load_word(place) >> 32 == (number & 0xffffffffu); }))
        << "barrier " << number << " does not end";
    return static_cast<std::uint32_t>(load_word(place));
  }
  bool is_over(std::uint64_t number) {
    return load_word(view.line->results[number % LOCKSTEP_GPU_RESULTS]) >> 32 == number;
  }
  std::uint64_t cause() { return load_word(view.line->cause); }
  std::uint64_t missing() { return load_word(view.line->missing); }
  /// What a kernel sees that comes now on the stream.
  std::uint32_t agreed() {
    std::uint64_t* const seen = device->make_word();
    device->tell(stream, view.agreed, seen);
    EXPECT_TRUE(comes([&] { return load_word(*seen) != 0; }));
    return static_cast<std::uint32_t>(load_word(*seen) & ~kSeen);
  }
};

class GpuBarriers : public testing::Test {
 protected:
  void SetUp() override {
    const lockstep_plugin_t* const plugin = load(candidates().front().path);
    ASSERT_NE(plugin, nullptr);
    ASSERT_NE(plugin->gpu, nullptr);
    const lockstep_gpu_t& table = *plugin->gpu;
    lockstep_environment_t environment{};
    environment.size = sizeof environment;
    void* self = nullptr;
    std::array<char, 256> why{};
    const lockstep_status_t status = table.open(&environment, &self, why.data(), why.size());
    if (status == LOCKSTEP_E_UNSUPPORTED) GTEST_SKIP() << "no GPU here: " << why.data();
    ASSERT_EQ(status, LOCKSTEP_OK) << why.data();
    table.close(self);
  }
  void open(std::uint32_t count, bool is_carried = false) {
    const lockstep_gpu_t& table = *load(candidates().front().path)->gpu;
    members_.resize(count);
    for (std::uint32_t i = 0; i < count; ++i) open_one(table, i, is_carried);
    if (HasFatalFailure()) return;
    for (std::uint32_t i = 0; i < count; ++i) connect_to(i);
    for (Member& one : members_) {
      if (one.view.memory >= 0) close(one.view.memory);
    }
  }
  void TearDown() override {
    for (Member& one : members_) {
      // What a failed test has left waiting.
      if (one.barrier != nullptr && HasFailure()) store_word(one.view.line->give_up, 1);
    }
    for (Member& one : members_) {
      if (one.barrier == nullptr) continue;
      one.table->barrier_drain(one.barrier);
      one.table->barrier_close(one.barrier);
      one.barrier = nullptr;
    }
    for (Member& one : members_) {
      one.device.reset();
      if (one.self != nullptr) one.table->close(one.self);
    }
  }

  std::vector<Member> members_;

  void open_one(const lockstep_gpu_t& table, std::uint32_t member, bool is_carried) {
    Member& one = members_[member];
    one.table = &table;
    lockstep_environment_t environment{};
    environment.size = sizeof environment;
    environment.rank = member;
    ASSERT_EQ(table.open(&environment, &one.self, one.why.data(), one.why.size()), LOCKSTEP_OK)
        << one.why.data();
    const std::uint32_t ordinal = member % table.count(one.self);
    one.device = make_gpu_device(ordinal);
    one.stream = one.device->make_stream();
    lockstep_gpu_barrier_setup_t setup{};
    setup.size = sizeof setup;
    setup.member = member;
    setup.members = static_cast<std::uint32_t>(members_.size());
    setup.is_carried = is_carried ? 1 : 0;
    one.view.size = sizeof one.view;
    ASSERT_EQ(table.barrier_open(one.self, ordinal, &setup, &one.barrier, &one.view, one.why.data(),
                                 one.why.size()),
              LOCKSTEP_OK)
        << one.why.data();
    EXPECT_EQ(one.view.memory >= 0, members_.size() > 1);
  }

 private:
  void connect_to(std::uint32_t member) {
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      if (i == member) continue;
      Member& one = members_[i];
      ASSERT_EQ(one.table->barrier_connect(one.barrier, member, members_[member].view.memory,
                                           one.why.data(), one.why.size()),
                LOCKSTEP_OK)
          << one.why.data();
    }
  }
};

TEST_F(GpuBarriers, OfOneAloneEndAtOnceAndTellItsBits) {
  open(1);
  Member& one = members_[0];
  one.raise(5);
  EXPECT_FALSE(one.enqueue());
  EXPECT_FALSE(one.enqueue());
  EXPECT_EQ(one.result(1), 5u);
  EXPECT_EQ(one.result(2), 0u);
}

TEST_F(GpuBarriers, HoldWhatComesBehindThemUntilTheLastHasCome) {
  open(2);
  std::uint64_t* const may_end = members_[1].device->make_word();
  members_[1].device->hold(members_[1].stream, may_end);
  std::uint64_t* const seen = members_[0].device->make_word();
  for (Member& one : members_) one.enqueue();
  members_[0].device->tell(members_[0].stream, members_[0].view.agreed, seen);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // no proof; a chance to be wrong
  EXPECT_EQ(load_word(*seen), 0u);
  EXPECT_FALSE(members_[0].is_over(1));
  store_word(*may_end, 1);
  for (Member& one : members_) EXPECT_EQ(one.result(1), 0u);
  EXPECT_TRUE(comes([&] { return load_word(*seen) == kSeen; }));
}

TEST_F(GpuBarriers, AgreeOnTheBitsOfAllAndTakeThem) {
  open(3);
  for (std::uint64_t number = 1; number <= 300; ++number) {
    std::uint32_t expected = 0;
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      const std::uint32_t bits = (number + i) % 3 == 0 ? 1u << ((number * 7 + i) % 31) : 0;
      if (bits != 0) members_[i].raise(bits);
      expected |= bits;
      members_[i].enqueue();
    }
    for (Member& one : members_) {
      ASSERT_EQ(one.result(number), expected) << number;
      ASSERT_EQ(one.agreed(), expected) << number;
    }
  }
}

TEST_F(GpuBarriers, RunManyInARowWithoutAHost) {
  open(2);
  for (int i = 0; i < 1000; ++i) {
    for (Member& one : members_) one.enqueue();
  }
  for (Member& one : members_) {
    EXPECT_EQ(one.result(1000), 0u);
    EXPECT_EQ(one.result(1000 - LOCKSTEP_GPU_RESULTS + 1), 0u);
    EXPECT_EQ(one.cause(), std::uint64_t{LOCKSTEP_GPU_WHOLE});
  }
}

TEST_F(GpuBarriers, ThatDoNotReportAreAskedAfter) {
  open(2);
  std::uint64_t number = 7;
  std::uint32_t low = 7;
  const auto ask = [&](Member& one) {
    EXPECT_EQ(one.table->barrier_ask(one.barrier, &number, &low, one.why.data(), one.why.size()),
              LOCKSTEP_OK)
        << one.why.data();
    return number;
  };
  EXPECT_EQ(ask(members_[0]), 0u);
  EXPECT_EQ(low, 0u);
  members_[1].raise(16);
  for (Member& one : members_) {
    for (int i = 0; i < 3; ++i) one.enqueue(kNoLimit, 0);
  }
  members_[1].raise(8);
  for (Member& one : members_) one.enqueue(kNoLimit, 0);
  for (Member& one : members_) {
    EXPECT_TRUE(comes([&] { return ask(one) == 4; }));
    EXPECT_EQ(low, 8u);
    EXPECT_FALSE(one.is_over(4));
    one.device->wait(one.stream);
  }
  // Failures are reported always, and stay.
  members_[0].enqueue(kShort, 0);
  EXPECT_NE(members_[0].result(5) & LOCKSTEP_GPU_BROKEN, 0u);
  EXPECT_EQ(ask(members_[0]), 5u);
  EXPECT_NE(low & LOCKSTEP_GPU_BROKEN, 0u);
}

TEST_F(GpuBarriers, KeepTheHighestBitForThemselves) {
  open(2);
  members_[0].raise(LOCKSTEP_GPU_BROKEN | 1);
  for (Member& one : members_) one.enqueue();
  for (Member& one : members_) EXPECT_EQ(one.result(1), 1u);
}

TEST_F(GpuBarriers, NameWhoHasNotComeInTime) {
  open(3);
  members_[2].enqueue();
  members_[0].enqueue(kShort);  // which the other may have seen come
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    Member& one = members_[i];
    EXPECT_NE(one.result(1) & LOCKSTEP_GPU_BROKEN, 0u);
    // The second to notice may have been told by the first.
    if (one.cause() != LOCKSTEP_GPU_TOLD) {
      EXPECT_EQ(one.cause(), std::uint64_t{LOCKSTEP_GPU_LATE});
      EXPECT_EQ(one.missing(), 2u);
    }
  }
  // Who comes later does not wait.
  members_[1].enqueue();
  EXPECT_NE(members_[1].result(1) & LOCKSTEP_GPU_BROKEN, 0u);
  EXPECT_EQ(members_[1].cause(), std::uint64_t{LOCKSTEP_GPU_TOLD});
}

TEST_F(GpuBarriers, CountTheirTimeFromWhenTheStreamHasCome) {
  open(2);
  std::vector<std::uint64_t*> words;
  for (Member& one : members_) {
    words.push_back(one.device->make_word());
    one.device->hold(one.stream, words.back());
    one.enqueue(kLong);
  }
  std::this_thread::sleep_for(std::chrono::nanoseconds(kLong + kShort));
  for (std::uint64_t* const word : words) store_word(*word, 1);
  for (Member& one : members_) EXPECT_EQ(one.result(1), 0u);
}

TEST_F(GpuBarriers, StayBrokenAndHoldNobody) {
  open(2);
  members_[0].enqueue(kShort);
  EXPECT_NE(members_[0].result(1) & LOCKSTEP_GPU_BROKEN, 0u);
  for (std::uint64_t number = 2; number <= 200; ++number) members_[0].enqueue();
  for (std::uint64_t number = 190; number <= 200; ++number) {
    EXPECT_NE(members_[0].result(number) & LOCKSTEP_GPU_BROKEN, 0u);
  }
  EXPECT_NE(members_[0].agreed() & LOCKSTEP_GPU_BROKEN, 0u);
  EXPECT_EQ(members_[0].missing(), 2u) << "why it has failed is why the first has";
}

TEST_F(GpuBarriers, EndWhenTheHostGivesUp) {
  open(2);
  members_[0].enqueue();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_FALSE(members_[0].is_over(1));
  store_word(members_[0].view.line->give_up, 1);
  EXPECT_NE(members_[0].result(1) & LOCKSTEP_GPU_BROKEN, 0u);
  EXPECT_EQ(members_[0].cause(), std::uint64_t{LOCKSTEP_GPU_STOPPED});
  members_[1].enqueue();
  EXPECT_NE(members_[1].result(1) & LOCKSTEP_GPU_BROKEN, 0u);
}

TEST_F(GpuBarriers, GoIntoGraphsAndAreTheNextOneAtEachLaunch) {
  open(2);
  std::vector<std::function<void()>> launches;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    Member& one = members_[i];
    one.enqueue();
    one.device->begin_capture(one.stream);
    one.raise(1u << i);
    EXPECT_TRUE(one.enqueue());
    EXPECT_TRUE(one.enqueue());
    launches.push_back(one.device->end_capture(one.stream));
  }
  for (Member& one : members_) EXPECT_EQ(one.result(1), 0u);
  for (int i = 0; i < 20; ++i) {
    for (const auto& launch : launches) launch();
  }
  for (Member& one : members_) EXPECT_FALSE(one.enqueue());
  for (Member& one : members_) {
    EXPECT_EQ(one.result(42), 0u);
    EXPECT_EQ(one.result(41), 0u);
    EXPECT_EQ(one.result(40), 3u);
    EXPECT_EQ(one.result(39), 0u);
    EXPECT_EQ(one.result(38), 3u);
    EXPECT_FALSE(one.is_over(43));
  }
}

TEST_F(GpuBarriers, ThatAreCarriedAskTheHostOfTheFirst) {
  open(3, true);
  for (std::uint64_t number = 1; number <= 50; ++number) {
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      members_[i].raise(1u << i);
      members_[i].enqueue();
    }
    lockstep_gpu_line_t& line = *members_[0].view.line;
    ASSERT_TRUE(comes([&] { return load_word(line.arrived) == (number << 32 | 7); })) << number;
    for (Member& one : members_) EXPECT_FALSE(one.is_over(number));
    store_word(line.released, number << 32 | 7 | 256);
    for (Member& one : members_) ASSERT_EQ(one.result(number), 7u | 256u) << number;
  }
}

TEST_F(GpuBarriers, ThatAreCarriedByOneAloneAskItsHost) {
  open(1, true);
  Member& one = members_[0];
  one.enqueue();
  ASSERT_TRUE(comes([&] { return load_word(one.view.line->arrived) == std::uint64_t{1} << 32; }));
  store_word(one.view.line->released, std::uint64_t{1} << 32 | 9);
  EXPECT_EQ(one.result(1), 9u);
}

TEST_F(GpuBarriers, ThatAreCarriedBreakForAllWhenTheHostSaysSo) {
  open(2, true);
  for (Member& one : members_) one.enqueue();
  lockstep_gpu_line_t& line = *members_[0].view.line;
  ASSERT_TRUE(comes([&] { return load_word(line.arrived) != 0; }));
  store_word(line.released, std::uint64_t{1} << 32 | LOCKSTEP_GPU_BROKEN);
  for (Member& one : members_) EXPECT_NE(one.result(1) & LOCKSTEP_GPU_BROKEN, 0u);
  EXPECT_EQ(members_[0].cause(), std::uint64_t{LOCKSTEP_GPU_STOPPED});
  EXPECT_EQ(members_[1].cause(), std::uint64_t{LOCKSTEP_GPU_TOLD});
}

TEST_F(GpuBarriers, AreRefusedWhereTheyMakeNoSense) {
  open(2);
  Member& one = members_[0];
  EXPECT_NE(one.table->barrier_connect(one.barrier, 0, -1, one.why.data(), one.why.size()),
            LOCKSTEP_OK);
  EXPECT_NE(one.table->barrier_connect(one.barrier, 2, -1, one.why.data(), one.why.size()),
            LOCKSTEP_OK);
}

TEST_F(GpuBarriers, DoNotConnectToMemoryThatIsNoBarriers) {
  const lockstep_gpu_t& table = *load(candidates().front().path)->gpu;
  members_.resize(2);
  for (std::uint32_t i = 0; i < 2; ++i) open_one(table, i, false);
  if (HasFatalFailure()) return;
  Member& one = members_[0];
  Member& other = members_[1];
  const bool is_read = other.device->damage(other.view.raised);
  const lockstep_status_t status =
      table.barrier_connect(one.barrier, 1, other.view.memory, one.why.data(), one.why.size());
  for (const Member& member : members_) close(member.view.memory);
  if (!is_read) GTEST_SKIP() << "this plugin reads nothing of it";
  EXPECT_EQ(status, LOCKSTEP_E_UNSUPPORTED);
}

TEST_F(GpuBarriers, AreClosedOnceTheirStreamHasDoneThem) {
  open(2);
  for (int i = 0; i < 100; ++i) {
    for (Member& one : members_) one.enqueue();
  }
  // One after the other: the first one's streams must not need it any more when it is gone.
  for (Member& one : members_) {
    one.table->barrier_drain(one.barrier);
    one.table->barrier_close(std::exchange(one.barrier, nullptr));
    one.device->wait(one.stream);
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s PLUGIN.so [--gtest_...]\n", argv[0]);
    return 2;
  }
  candidates().push_back({argv[1]});
  return RUN_ALL_TESTS();
}
