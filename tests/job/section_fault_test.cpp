// Sections whose first throws, exits, is killed or stopped: every follower sees the right end.
// LOCKSTEP_SOAK=N in the environment: all shapes, and N times as many random deaths.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <regex>
#include <sstream>
#include <vector>

#include "tests/support/command.hpp"

namespace {

using lockstep::test::Finished;
using lockstep::test::run;

struct Shape {
  int ranks;
  int nodes;
};

std::string job(Shape shape, const std::string& arguments, const std::string& options = "") {
  return "LOCKSTEP_GRACE=1s " LOCKSTEP_CLI " run -n " + std::to_string(shape.ranks) + " --nodes " +
         std::to_string(shape.nodes) + " --keep-going " + options + " " SECTION_JOB " " + arguments;
}

int soak() {
  const char* const text = std::getenv("LOCKSTEP_SOAK");
  return text != nullptr ? std::max(static_cast<int>(std::strtol(text, nullptr, 10)), 1) : 1;
}

/// What the ranks of the group of rank 0, and those of the others, have printed.
struct Told {
  std::vector<std::string> here;
  std::vector<std::string> elsewhere;
};

Told read(const Finished& finished) {
  Told told;
  const std::regex form("rank \\d+ \\((\\d+)\\): (.*)");
  std::istringstream stream(finished.output);
  for (std::string line; std::getline(stream, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, form)) continue;
    (match[1] == "0" ? told.here : told.elsewhere).push_back(match[2]);
  }
  return told;
}

std::size_t group_size(Shape shape, const std::string& scope) {
  const auto ranks = static_cast<std::size_t>(shape.ranks);
  const auto nodes = static_cast<std::size_t>(shape.nodes);
  if (scope == "job") return ranks;
  return scope == "node" ? (ranks + nodes - 1) / nodes : (ranks + 1) / 2;
}

void expect_all(const std::vector<std::string>& lines, std::size_t count, const std::string& form,
                const Finished& finished) {
  std::size_t matching = 0;
  for (const std::string& line : lines) {
    if (std::regex_search(line, std::regex("^" + form))) ++matching;
  }
  EXPECT_EQ(matching, count) << form << "\n" << finished.output;
  EXPECT_EQ(lines.size(), count) << finished.output;
}

struct Deed {
  const char* name;
  bool is_death;
  /// What the others see under propagate, and with the kind of the outcome under continue_on_error.
  const char* error;
  const char* kind;
};
constexpr Deed kDeeds[] = {
    {"throws", false, "first failed, failed by 0 on n0, 1 tried, std::runtime_error: no such",
     "failed"},
    {"exits", true, "lost, dead by 0 on n0, 1 tried", "dead"},
    {"dies_at_entry", true, "lost, dead by 0 on n0, 1 tried", "dead"},
    {"dies_inside", true, "lost, dead by 0 on n0, 1 tried", "dead"},
};

/// The first of one group does it; the others of that group see what the policy says, and the other
/// groups nothing.
void expect_policies(Shape shape, const std::string& scope, const Deed& deed) {
  const std::size_t others = group_size(shape, scope) - 1;
  const std::size_t elsewhere = static_cast<std::size_t>(shape.ranks) - others - 1;
  const std::map<std::string, std::string> expected = {
      {"propagate", deed.error},
      {"retry_next", "went on, ok by [0-9]+ on n[0-9]+, 2 tried"},
      {"continue_on_error", std::string("went on, ") + deed.kind + " by 0 on n0, 1 tried"},
  };
  for (const auto& [policy, form] : expected) {
    SCOPED_TRACE(policy);
    const Finished finished = run(job(shape, scope + " " + policy + " " + deed.name + " 1"));
    Told told = read(finished);
    std::erase(told.here, "threw");
    expect_all(told.here, others, form, finished);
    expect_all(told.elsewhere, elsewhere, "went on, ok by", finished);
  }
}

void expect_abort(Shape shape, const std::string& scope, const Deed& deed) {
  const Finished finished = run(job(shape, scope + " abort_job " + deed.name + " 1"));
  Told told = read(finished);
  EXPECT_TRUE(told.here.empty()) << finished.output;
  const std::string says = "ends this process, as its policy asks for";
  const std::size_t those = group_size(shape, scope) - (deed.is_death ? 1 : 0);
  EXPECT_EQ(lockstep::test::count(finished.output, says), those) << finished.output;
  EXPECT_EQ(lockstep::test::count(finished.output, "exited with code 70"), those)
      << finished.output;
}

class Section : public testing::TestWithParam<Deed> {};
INSTANTIATE_TEST_SUITE_P(Deeds, Section, testing::ValuesIn(kDeeds),
                         [](const auto& the) { return the.param.name; });

TEST_P(Section, OfTheJobEndsAsItsPolicySays) {
  expect_policies({8, 4}, "job", GetParam());
}
TEST_P(Section, OfANodeEndsAsItsPolicySays) {
  expect_policies({8, 2}, "node", GetParam());
}
TEST_P(Section, OfASplitGroupEndsAsItsPolicySays) {
  expect_policies({6, 3}, "odd", GetParam());
}
TEST_P(Section, OfTwoRanksEndsAsItsPolicySays) {
  expect_policies({2, 2}, "job", GetParam());
}
TEST_P(Section, AbortsTheJob) {
  expect_abort({8, 4}, "job", GetParam());
  expect_abort({4, 1}, "node", GetParam());
}

TEST(SectionOfManyRanks, EndsAsItsPolicySays) {
  expect_policies({32, 4}, "job", kDeeds[3]);
}

TEST(SectionMatrix, EveryDeedInEveryScopeEndsAsItsPolicySays) {
  if (soak() == 1) GTEST_SKIP() << "all shapes take minutes: LOCKSTEP_SOAK=2";
  for (const Shape shape : {Shape{2, 1}, Shape{2, 2}, Shape{8, 4}, Shape{32, 4}}) {
    for (const std::string scope : {"job", "node", "odd"}) {
      for (const Deed& deed : kDeeds) {
        SCOPED_TRACE(std::to_string(shape.ranks) + " ranks, " + scope + ", " + deed.name);
        expect_policies(shape, scope, deed);
        expect_abort(shape, scope, deed);
      }
    }
  }
}

/// Firsts die one after the other, also the last one of a node, and the one that decides.
TEST(SectionRetries, GoOnUntilOneSucceeds) {
  for (const int bad : {3, 7}) {
    SCOPED_TRACE(bad);
    const Finished finished =
        run(job({8, 4}, "job retry_next dies_inside " + std::to_string(bad)), 120);
    expect_all(read(finished).here, static_cast<std::size_t>(8 - bad),
               "went on, ok by " + std::to_string(bad) + " on n" + std::to_string(bad / 2) + ", " +
                   std::to_string(bad + 1) + " tried",
               finished);
  }
}

TEST(SectionRetries, EndWithTheLastErrorIfNobodySucceeds) {
  const Finished finished = run(job({4, 2}, "job retry_next throws 4"));
  Told told = read(finished);
  EXPECT_EQ(std::erase(told.here, "threw"), 4u) << finished.output;
}

/// A first that is stopped for longer than others take to look after it is waited for.
TEST(SectionStops, AreWaitedFor) {
  for (const std::string policy : {"propagate", "retry_next"}) {
    const Finished finished = run(job({8, 4}, "job " + policy + " stops 1"));
    expect_all(read(finished).here, 8, "went on, ok by 0 on n0, 1 tried", finished);
  }
}

/// Killed at random moments around its end: whatever the survivors see, they see the same, and
/// under retry_next one success.
TEST(SectionDeaths, WhilePublishingLeaveOneOutcome) {
  for (int seed = 1; seed <= 8 * soak(); ++seed) {
    for (const std::string policy : {"propagate", "retry_next"}) {
      const Shape shape = seed % 3 == 0 ? Shape{6, 1} : Shape{6, 3};
      const Finished finished =
          run(job(shape, "job " + policy + " dies_publishing 2 " + std::to_string(seed * 7)));
      const Told told = read(finished);
      ASSERT_FALSE(told.here.empty()) << finished.output;
      for (const std::string& line : told.here) {
        EXPECT_EQ(line, told.here.front()) << finished.output;
      }
      if (policy == "retry_next") {
        EXPECT_EQ(told.here.front().rfind("went on, ok by", 0), 0u) << finished.output;
      }
    }
  }
}

}  // namespace
