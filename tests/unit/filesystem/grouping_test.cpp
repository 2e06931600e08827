// Who is grouped with whom, for what members may say and find.
#include "runtime/filesystem/grouping.hpp"

#include <gtest/gtest.h>

namespace {

using namespace lockstep;
using namespace lockstep::filesystem;

Facts facts(std::uint64_t mount, std::uint64_t folder, std::uint64_t likeness = 0) {
  return {mount, folder, likeness, 0, 0};
}

TEST(Grouping, ViewsAreOfOneNodeMountAndFolder) {
  const std::vector<Facts> all = {facts(1, 2), facts(1, 2), facts(1, 3), facts(2, 2), facts(1, 2)};
  EXPECT_EQ(same_views(all, std::vector<NodeIndex>{0, 0, 0, 0, 0}), (Classes{0, 0, 2, 3, 0}));
  EXPECT_EQ(same_views(all, std::vector<NodeIndex>{0, 0, 0, 0, 1}), (Classes{0, 0, 2, 3, 4}))
      << "equal numbers on two nodes prove nothing";
}

TEST(Grouping, WhoeverReadsANameIsWithTheOneWhoWroteIt) {
  const std::vector<Facts> all(6, facts(1, 1, 9));
  const Classes views = {0, 0, 2, 3, 4, 4};
  // 3 has made the name that 0 and 2 have read; 4 its own.
  EXPECT_EQ(same_files(all, views, std::vector<Rank>{3, kNoRank, 3, 3, 4, kNoRank}),
            (Classes{0, 0, 0, 0, 4, 4}));
}

TEST(Grouping, TheProbeDecidesWhateverTheFactsSay) {
  const std::vector<Facts> alike(3, facts(1, 1, 9));
  EXPECT_EQ(same_files(alike, Classes{0, 1, 2}, std::vector<Rank>{0, 1, 2}), (Classes{0, 1, 2}));
  const std::vector<Facts> unlike = {facts(1, 1, 7), facts(2, 2, 8), facts(3, 3, 9)};
  EXPECT_EQ(same_files(unlike, Classes{0, 1, 2}, std::vector<Rank>{1, 1, 1}), (Classes{0, 0, 0}));
}

TEST(Grouping, ExclusiveNamesThatAreNotExclusiveStillJoin) {
  // Two made "the" name, and the later one's is what all read in the end, one of them too early.
  const std::vector<Facts> all(3, facts(1, 1, 9));
  EXPECT_EQ(same_files(all, Classes{0, 1, 2}, std::vector<Rank>{0, 1, 0}), (Classes{0, 1, 0}));
  EXPECT_EQ(same_files(all, Classes{0, 1, 2}, std::vector<Rank>{1, 1, 0}), (Classes{0, 0, 0}));
}

TEST(Grouping, WhereNothingCanBeWrittenLikenessDecidesAmongThose) {
  const std::vector<Facts> all = {facts(1, 1, 7), facts(1, 1, 7), facts(1, 1, 8), facts(1, 1, 7)};
  const Classes alone = {0, 1, 2, 3};
  EXPECT_EQ(same_files(all, alone, std::vector<Rank>(4, kNoRank)), (Classes{0, 0, 2, 0}));
  EXPECT_EQ(same_files(all, alone, std::vector<Rank>{0, kNoRank, kNoRank, kNoRank}),
            (Classes{0, 1, 2, 1}))
      << "who has written was not found by those who could not";
  EXPECT_EQ(same_files(all, alone, std::vector<Rank>{0, 0, kNoRank, kNoRank}),
            (Classes{0, 0, 2, 3}))
      << "read-only here, writable there";
}

TEST(Grouping, TheLowestNamesTheClassInWhateverOrderTheyJoin) {
  const std::vector<Facts> all(7, facts(1, 1, 9));
  EXPECT_EQ(same_files(all, Classes{0, 1, 2, 3, 4, 5, 6}, std::vector<Rank>{6, 5, 5, 6, 3, 5, 6}),
            (Classes{0, 1, 1, 0, 0, 1, 0}));
  EXPECT_EQ(count(Classes{0, 1, 1, 0, 0, 1, 0}), 2u);
  EXPECT_EQ(count(Classes{}), 0u);
}

TEST(Grouping, ThoseWhoLackMoreThanOthersAreNamed) {
  std::vector<Facts> all(3, facts(1, 1));
  EXPECT_EQ(lacking(all), std::vector<Rank>{});
  for (Facts& one : all) one.missing = 2;
  EXPECT_EQ(lacking(all), std::vector<Rank>{}) << "all lack the same";
  all[1].missing = 1;
  EXPECT_EQ(lacking(all), (std::vector<Rank>{0, 2}));
}

TEST(Grouping, AnAnswerHoldsForOtherFoldersOfTheSameMounts) {
  // Two nodes, a disk of its own each; asked at the roots, which have the same number.
  const Known disks{{facts(1, 2, 70), facts(1, 2, 70), facts(5, 2, 80)}, {0, 0, 2}};
  EXPECT_TRUE(holds_for(disks, disks.facts));
  EXPECT_TRUE(holds_for(disks, std::vector{facts(1, 9, 71), facts(1, 9, 71), facts(5, 3, 81)}));
  EXPECT_FALSE(holds_for(disks, std::vector{facts(1, 9, 71), facts(1, 8, 72), facts(5, 3, 81)}))
      << "links lead to two folders of one disk";
  EXPECT_FALSE(holds_for(disks, std::vector{facts(1, 9, 71), facts(1, 9, 71), facts(6, 3, 81)}))
      << "mounted anew";
  EXPECT_FALSE(holds_for(disks, std::vector{facts(1, 2, 70)}));
}

TEST(Grouping, AnAnswerAboutDifferentFoldersSaysNothingOfTheirMounts) {
  // One file system for all; links led to a folder for each.
  const Known links{{facts(1, 2, 70), facts(1, 3, 71)}, {0, 1}};
  EXPECT_TRUE(holds_for(links, links.facts));
  EXPECT_FALSE(holds_for(links, std::vector{facts(1, 9, 75), facts(1, 9, 75)}));
}

}  // namespace
