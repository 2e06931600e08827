// "lockstep-answer NODE INDEX COUNT TEXT", one line for each piece.
#include "api/cli/outside/answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace lockstep::cli {
namespace {

constexpr std::string_view kMark = "lockstep-answer ";
constexpr std::size_t kPiece = 700;
constexpr std::size_t kPiecesMax = 1'000'000;

/// Takes the word before the next blank off the line.
std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

bool read_number(std::string_view word, std::size_t& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

}  // namespace

std::string wrap_answer(const std::string& node, std::string_view answer) {
  const std::size_t count = std::max<std::size_t>((answer.size() + kPiece - 1) / kPiece, 1);
  std::string lines;
  for (std::size_t i = 0; i < count; ++i) {
    lines +=
        fmt::format("{}{} {} {} {}\n", kMark, node, i, count, answer.substr(i * kPiece, kPiece));
  }
  return lines;
}

std::map<std::string, std::string> unwrap_answers(std::string_view printed) {
  std::map<std::string, std::map<std::size_t, std::string_view>> pieces;
  std::map<std::string, std::size_t> counts;
  while (!printed.empty()) {
    const std::size_t end = printed.find('\n');
    if (end == std::string_view::npos) break;
    std::string_view line = printed.substr(0, end);
    printed.remove_prefix(end + 1);
    if (!line.starts_with(kMark)) continue;
    line.remove_prefix(kMark.size());
    const std::string node(take_word(line));
    std::size_t index = 0;
    std::size_t count = 0;
    if (!read_number(take_word(line), index) || !read_number(take_word(line), count)) continue;
    if (index >= count || count > kPiecesMax) continue;
    pieces[node][index] = line;
    counts[node] = count;
  }
  std::map<std::string, std::string> answers;
  for (const auto& [node, parts] : pieces) {
    if (parts.size() != counts[node]) continue;
    for (const auto& [index, part] : parts) answers[node] += part;
  }
  return answers;
}

}  // namespace lockstep::cli
