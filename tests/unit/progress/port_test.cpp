// What a port does with frames that come before anybody listens, on the transport that brings every
// frame back.
#include "runtime/progress/port.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace lockstep::progress {
namespace {

struct Heard final : Listener {
  std::vector<Epoch> epochs;
  std::string text;

  void on_frame(const engine::Frame& frame) override {
    epochs.push_back(frame.epoch);
    for (const std::byte byte : frame.payload) text += static_cast<char>(byte);
  }
  void on_lost(Rank) override {}
  bool on_idle(Nanos) override { return false; }
};

class PortOnLoop : public testing::Test {
 protected:
  void SetUp() override {
    auto plugin = plugin::Plugin::load(LOOP_PLUGIN);
    ASSERT_TRUE(plugin.ok()) << plugin.status().text();
    lockstep_environment_t environment{};
    environment.size = sizeof environment;
    environment.ranks = 1;
    environment.interface = "";
    auto opened = Port::open(std::move(*plugin), environment, counters);
    ASSERT_TRUE(opened.ok()) << opened.status().text();
    port = std::move(*opened);
    port->set_session(4711);
    const auto address = port->address();
    ASSERT_TRUE(address.ok());
    ASSERT_TRUE(port->connect(0, address.value()).ok());
  }
  void send(GroupId group, Epoch epoch, const std::string& text = "") {
    engine::Frame frame;
    frame.group = group;
    frame.epoch = epoch;
    frame.payload = std::as_bytes(std::span(text));
    port->post(0, frame);
    port->poll();
  }
  std::uint64_t rejected() const { return counters.get(Counter::frames_rejected); }

  Counters counters;
  std::unique_ptr<Port> port;
};

TEST_F(PortOnLoop, KeepsWhatComesForAGroupThatIsNotThereYet) {
  send(7, 1, "early ");
  send(8, 5, "for another");
  send(7, 2, "bird");
  Heard seven;
  port->listen(7, &seven);
  EXPECT_EQ(seven.epochs, (std::vector<Epoch>{1, 2}));
  EXPECT_EQ(seven.text, "early bird");
  send(7, 3);
  EXPECT_EQ(seven.epochs.size(), 3u);
  Heard again;
  port->listen(7, &again);
  EXPECT_TRUE(again.epochs.empty()) << "it comes once";
  Heard eight;
  port->listen(8, &eight);
  EXPECT_EQ(eight.text, "for another");
  EXPECT_EQ(rejected(), 0u);
}

TEST_F(PortOnLoop, ForgetsTheOldestOfTooMany) {
  constexpr Epoch kSent = 1500;
  for (Epoch epoch = 1; epoch <= kSent; ++epoch) send(7, epoch);
  Heard seven;
  port->listen(7, &seven);
  ASSERT_FALSE(seven.epochs.empty());
  EXPECT_LT(seven.epochs.size(), kSent);
  EXPECT_EQ(seven.epochs.back(), kSent);
  EXPECT_EQ(rejected(), kSent - seven.epochs.size());
}

TEST_F(PortOnLoop, KeepsNothingOfAnotherJob) {
  engine::Frame foreign;
  foreign.group = 7;
  port->post(0, foreign);
  port->set_session(4712);
  port->poll();
  Heard seven;
  port->listen(7, &seven);
  EXPECT_TRUE(seven.epochs.empty());
  EXPECT_EQ(rejected(), 1u);
}

}  // namespace
}  // namespace lockstep::progress
