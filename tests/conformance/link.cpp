// Moves numbered frames between the two ends of a link, with a limit on every wait.
#include "link.hpp"

#include <sched.h>

#include <cstring>
#include <thread>

namespace lockstep::conformance {
namespace {

std::byte pattern(std::uint64_t number, std::size_t index, std::size_t length) {
  return static_cast<std::byte>((number * 31 + index * 7 + length) & 0xffu);
}

}  // namespace

Bytes numbered_frame(std::uint64_t number, std::size_t length) {
  Bytes frame(length);
  std::memcpy(frame.data(), &number, sizeof number);
  for (std::size_t i = sizeof number; i < length; ++i) frame[i] = pattern(number, i, length);
  return frame;
}

std::uint64_t number_of(const Bytes& frame) {
  std::uint64_t number = 0;
  if (frame.size() < sizeof number) {
    ADD_FAILURE() << "a frame of " << frame.size() << " bytes was never posted";
    return number;
  }
  std::memcpy(&number, frame.data(), sizeof number);
  EXPECT_EQ(frame, numbered_frame(number, frame.size()));
  return number;
}

void TransportTest::SetUp() {
  plugin_ = load(GetParam().path);
  ASSERT_NE(plugin_, nullptr);
  ASSERT_NE(plugin_->transport, nullptr) << "no transport in this plugin";
}

// Both ends at once, as at the end of a job: a close may wait for an answer of the other end.
void TransportTest::TearDown() {
  std::thread other([this] { right_.reset(); });
  left_.reset();
  other.join();
}

void TransportTest::open_link() {
  left_ = std::make_unique<Instance>(plugin(), 0u);
  ASSERT_TRUE(left_->is_open());
  if (is_self_only()) {
    ASSERT_EQ(left_->connect(0, left_->address()), LOCKSTEP_OK);
    return;
  }
  right_ = std::make_unique<Instance>(plugin(), 1u);
  ASSERT_TRUE(right_->is_open());
  ASSERT_EQ(left_->connect(1, right_->address()), LOCKSTEP_OK);
  ASSERT_EQ(right_->connect(0, left_->address()), LOCKSTEP_OK);
}

bool TransportTest::pump_until(const std::function<bool()>& is_done) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_done()) {
    std::size_t moved = left_->poll();
    if (right_ && right_->is_open()) moved += right_->poll();
    if (moved != 0) continue;
    if (std::chrono::steady_clock::now() > deadline) return false;
    sched_yield();
  }
  return true;
}

void TransportTest::send(Instance& from, Instance& to, const Bytes& frame) {
  lockstep_status_t status = from.post(to.rank(), frame);
  if (status == LOCKSTEP_AGAIN) {
    ++times_full_;
    ASSERT_TRUE(pump_until([&] {
      status = from.post(to.rank(), frame);
      return status != LOCKSTEP_AGAIN;
    })) << "the queue never drained";
  }
  ASSERT_EQ(status, LOCKSTEP_OK);
}

}  // namespace lockstep::conformance
