// Which GPU is a rank's: the user's word, then the context, then the only one, then the convention.
#include "runtime/gpu/choice.hpp"

#include <gtest/gtest.h>

namespace lockstep::gpu {
namespace {

std::vector<Device> devices(std::size_t count) {
  std::vector<Device> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i].uuid[15] = static_cast<std::uint8_t>(i + 1);
  return all;
}

struct Case {
  std::size_t seen;
  std::optional<std::uint32_t> current;
  std::uint32_t local_rank;
};

Choice chosen(std::string_view setting, const Case& one) {
  const std::vector<Device> all = devices(one.seen);
  const Result<Choice> choice = choose({setting, all, one.current, one.local_rank});
  EXPECT_TRUE(choice.ok()) << choice.status().text();
  return choice.ok() ? choice.value() : Choice{99, Rule::setting};
}

std::string refusal(std::string_view setting, std::size_t seen) {
  const std::vector<Device> all = devices(seen);
  const Result<Choice> choice = choose({setting, all, 0, 0});
  EXPECT_FALSE(choice.ok()) << setting;
  if (choice.ok()) return {};
  EXPECT_EQ(choice.status().code(), LOCKSTEP_E_INVALID);
  EXPECT_EQ(choice.status().text().find("LOCKSTEP_GPU=" + std::string(setting)), 0u);
  return choice.status().text();
}

void expect_choice(const Choice& choice, std::uint32_t ordinal, Rule rule) {
  EXPECT_EQ(choice.ordinal, ordinal);
  EXPECT_EQ(choice.rule, rule) << rule_text(choice.rule);
}

TEST(Choosing, TheSettingIsStrongerThanAnythingElse) {
  expect_choice(chosen("2", {4, 1, 3}), 2, Rule::setting);
  expect_choice(chosen("GPU-00000000-0000-0000-0000-000000000004", {4, 1, 0}), 3, Rule::setting);
}

TEST(Choosing, TheCurrentContextIsStrongerThanConventions) {
  expect_choice(chosen("auto", {4, 1, 3}), 1, Rule::context);
  expect_choice(chosen("auto", {1, 0, 3}), 0, Rule::context);
}

TEST(Choosing, TheOnlyOneIsTaken) {
  expect_choice(chosen("auto", {1, std::nullopt, 3}), 0, Rule::only_one);
}

TEST(Choosing, OtherwiseTheLocalRankCountsAndBeginsAgain) {
  expect_choice(chosen("auto", {4, std::nullopt, 3}), 3, Rule::local_rank);
  expect_choice(chosen("auto", {4, std::nullopt, 6}), 2, Rule::local_rank);
}

TEST(Choosing, AContextOfNoGpuThatIsSeenIsNone) {
  expect_choice(chosen("auto", {2, 7, 1}), 1, Rule::local_rank);
}

TEST(Choosing, WhatNamesNoGpuIsRefusedWithWhatToDo) {
  for (const char* bad : {"", "-1", "+1", "1x", " 1", "0x1", "first", "cuda:0", "None", "1,2"}) {
    EXPECT_NE(refusal(bad, 4).find("expected auto, none, an ordinal"), std::string::npos) << bad;
  }
  EXPECT_NE(refusal("4", 4).find("this process sees 4 GPUs,"), std::string::npos);
  EXPECT_NE(refusal("1", 1).find("this process sees 1 GPU,"), std::string::npos);
  EXPECT_NE(refusal("99999999999999999999", 4).find("is too much"), std::string::npos);
  EXPECT_NE(refusal("GPU-00000000-0000-0000-0000-0000000000ff", 4).find("is not among the GPUs"),
            std::string::npos);
}

TEST(Choosing, OnlyTheWordMeansNone) {
  EXPECT_TRUE(is_none("none"));
  EXPECT_FALSE(is_none("None"));
  EXPECT_FALSE(is_none(""));
}

}  // namespace
}  // namespace lockstep::gpu
