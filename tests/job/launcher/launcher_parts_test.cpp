// Tests the launcher's pure parts: placement, the joining of fences, wording, the environment.
#include "api/cli/command_error.hpp"
#include "api/cli/environment.hpp"
#include "api/cli/exchange.hpp"
#include "api/cli/placement.hpp"
#include "api/cli/report.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>

namespace lockstep::cli {
namespace {

constexpr std::int32_t kLost = -61;

Placement even(std::int64_t ranks, std::int64_t nodes) {
  return place({.ranks = ranks, .nodes = nodes, .ranks_per_node = {}, .mapping = Mapping::block});
}

std::vector<std::size_t> sizes_of(const Placement& placement) {
  std::vector<std::size_t> sizes;
  for (const auto& ranks : placement.by_node) sizes.push_back(ranks.size());
  return sizes;
}

TEST(Placement, GivesTheRemainderToTheFirstNodes) {
  EXPECT_EQ(sizes_of(even(7, 3)), (std::vector<std::size_t>{3, 2, 2}));
  EXPECT_EQ(even(7, 3).by_node[1], (std::vector<Rank>{3, 4}));
}

TEST(Placement, CyclicDealsRanksOut) {
  const Placement placement =
      place({.ranks = 7, .nodes = 3, .ranks_per_node = {}, .mapping = Mapping::cyclic});
  EXPECT_EQ(placement.by_node[0], (std::vector<Rank>{0, 3, 6}));
  EXPECT_EQ(placement.places[4].node, 1u);
  EXPECT_EQ(placement.places[4].local_rank, 1u);
}

TEST(Placement, PerNodeLimitAlonePacksNodes) {
  const Placement packed =
      place({.ranks = 5, .nodes = {}, .ranks_per_node = 2, .mapping = Mapping::block});
  EXPECT_EQ(sizes_of(packed), (std::vector<std::size_t>{2, 2, 1}));
  const Placement product =
      place({.ranks = {}, .nodes = 3, .ranks_per_node = 2, .mapping = Mapping::block});
  EXPECT_EQ(product.size(), 6u);
}

TEST(Placement, HasEachRankOnceAndNoEmptyNode) {
  for (std::int64_t ranks = 1; ranks <= 40; ++ranks) {
    for (std::int64_t nodes = 1; nodes <= ranks; ++nodes) {
      for (const Mapping mapping : {Mapping::block, Mapping::cyclic}) {
        const Placement placement =
            place({.ranks = ranks, .nodes = nodes, .ranks_per_node = {}, .mapping = mapping});
        std::set<Rank> seen;
        for (const auto& local : placement.by_node) {
          EXPECT_FALSE(local.empty());
          EXPECT_TRUE(std::is_sorted(local.begin(), local.end()));
          seen.insert(local.begin(), local.end());
        }
        ASSERT_EQ(seen.size(), static_cast<std::size_t>(ranks));
        ASSERT_EQ(*seen.rbegin(), static_cast<Rank>(ranks - 1));
      }
    }
  }
}

TEST(Placement, RefusesWhatDoesNotFit) {
  const auto refuses = [](std::optional<std::int64_t> ranks, std::optional<std::int64_t> nodes,
                          std::optional<std::int64_t> per_node) {
    EXPECT_THROW(static_cast<void>(place({.ranks = ranks,
                                          .nodes = nodes,
                                          .ranks_per_node = per_node,
                                          .mapping = Mapping::block})),
                 CommandError);
  };
  refuses(0, {}, {});
  refuses(kRanksMax + 1, {}, {});
  refuses(2, 3, {});
  refuses(5, 2, 2);
  refuses({}, 3, {});
  refuses({}, 256, 4096);
  refuses(4096, {}, 1);
}

TEST(Binding, WrapsRound) {
  const std::vector<CpuList> units = {{0, 4}, {1, 5}};
  const std::vector<CpuList> cpus = bind_in_turn(units, 3);
  EXPECT_EQ(cpus[1], units[1]);
  EXPECT_EQ(cpus[2], units[0]);
  EXPECT_TRUE(bind_in_turn({}, 2)[1].empty());
}

Message part(std::vector<Rank> ranks, std::uint64_t id, const std::string& bytes) {
  return {.kind = MessageKind::fence, .id = id, .ranks = std::move(ranks), .bytes = bytes};
}

TEST(Exchange, FenceAnswersAllNodesOnlyWhenTheLastHasCome) {
  const Placement placement = even(6, 3);
  Exchange exchange(placement, kLost);
  EXPECT_TRUE(exchange.on_fence(2, part({}, 7, "c")).empty());
  EXPECT_TRUE(exchange.on_fence(0, part({}, 5, "a")).empty());
  const std::vector<Outgoing> answers = exchange.on_fence(1, part({}, 6, "b"));
  ASSERT_EQ(answers.size(), 3u);
  for (NodeIndex node = 0; node < 3; ++node) {
    EXPECT_EQ(answers[node].node, node);
    EXPECT_EQ(answers[node].message.id, 5u + node);
    EXPECT_EQ(answers[node].message.bytes, "abc");
    EXPECT_EQ(answers[node].message.value, 0);
  }
}

TEST(Exchange, SetsAreKnownByTheirMembersInAnyOrder) {
  const Placement placement = even(6, 3);
  Exchange exchange(placement, kLost);
  EXPECT_TRUE(exchange.on_fence(0, part({4, 0}, 1, "")).empty());
  EXPECT_TRUE(exchange.on_fence(0, part({0, 2}, 2, "")).empty());
  EXPECT_EQ(exchange.on_fence(2, part({0, 4}, 3, "")).size(), 2u);
  EXPECT_EQ(exchange.on_fence(1, part({2, 0}, 4, "")).size(), 2u);
}

TEST(Exchange, FastNodeMayComeTwice) {
  const Placement placement = even(2, 2);
  Exchange exchange(placement, kLost);
  EXPECT_TRUE(exchange.on_fence(0, part({}, 1, "x")).empty());
  EXPECT_TRUE(exchange.on_fence(0, part({}, 2, "y")).empty());
  const std::vector<Outgoing> first = exchange.on_fence(1, part({}, 3, "z"));
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].message.id, 1u);
  EXPECT_EQ(first[0].message.bytes, "xz");
  EXPECT_EQ(exchange.on_fence(1, part({}, 4, "w")).size(), 2u);
}

// Whatever the order in which parts come and nodes die, each part is answered exactly once.
TEST(Exchange, EveryPartIsAnsweredOnceWhateverDies) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const Placement placement = even(8, 4);
    Exchange exchange(placement, kLost);
    std::vector<NodeIndex> order = {0, 1, 2, 3};
    std::shuffle(order.begin(), order.end(), random);
    std::multiset<std::uint64_t> answered;
    const auto note = [&](const std::vector<Outgoing>& answers) {
      for (const Outgoing& one : answers) {
        answered.insert(one.message.id);
        EXPECT_EQ(one.message.value, kLost);
      }
    };
    note(exchange.on_fence(order[0], part({}, 10, "")));
    note(exchange.on_fence(order[1], part({}, 11, "")));
    EXPECT_TRUE(answered.empty());
    note(exchange.server_gone(order[2]));
    EXPECT_TRUE(answered.empty());
    for (const Rank rank : placement.by_node[order[3]]) note(exchange.rank_gone(rank));
    EXPECT_EQ(answered, (std::multiset<std::uint64_t>{10, 11}));
  }
}

TEST(Exchange, ModexGoesToTheOwnerAndBack) {
  const Placement placement = even(4, 2);
  Exchange exchange(placement, kLost);
  const auto asked = exchange.on_modex(0, {.kind = MessageKind::modex, .rank = 3, .id = 9});
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].node, 1u);
  const auto answer = exchange.on_modex_answer(
      {.kind = MessageKind::modex_answer, .id = asked[0].message.id, .bytes = "data"});
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].node, 0u);
  EXPECT_EQ(answer[0].message.id, 9u);
  EXPECT_EQ(answer[0].message.bytes, "data");
}

TEST(Exchange, ModexOfTheGoneIsRefused) {
  const Placement placement = even(4, 2);
  Exchange exchange(placement, kLost);
  EXPECT_EQ(exchange.on_modex(0, {.kind = MessageKind::modex, .rank = 3, .id = 9})[0].node, 1u);
  const auto refused = exchange.server_gone(1);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].node, 0u);
  EXPECT_EQ(refused[0].message.value, kLost);
  const auto again = exchange.on_modex(0, {.kind = MessageKind::modex, .rank = 2, .id = 10});
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].message.kind, MessageKind::modex_answer);
}

TEST(Channel, CarriesMessagesOfAnySizeInOrder) {
  ChannelPair pair = make_channel_pair();
  Channel a(std::move(pair.launcher));
  Channel b(std::move(pair.server));
  const std::string large(3'000'000, 'x');
  a.send({.kind = MessageKind::fence, .rank = 1, .value = -5, .id = 7, .ranks = {1, 2, 3}});
  a.send({.kind = MessageKind::rank_output, .bytes = large});
  std::vector<Message> got;
  while (got.size() < 2) {
    a.flush();
    for (Message& message : b.receive()) got.push_back(std::move(message));
  }
  EXPECT_EQ(got[0].ranks, (std::vector<Rank>{1, 2, 3}));
  EXPECT_EQ(got[0].value, -5);
  EXPECT_EQ(got[1].bytes, large);
}

TEST(Channel, WhatWasSentBeforeTheEndStillArrives) {
  ChannelPair pair = make_channel_pair();
  Channel b(std::move(pair.server));
  {
    Channel a(std::move(pair.launcher));
    a.send({.kind = MessageKind::finish});
  }
  EXPECT_EQ(b.receive().size(), 1u);
  EXPECT_FALSE(b.is_open());
}

TEST(Report, NamesFateOfTheOthers) {
  EXPECT_EQ(fate_text({.count = 0, .keep_going = false}), "");
  EXPECT_EQ(fate_text({.count = 1, .keep_going = true}), "; the other rank runs on");
  EXPECT_EQ(exit_code_of_abort(0), 1);
  EXPECT_EQ(exit_code_of_abort(-1), 1);
  EXPECT_EQ(exit_code_of_abort(300), 1);
  EXPECT_EQ(exit_code_of_abort(42), 42);
}

TEST(Report, LongListsAreCut) {
  const std::vector<RankName> names(20, RankName{.rank = 1, .node = 0, .pid = 2});
  EXPECT_NE(names_text(names).find(" and 4 more"), std::string::npos);
}

TEST(EnvironmentValue, SetReplacesAndFindIsExact) {
  const std::array<const char*, 3> entries = {"A=1", "AB=2", nullptr};
  Environment environment(entries.data());
  environment.set("A=3=4");
  EXPECT_EQ(environment.find("A"), "3=4");
  EXPECT_EQ(environment.find("AB"), "2");
  EXPECT_EQ(environment.find("B"), std::nullopt);
  EXPECT_EQ(environment.entries().size(), 2u);
}

}  // namespace
TEST(Switches, AreSpreadOverInOrder) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(spread_over_switches("1", 3), (Names{"s0", "s0", "s0"}));
  EXPECT_EQ(spread_over_switches("2", 5), (Names{"s0", "s0", "s0", "s1", "s1"}));
  EXPECT_EQ(spread_over_switches("3,1", 4), (Names{"s0", "s0", "s0", "s1"}));
  for (const char* const text :
       {"", "0", "-1", "x", "2x", "3", "1,", ",1", "1,,1", "2,1", "1,0,1"}) {
    EXPECT_THROW((void)spread_over_switches(text, 2), CommandError) << text;
  }
}

}  // namespace lockstep::cli
