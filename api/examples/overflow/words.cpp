// One word a line, as in /usr/share/dict.
#include "words.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>

namespace overflow {
namespace {

std::optional<std::uint8_t> symbol_of(char letter) {
  if (letter >= 'a' && letter <= 'z') return static_cast<std::uint8_t>(1 + letter - 'a');
  if (letter >= 'A' && letter <= 'Z') return static_cast<std::uint8_t>(1 + letter - 'A');
  if (letter == '\'') return static_cast<std::uint8_t>(kSymbols - 1);
  return std::nullopt;
}

/// The word and its end; nothing if it has other letters.
std::vector<std::uint8_t> symbols_of(std::string_view word) {
  std::vector<std::uint8_t> symbols(kContext, 0);
  for (const char letter : word) {
    const auto symbol = symbol_of(letter);
    if (!symbol) return {};
    symbols.push_back(*symbol);
  }
  symbols.push_back(0);
  return symbols;
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad() || text.empty()) {
    throw std::runtime_error("cannot read words from " + path.string() +
                             "; --data FILE names another, the package wamerican has a list");
  }
  return text;
}

Examples examples_of(std::string_view text, const Share& share) {
  Examples examples;
  std::uint64_t number = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty() || number++ % share.ranks != share.rank) continue;
    const std::vector<std::uint8_t> symbols = symbols_of(word);
    for (std::size_t at = 0; at + kContext < symbols.size(); ++at) {
      const auto begin = symbols.begin() + static_cast<std::ptrdiff_t>(at);
      examples.symbols.insert(examples.symbols.end(), begin, begin + kExample);
    }
  }
  if (examples.size() == 0) {
    throw std::runtime_error("there are too few words for " + std::to_string(share.ranks) +
                             " ranks: each needs one");
  }
  return examples;
}

}  // namespace overflow
