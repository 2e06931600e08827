// Who is grouped with whom, for what members have and say; and for random ones, against a search
// that knows nothing of how it is done.
#include "runtime/gpu/grouping.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lockstep::gpu {
namespace {

constexpr auto kApart = LOCKSTEP_GPU_APART;
constexpr auto kReaches = LOCKSTEP_GPU_REACHES;
constexpr auto kCannotTell = LOCKSTEP_GPU_CANNOT_TELL;

Seat seat(char name, NodeIndex node = 0) {
  Seat one;
  one.uuid[0] = static_cast<std::uint8_t>(name);
  one.node = node;
  return one;
}

Seat with_fabric(Seat one, std::uint8_t cluster, std::uint32_t clique) {
  one.fabric.cluster[3] = cluster;
  one.fabric.clique = clique;
  return one;
}

/// Everybody says the same of everybody.
std::vector<Answers> all_say(const std::vector<Seat>& seats, lockstep_gpu_reach_t answer) {
  std::vector<Answers> answers;
  for (const Seat& one : seats) {
    answers.emplace_back(first_on_each(seats, one.node).size(), answer);
  }
  return answers;
}

using Ranks = std::vector<Rank>;

TEST(GpuGroups, ThoseWhoReachEachOtherAreOneOnEachNode) {
  const std::vector<Seat> seats = {seat('a'), seat('b'), seat('c', 1), seat('d', 1)};
  const Groups groups = group(seats, all_say(seats, kReaches));
  EXPECT_EQ(groups.classes, (Classes{0, 0, 2, 2}));
  EXPECT_TRUE(groups.doubtful.empty());
}

TEST(GpuGroups, WhoReachesNobodyIsAlone) {
  const std::vector<Seat> seats = {seat('a'), seat('b'), seat('c')};
  EXPECT_EQ(group(seats, all_say(seats, kApart)).classes, (Classes{0, 1, 2}));
}

TEST(GpuGroups, ReachingOverAnotherIsReaching) {
  const std::vector<Seat> seats = {seat('a'), seat('b'), seat('c')};
  const std::vector<Answers> line = {
      {kApart, kReaches, kApart}, {kReaches, kApart, kReaches}, {kApart, kReaches, kApart}};
  EXPECT_EQ(group(seats, line).classes, (Classes{0, 0, 0}));
}

TEST(GpuGroups, OneSidesWordIsNotEnough) {
  const std::vector<Seat> seats = {seat('a'), seat('b')};
  EXPECT_EQ(group(seats, std::vector<Answers>{{kApart, kReaches}, {kApart, kApart}}).classes,
            (Classes{0, 1}));
  const Groups half = group(seats, std::vector<Answers>{{kApart, kReaches}, {kCannotTell, kApart}});
  EXPECT_EQ(half.classes, (Classes{0, 1}));
  EXPECT_EQ(half.doubtful, (Ranks{0, 1}));
}

TEST(GpuGroups, WhatCannotBeToldIsApartAndDoubtful) {
  const std::vector<Seat> seats = {seat('a'), seat('b'), seat('c', 1)};
  const Groups groups = group(seats, all_say(seats, kCannotTell));
  EXPECT_EQ(groups.classes, (Classes{0, 1, 2}));
  EXPECT_EQ(groups.doubtful, (Ranks{0, 1})) << "between nodes nobody expects it";
}

TEST(GpuGroups, ANoOfOneSideLeavesNoDoubt) {
  const std::vector<Seat> seats = {seat('a'), seat('b')};
  const Groups groups = group(seats, std::vector<Answers>{{kApart, kCannotTell}, {kApart, kApart}});
  EXPECT_EQ(groups.classes, (Classes{0, 1}));
  EXPECT_TRUE(groups.doubtful.empty());
}

TEST(GpuGroups, RanksOnOneGpuAreTogetherWhateverIsSaid) {
  const std::vector<Seat> seats = {seat('a'), seat('b'), seat('a'), seat('a', 1)};
  const Groups groups = group(seats, all_say(seats, kCannotTell));
  EXPECT_EQ(groups.classes, (Classes{0, 1, 0, 3})) << "another node's is another kernel's";
}

TEST(GpuGroups, InstancesAreAloneWhateverIsSaid) {
  std::vector<Seat> seats = {seat('a'), seat('b'), seat('c'), seat('a')};
  seats[0].is_instance = seats[1].is_instance = seats[3].is_instance = true;
  seats[0] = with_fabric(seats[0], 1, 1);
  seats[1] = with_fabric(seats[1], 1, 1);
  const Groups groups = group(seats, all_say(seats, kReaches));
  EXPECT_EQ(groups.classes, (Classes{0, 1, 2, 0})) << "but for two ranks on one";
  EXPECT_TRUE(group(seats, all_say(seats, kCannotTell)).doubtful.empty());
}

TEST(GpuGroups, AFabricJoinsNodesIfItsCliqueIsTheSameToo) {
  const std::vector<Seat> seats = {
      with_fabric(seat('a', 0), 7, 1), with_fabric(seat('b', 1), 7, 1),
      with_fabric(seat('c', 2), 7, 2), with_fabric(seat('d', 3), 8, 1),
      with_fabric(seat('e', 4), 0, 1), with_fabric(seat('f', 5), 0, 1)};
  EXPECT_EQ(group(seats, all_say(seats, kApart)).classes, (Classes{0, 0, 2, 3, 4, 5}))
      << "and a cluster of zeros is none";
}

TEST(GpuGroups, NodesThatOneFabricJoinsBringAllTheyReach) {
  const std::vector<Seat> seats = {with_fabric(seat('a', 0), 7, 1), seat('b', 0),
                                   with_fabric(seat('c', 1), 7, 1), seat('d', 1)};
  EXPECT_EQ(group(seats, all_say(seats, kReaches)).classes, (Classes{0, 0, 0, 0}));
}

TEST(GpuGroups, AnswersSurviveThePacking) {
  std::mt19937 random(4);
  for (std::size_t ranks = 1; ranks <= 40; ++ranks) {
    std::vector<Seat> seats;
    for (std::size_t i = 0; i < ranks; ++i) {
      seats.push_back(
          seat(static_cast<char>('a' + random() % 20), static_cast<NodeIndex>(random() % 3)));
    }
    std::vector<Answers> answers = all_say(seats, kApart);
    const Layout layout = layout_of(seats);
    std::vector<std::byte> bytes(layout.total);
    for (Rank member = 0; member < ranks; ++member) {
      for (auto& one : answers[member]) one = static_cast<lockstep_gpu_reach_t>(random() % 3);
      const std::vector<std::byte> mine = pack(answers[member]);
      ASSERT_EQ(mine.size(), layout.places[member].length);
      for (std::size_t i = 0; i < mine.size(); ++i) {
        std::byte& place = bytes[layout.places[member].offset + i];
        EXPECT_EQ(place, std::byte{0}) << "somebody else's";
        place = mine[i];
      }
    }
    EXPECT_EQ(unpack(seats, layout, bytes), answers);
  }
}

/// A job of random nodes and GPUs, of which members say random things.
struct World {
  std::vector<Seat> seats;
  std::vector<Answers> answers;
};

World random_world(std::mt19937& random) {
  World world;
  const std::size_t ranks = 1 + random() % 24;
  const std::uint32_t nodes = 1 + static_cast<std::uint32_t>(random() % 3);
  for (std::size_t i = 0; i < ranks; ++i) {
    const auto node = static_cast<NodeIndex>(random() % nodes);
    Seat one = seat(static_cast<char>('a' + random() % 8), node);
    one.uuid[1] = static_cast<std::uint8_t>(node);
    // A GPU is what it is for all who are on it.
    one.is_instance = one.uuid[0] % 5 == 0;
    if (one.uuid[0] % 3 == 0) one = with_fabric(one, 1 + one.uuid[0] % 2, one.uuid[0] % 4);
    world.seats.push_back(one);
  }
  world.answers = all_say(world.seats, kApart);
  const unsigned most = 1 + static_cast<unsigned>(random() % 6);  // how rarely they reach
  for (Answers& row : world.answers) {
    for (auto& one : row) {
      one = random() % most == 0 ? kReaches : static_cast<lockstep_gpu_reach_t>(random() % 3);
    }
  }
  return world;
}

/// Whether two are joined without a third.
bool is_edge(const World& world, Rank a, Rank b) {
  const Seat& one = world.seats[a];
  const Seat& other = world.seats[b];
  if (one.node == other.node && one.uuid == other.uuid) return true;
  if (one.is_instance || other.is_instance) return false;
  if (one.fabric.is_known() && one.fabric == other.fabric) return true;
  if (one.node != other.node) return false;
  const auto says = [&](Rank who, const Seat& of) {
    const std::vector<Rank> columns = first_on_each(world.seats, of.node);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (world.seats[columns[i]].uuid == of.uuid) return world.answers[who][i];
    }
    return kApart;
  };
  return says(a, other) == kReaches && says(b, one) == kReaches;
}

TEST(GpuGroups, ArePreciselyTheTransitiveClosure) {
  const unsigned seed = 20261127;
  std::mt19937 random(seed);
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const World world = random_world(random);
    const auto ranks = static_cast<Rank>(world.seats.size());
    std::vector<std::vector<bool>> reached(ranks, std::vector<bool>(ranks));
    for (Rank a = 0; a < ranks; ++a) {
      for (Rank b = 0; b < ranks; ++b) reached[a][b] = is_edge(world, a, b);
    }
    for (Rank over = 0; over < ranks; ++over) {
      for (Rank a = 0; a < ranks; ++a) {
        for (Rank b = 0; b < ranks; ++b) {
          if (reached[a][over] && reached[over][b]) reached[a][b] = true;
        }
      }
    }
    const Classes classes = group(world.seats, world.answers).classes;
    for (Rank a = 0; a < ranks; ++a) {
      const auto lowest = std::find(reached[a].begin(), reached[a].end(), true);
      ASSERT_EQ(classes[a], static_cast<Rank>(lowest - reached[a].begin()));
    }
  }
}

}  // namespace
}  // namespace lockstep::gpu
