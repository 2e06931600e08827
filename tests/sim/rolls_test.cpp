// The roll is called while ranks die, come late or stand still: all that are left are told the
// same, those who came are in it, and nobody waits for ever. Method: random jobs on random
// networks, thousands of seeds.
#include <gtest/gtest.h>

#include "tests/sim/roll_cluster.hpp"
#include "tests/sim/seeds.hpp"

namespace lockstep::sim {
namespace {

RollScenario random_rolls(Random& random) {
  RollScenario scenario;
  scenario.nodes = 1 + random.below(random.below(4) == 0 ? 10 : 4);
  scenario.ranks_per_node = 1 + random.below(4);
  scenario.time = random.between(0, random.below(2) == 0 ? kMillisecond : 100 * kMillisecond);
  scenario.weather.latency_max = random.between(kMicrosecond, 2 * kMillisecond);
  scenario.weather.slow_ppm = random.below(2) * random.below(200'000);
  scenario.weather.slow = random.between(0, 50 * kMillisecond);
  scenario.weather.repeat_ppm = random.below(2) * 100'000;
  for (NodeIndex node = 0; node < scenario.nodes; ++node) {
    if (random.below(8) == 0) scenario.unknown.insert(node);
  }
  return scenario;
}

/// Speakers more often than others.
Rank random_victim(const RollScenario& scenario, Random& random) {
  return random.below(2) == 0 ? random.below(scenario.size())
                              : random.below(scenario.nodes) * scenario.ranks_per_node;
}

/// At some moment before, amid and after, or in the middle of a word.
void add_death(RollScenario& scenario, Random& random) {
  const Rank rank = random_victim(scenario, random);
  if (random.below(2) == 0) {
    scenario.last_words[rank] = 1 + random.below(6);
  } else {
    scenario.deaths[rank] =
        random.between(0, scenario.time + random.below(4) * 20 * kMillisecond + 2 * kMillisecond);
  }
}

void add_latecomers(RollScenario& scenario, Random& random) {
  for (std::uint32_t i = 1 + random.below(3); i > 0; --i) {
    const Rank rank = random_victim(scenario, random);
    const Nanos about = random.between(-50 * kMillisecond, scenario.time + 50 * kMillisecond);
    const Nanos any = random.between(0, scenario.deadline + 7 * scenario.grace);
    scenario.late[rank] =
        random.below(2) == 0 ? scenario.deadline + about : (random.below(2) == 0 ? any : kNever);
  }
}

void expect_sound(const RollScenario& scenario, std::uint64_t seed) {
  RollCluster cluster(scenario, seed);
  cluster.run();
  const std::vector<std::string> wrongs = cluster.wrongs();
  for (const std::string& wrong : wrongs) ADD_FAILURE() << wrong;
  if (!wrongs.empty()) ADD_FAILURE() << scenario.text() << "\n" << cluster.text();
}

TEST(SimRolls, AllWhoLiveAreThereSoon) {
  for_seeds(3'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    scenario.calls = 1 + random.below(3);
    expect_sound(scenario, seed);
  });
}

TEST(SimRolls, WhoeverDiesAllWhoLiveAreThere) {
  for_seeds(5'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    add_death(scenario, random);
    expect_sound(scenario, seed);
  });
}

/// The one who coordinates then does not know who has heard of the call before.
TEST(SimRolls, WhoeverDiesLaterCallsEndAsWell) {
  for_seeds(5'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    scenario.calls = 2 + random.below(2);
    const Rank rank = random_victim(scenario, random);
    scenario.deaths[rank] = random.between(0, scenario.calls * scenario.time + 20 * kMillisecond);
    expect_sound(scenario, seed);
  });
}

/// A node that nobody is left on costs the time limit, and no more.
TEST(SimRolls, AWholeNodeMayDieBetweenTwoCalls) {
  for_seeds(500, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    scenario.calls = 2;
    scenario.nodes = 2 + random.below(3);
    scenario.unknown.clear();
    const NodeIndex node = random.below(scenario.nodes);
    for (std::uint32_t i = 0; i < scenario.ranks_per_node; ++i) {
      scenario.deaths[node * scenario.ranks_per_node + i] = kSecond;
    }
    scenario.pause = 2 * kSecond;
    expect_sound(scenario, seed);
  });
}

TEST(SimRolls, HoweverManyDieTheOthersAreToldTheSame) {
  for_seeds(5'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    const std::uint32_t deaths = 1 + random.below(scenario.size());
    for (std::uint32_t i = 0; i < deaths; ++i) add_death(scenario, random);
    for (Rank rank = 0; rank < scenario.size(); ++rank) {
      if (random.below(8) == 0) scenario.on_duty.insert(rank);
    }
    expect_sound(scenario, seed);
  });
}

/// Who comes after all, just when the others cease to wait, or never.
TEST(SimRolls, WhoeverComesTooLateIsLeftOutByAll) {
  for_seeds(2'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    add_latecomers(scenario, random);
    expect_sound(scenario, seed);
  });
}

TEST(SimRolls, SomeComeTooLateAndSomeDie) {
  for_seeds(2'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    add_latecomers(scenario, random);
    for (std::uint32_t i = 1 + random.below(2); i > 0; --i) add_death(scenario, random);
    for (auto& [rank, time] : scenario.deaths) time += random.below(2) * scenario.deadline;
    expect_sound(scenario, seed);
  });
}

/// Whatever they hear when they go on again, they take no other decision than the rest.
TEST(SimRolls, WhoeverStandsStillIsNotWaitedForLongerThanAllowed) {
  for_seeds(2'000, [](std::uint64_t seed) {
    Random random(seed);
    RollScenario scenario = random_rolls(random);
    for (std::uint32_t i = 1 + random.below(2); i > 0; --i) {
      const Rank rank = random_victim(scenario, random);
      const Nanos since =
          random.between(0, scenario.time + 5 * kMillisecond) + random.below(2) * scenario.deadline;
      const Nanos length = random.between(0, scenario.deadline + 7 * scenario.grace);
      scenario.still[rank] = {since, random.below(3) == 0 ? kNever : since + length};
    }
    expect_sound(scenario, seed);
  });
}

}  // namespace
}  // namespace lockstep::sim
