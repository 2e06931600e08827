// Records are text, so that zeros can end one where members' vectors are ORed: a letter for the
// kind, one for whether somebody tries again, signature and first in hex; then site, type and text,
// each on a line of its own, the text last.
#include "runtime/engine/outcome.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lockstep::engine {
namespace {

constexpr std::size_t kSiteMax = 184;
constexpr std::size_t kDigits = 8;
constexpr std::size_t kFixed = 2 + 2 * kDigits;
constexpr char kFinal = '.';
constexpr char kGoesOn = '+';
static_assert(kFixed + kSiteMax + kOutcomeTypeMax + kOutcomeTextMax + 2 <= kOutcomeRecordMax);

std::string line(std::string_view text, std::size_t most) {
  std::string one(text.substr(0, most));
  std::replace(one.begin(), one.end(), '\n', ' ');
  return one;
}

std::optional<std::uint32_t> number(std::string_view digits) {
  std::uint32_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value, 16);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

std::string encode_outcome(const Outcome& outcome) {
  std::string text = outcome.text.substr(0, kOutcomeTextMax);
  // A zero would end a failure's text early where zeros end records. What once() sends is kept.
  if (outcome.kind != OutcomeKind::ok) std::replace(text.begin(), text.end(), '\0', ' ');
  return fmt::format("{}{}{:08x}{:08x}{}\n{}\n{}", static_cast<char>(outcome.kind),
                     outcome.is_final ? kFinal : kGoesOn, outcome.signature, outcome.first,
                     line(outcome.site, kSiteMax), line(outcome.type, kOutcomeTypeMax), text);
}

std::optional<Outcome> decode_outcome(std::string_view record) {
  if (record.size() < kFixed || record.size() > kOutcomeRecordMax) return std::nullopt;
  Outcome outcome;
  outcome.kind = static_cast<OutcomeKind>(record.front());
  if (outcome.kind != OutcomeKind::ok && outcome.kind != OutcomeKind::failed &&
      outcome.kind != OutcomeKind::dead) {
    return std::nullopt;
  }
  outcome.is_final = record[1] == kFinal;
  if (!outcome.is_final && record[1] != kGoesOn) return std::nullopt;
  const auto signature = number(record.substr(2, kDigits));
  const auto first = number(record.substr(2 + kDigits, kDigits));
  const std::size_t site_end = record.find('\n', kFixed);
  if (!signature || !first || site_end == std::string_view::npos) return std::nullopt;
  const std::size_t type_end = record.find('\n', site_end + 1);
  if (type_end == std::string_view::npos) return std::nullopt;
  outcome.signature = *signature;
  outcome.first = *first;
  outcome.site = record.substr(kFixed, site_end - kFixed);
  outcome.type = record.substr(site_end + 1, type_end - site_end - 1);
  outcome.text = record.substr(type_end + 1);
  return outcome;
}

}  // namespace lockstep::engine
