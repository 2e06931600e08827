// Names and rules of triggers: what is allowed, and how they are put into words.
#include "runtime/trigger/rules.hpp"

#include <gtest/gtest.h>

#include <string>

namespace lockstep::trigger {
namespace {

TEST(Rules, AreSaidInAFewWords) {
  EXPECT_EQ(Rules{}.text(), "any, or");
  EXPECT_EQ((Rules{.policy = Policy::all, .combine = Combine::sum}).text(), "all, sum");
  EXPECT_EQ((Rules{.policy = Policy::quorum, .combine = Combine::max, .quorum = 3}).text(),
            "quorum of 3, max");
  EXPECT_EQ((Rules{.policy = Policy::node_leaders, .combine = Combine::first}).text(),
            "node leaders, first");
}

TEST(Rules, AQuorumIsOneOfTheGroupToAll) {
  for (const std::uint32_t quorum : {1u, 4u, 8u}) {
    EXPECT_TRUE(check_rules({.policy = Policy::quorum, .quorum = quorum}, 8).ok());
  }
  for (const std::uint32_t quorum : {0u, 9u}) {
    const Status status = check_rules({.policy = Policy::quorum, .quorum = quorum}, 8);
    EXPECT_TRUE(status.is(LOCKSTEP_E_INVALID));
    EXPECT_NE(status.text().find("1 to 8 members"), std::string::npos) << status.text();
  }
  EXPECT_TRUE(check_rules({.policy = Policy{9}}, 8).is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(check_rules({.combine = Combine{9}}, 8).is(LOCKSTEP_E_INVALID));
}

TEST(Rules, AFractionIsRoundedUpAndSurvivesBinary) {
  EXPECT_EQ(members_of(0.5, 5), 3u);
  EXPECT_EQ(members_of(0.5, 8), 4u);
  EXPECT_EQ(members_of(1.0, 8), 8u);
  EXPECT_EQ(members_of(1e-12, 8), 1u);
  for (std::uint32_t size = 1; size <= 2000; ++size) {
    for (std::uint32_t part = 1; part <= size; part += 7) {
      EXPECT_EQ(members_of(static_cast<double>(part) / size, size), part) << part << "/" << size;
    }
  }
  EXPECT_EQ(members_of(0.07, 100), 7u);
  EXPECT_EQ(members_of(0.29, 100), 29u);
}

TEST(Rules, NamesAreTextThatCanBePrinted) {
  EXPECT_TRUE(check_name("stop").ok());
  EXPECT_TRUE(check_name("größe 12 – nach Schritt").ok());
  EXPECT_TRUE(check_name(std::string(kNameMax, 'x')).ok());
  EXPECT_TRUE(check_name("").is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(check_name(std::string(kNameMax + 1, 'x')).is(LOCKSTEP_E_INVALID));
  for (const std::string bad : {"a\nb", "\xff", "tab\t", "\x1b[2J"}) {
    EXPECT_TRUE(check_name(bad).is(LOCKSTEP_E_INVALID)) << bad;
  }
  EXPECT_TRUE(check_name(std::string("a\0b", 3)).is(LOCKSTEP_E_INVALID));
}

TEST(Rules, ValuesAreCombined) {
  EXPECT_EQ(combined(Combine::bit_or, 5, 2), 7u);
  EXPECT_EQ(combined(Combine::max, 5, 2), 5u);
  EXPECT_EQ(combined(Combine::min, 5, 2), 2u);
  EXPECT_EQ(combined(Combine::sum, 5, 2), 7u);
  EXPECT_EQ(combined(Combine::sum, UINT64_MAX, 2), 1u) << "it wraps";
  EXPECT_EQ(combined(Combine::first, 5, 2), 5u);
}

}  // namespace
}  // namespace lockstep::trigger
