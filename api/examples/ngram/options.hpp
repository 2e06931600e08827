// What the user can ask of the example.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace ngram {

struct Options {
  std::filesystem::path data;
  std::filesystem::path cache;       ///< shared by all nodes
  std::filesystem::path node_cache;  ///< each node's own, or one that nodes share
  std::filesystem::path output = "ngram.model";
  std::filesystem::path checkpoint;  ///< empty: a run that is asked to stop is not to go on later
  std::uint32_t order = 5;
  std::uint64_t steps = 20;
  std::uint64_t patience = 2;
  double min_gain = 2.0;  ///< per cent; a step that gains less counts against the patience
  bool stop_early = true;
  bool keep_cache = false;
  bool quiet = false;
  std::uint64_t seed = 1;
  std::uint64_t pause_ms = 0;
};

struct CommandLine {
  Options options;
  std::string help;  ///< not empty: it was asked for, and nothing else
};

/// Throws what is wrong with it.
CommandLine parse(int argc, char** argv);

}  // namespace ngram
