// Nothing that a terminal would obey, or that is not text, gets through.
#include "runtime/base/clean_text.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lockstep {
namespace {

TEST(CleanText, TextStaysAsItIs) {
  for (const char* const text : {"", "train.cpp:56 wait_for_everyone 'epoch end'", "Zürich €3 😀"}) {
    EXPECT_EQ(clean_text(text, 100), text);
  }
}

TEST(CleanText, ControlCharactersAreShownAsQuestionMarks) {
  EXPECT_EQ(clean_text("a\033[2Jb\r\n\tc\x7f", 100), "a?[2Jb???c?");
  EXPECT_EQ(clean_text("a\xc2\x9b"
                       "2J",
                       100),
            "a?2J")
      << "the one-character form of the same command";
}

TEST(CleanText, WhatIsNotUtf8IsShownAsQuestionMarks) {
  EXPECT_EQ(clean_text("a\xff\xc3", 100), "a??");
  EXPECT_EQ(clean_text("\xe2\x82", 100), "??");
  EXPECT_EQ(clean_text("\xc0\xaf", 100), "??") << "overlong";
  EXPECT_EQ(clean_text("\xed\xa0\x80", 100), "???") << "half of a pair";
  EXPECT_EQ(clean_text("\xf4\x90\x80\x80", 100), "????") << "beyond Unicode";
}

TEST(CleanText, EndsAtANulOrWhereItIsTooLongBetweenCharacters) {
  EXPECT_EQ(clean_text(std::string_view("ab\0cd", 5), 100), "ab");
  EXPECT_EQ(clean_text("aü", 2), "a");
  EXPECT_EQ(clean_text("abc", 2), "ab");
}

TEST(CleanText, RandomBytesBecomeCleanText) {
  std::mt19937 random(1);
  for (int turn = 0; turn < 2000; ++turn) {
    std::string bytes(random() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const std::string clean = clean_text(bytes, 150);
    ASSERT_LE(clean.size(), 150u);
    EXPECT_EQ(clean_text(clean, 150), clean);
    for (const char c : clean) ASSERT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
  }
}

}  // namespace
}  // namespace lockstep
