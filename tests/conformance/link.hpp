// Two connected transports, or one connected to itself, and bounded ways to move frames over them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>

#include "instance.hpp"

namespace lockstep::conformance {

/// Longest wait of any test for something that must happen; running out is a failure.
inline constexpr std::chrono::seconds kPatience{30};

/// A frame that carries its number and a pattern that follows from number and length.
Bytes numbered_frame(std::uint64_t number, std::size_t length);

/// The number of a frame made by numbered_frame(); a test failure if it was damaged.
std::uint64_t number_of(const Bytes& frame);

/// Shortest numbered frame.
inline constexpr std::size_t kNumberedMin = sizeof(std::uint64_t);

class TransportTest : public testing::TestWithParam<Candidate> {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// Opens both ends and connects them in both directions.
  void open_link();

  [[nodiscard]] const lockstep_plugin_t& plugin() const { return *plugin_; }
  [[nodiscard]] bool is_self_only() const { return GetParam().is_self_only; }
  [[nodiscard]] Instance& left() { return *left_; }
  [[nodiscard]] Instance& right() { return is_self_only() ? *left_ : *right_; }

  /// Polls both ends until `is_done`, giving way to others when nothing moves; false on expiry.
  [[nodiscard]] bool pump_until(const std::function<bool()>& is_done);

  /// Posts, polling both ends as long as the queue is full; counts how often it was.
  void send(Instance& from, Instance& to, const Bytes& frame);
  std::size_t times_full_ = 0;

 private:
  const lockstep_plugin_t* plugin_ = nullptr;
  std::unique_ptr<Instance> left_;
  std::unique_ptr<Instance> right_;
};

}  // namespace lockstep::conformance
