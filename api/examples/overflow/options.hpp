// What the user can ask of the example.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace overflow {

/// Whose gradients are made infinite, and when.
struct Poison {
  std::uint32_t rank;
  std::uint64_t step;
};

struct Options {
  std::filesystem::path data = "/usr/share/dict/words";
  std::filesystem::path store = "overflow.checkpoints";
  std::uint64_t steps = 2000;
  std::uint32_t batch = 512;
  std::uint32_t hidden = 128;
  float rate = 0.5F;
  std::uint64_t seed = 1;
  std::optional<Poison> poison;
};

struct CommandLine {
  Options options;
  std::string help;  ///< not empty: it was asked for, and nothing else
};

/// Throws what is wrong with it.
CommandLine parse(int argc, char** argv);

}  // namespace overflow
