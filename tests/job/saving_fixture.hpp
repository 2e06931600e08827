// A folder that all ranks of a job share, for the tests of saving.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

class SavingFixture : public testing::Test {
 protected:
  void SetUp() override {
    std::string name;
    if (s.is_main_process()) {
      std::string pattern =
          (std::filesystem::temp_directory_path() / "lockstep-saving-XXXXXX").string();
      name = mkdtemp(pattern.data());
    }
    folder = s.job().broadcast(name);
  }
  void TearDown() override {
    s.wait_for_everyone({.name = "files are done with"});
    if (s.is_main_process()) std::filesystem::remove_all(folder);
  }

  /// A rank's part of a step: unlike any other's, and of any length.
  static std::string part_of(std::uint32_t rank, std::uint64_t step) {
    std::string text = "rank " + std::to_string(rank) + " at " + std::to_string(step) + ' ';
    return text + std::string(rank * 1000 + step % 7, static_cast<char>('a' + step % 26));
  }
  static std::string text_of(const std::filesystem::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::string text_of(std::istream& in) { return {std::istreambuf_iterator<char>(in), {}}; }

  /// What is there below the folder, once everybody is done.
  std::size_t entries() {
    s.wait_for_everyone({.name = "all are done"});
    std::size_t found = 0;
    if (s.is_main_process()) {
      found = static_cast<std::size_t>(
          std::distance(std::filesystem::recursive_directory_iterator(folder), {}));
    }
    return s.job().broadcast_value(found);
  }
  /// Everybody has thrown the same text.
  void expect_common(const std::string& text) {
    EXPECT_EQ(text, s.job().broadcast(text));
    EXPECT_FALSE(text.empty());
  }

  lockstep::Session& s = the_session();
  std::filesystem::path folder;
};
