// Who meets directly: those of one class and node, as many as have room, and not who has to be
// alone.
#include "runtime/gpu/circles.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lockstep::gpu {
namespace {

std::vector<Seat> seats_on(const std::vector<NodeIndex>& nodes) {
  std::vector<Seat> seats(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) seats[i].node = nodes[i];
  return seats;
}

TEST(Circles, AreOneClassOnOneNode) {
  const auto seats = seats_on({0, 0, 0, 1, 1, 0});
  const std::vector<std::uint8_t> alone(6, 0);
  const std::vector<Circle> expected = {{0, 2}, {1, 5}, {3, 4}};
  // 3 and 4 are in the fabric of 0, on another node.
  EXPECT_EQ(circles(seats, {0, 1, 0, 0, 0, 1}, alone), expected);
}

TEST(Circles, LeaveOutWhoIsAlone) {
  const auto seats = seats_on({0, 0, 0, 0});
  const std::vector<Circle> expected = {{0}, {1, 3}, {2}};
  EXPECT_EQ(circles(seats, {0, 0, 0, 0}, std::vector<std::uint8_t>{1, 0, 1, 0}), expected);
}

TEST(Circles, HaveRoomForSoManyOnly) {
  constexpr Rank kMembers = 2 * LOCKSTEP_GPU_PEERS_MAX + 3;
  const auto all = circles(seats_on(std::vector<NodeIndex>(kMembers, 0)), Classes(kMembers, 0),
                           std::vector<std::uint8_t>(kMembers, 0));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].size(), LOCKSTEP_GPU_PEERS_MAX);
  EXPECT_EQ(all[1].front(), LOCKSTEP_GPU_PEERS_MAX);
  EXPECT_EQ(all[2].size(), 3u);
}

TEST(Circles, HaveEverybodyOnceInOrder) {
  std::mt19937 random(4);
  for (int turn = 0; turn < 500; ++turn) {
    const std::size_t members = 1 + random() % 100;
    std::vector<NodeIndex> nodes;
    std::vector<std::uint8_t> alone;
    Classes classes;
    for (Rank i = 0; i < members; ++i) {
      nodes.push_back(static_cast<NodeIndex>(random() % 3));
      alone.push_back(random() % 4 == 0 ? 1 : 0);
      // A class is named by its lowest.
      classes.push_back(i == 0 || random() % 3 == 0 ? i : classes[random() % i]);
    }
    std::vector<int> seen(members, 0);
    Rank last_first = 0;
    for (const Circle& circle : circles(seats_on(nodes), classes, alone)) {
      ASSERT_TRUE(circle.front() >= last_first);
      last_first = circle.front();
      ASSERT_LE(circle.size(), LOCKSTEP_GPU_PEERS_MAX);
      for (std::size_t i = 0; i < circle.size(); ++i) {
        ++seen[circle[i]];
        ASSERT_TRUE(i == 0 || circle[i - 1] < circle[i]);
        ASSERT_EQ(nodes[circle[i]], nodes[circle.front()]);
        ASSERT_EQ(classes[circle[i]], classes[circle.front()]);
        ASSERT_TRUE(circle.size() == 1 || alone[circle[i]] == 0);
      }
    }
    ASSERT_EQ(seen, std::vector<int>(members, 1));
  }
}

}  // namespace
}  // namespace lockstep::gpu
