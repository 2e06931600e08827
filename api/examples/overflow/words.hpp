// What is learnt: of each letter of each word, and of its end, what comes before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace overflow {

/// The end of a word, the letters from a to z, and the apostrophe.
constexpr std::uint32_t kSymbols = 28;
/// How many symbols before another one are looked at. A word begins behind as many ends.
constexpr std::uint32_t kContext = 4;
/// Bytes of an example: those, and the one that follows.
constexpr std::uint32_t kExample = kContext + 1;

/// Examples one behind the other.
struct Examples {
  std::vector<std::uint8_t> symbols;
  std::size_t size() const { return symbols.size() / kExample; }
};

/// Throws if it cannot be read.
std::string read_text(const std::filesystem::path& path);

/// Which words of a text are meant: those of a number that is `rank` modulo `ranks`, as
/// neighbours in a dictionary are alike.
struct Share {
  std::uint32_t rank;
  std::uint32_t ranks;
};
/// Words with other letters are left out. Throws if nothing is left.
Examples examples_of(std::string_view text, const Share& share);

}  // namespace overflow
