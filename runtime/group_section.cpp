// Sections: one goes first and publishes how it ended; it does not wait for those who follow.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "runtime/group_watch.hpp"

namespace lockstep {
namespace {

/// A first may be this many sections ahead of a follower before a hidden round lets it catch up;
/// the ring has room for as many again in sections nested on the same group.
constexpr std::uint32_t kSectionsAhead = node::kSectionSlots / 2;
constexpr std::size_t kFailureMax = 800;

/// How a section ended: a letter, the signature of the first's call in hex, the call in words, a
/// line end, and for a failure its text. All of it is text: where there are no frames, zeros end
/// it.
struct Outcome {
  bool is_ok = false;
  std::uint32_t signature = 0;
  std::string call;
  std::string failure;
};
constexpr char kOk = 'k';
constexpr char kFailed = 'f';
constexpr std::size_t kSignatureDigits = 8;

std::string encode(const Call& call, const char* failure) {
  std::string where = call.text();
  std::replace(where.begin(), where.end(), '\n', ' ');
  where.resize(std::min(where.size(), node::kSiteMax));
  std::string record =
      fmt::format("{}{:08x}{}\n", failure == nullptr ? kOk : kFailed, call.signature(), where);
  if (failure != nullptr) record.append(failure, strnlen(failure, kFailureMax));
  return record;
}

Outcome decode(const std::string& record) {
  Outcome outcome;
  const std::size_t line_end = record.find('\n');
  if (line_end == std::string::npos || line_end < 1 + kSignatureDigits) return outcome;
  outcome.is_ok = record.front() == kOk;
  const char* const digits = record.data() + 1;
  std::from_chars(digits, digits + kSignatureDigits, outcome.signature, 16);
  outcome.call = record.substr(1 + kSignatureDigits, line_end - 1 - kSignatureDigits);
  outcome.failure = record.substr(line_end + 1);
  return outcome;
}

}  // namespace

Status Group::first_begin(const Call& call) {
  if (local_->is_broken()) return broken(call);
  if (sections_since_round_ >= kSectionsAhead && open_sections_.empty()) {
    Call hidden = call;
    hidden.operation = Operation::catch_up;
    if (Status status = round(hidden); !status.ok()) return status;
  }
  if (sections_since_round_ + 1 >= node::kSectionSlots) {
    return {LOCKSTEP_E_LIMIT,
            fmt::format("{}: more than {} sections of one group inside one of its sections",
                        call.text(), node::kSectionSlots - 2)};
  }
  ++sections_since_round_;
  const std::uint64_t section = ++section_;
  if (const std::uint64_t key = call.key(); !local_->is_announced(key)) {
    local_->announce(key, call.text());
  }
  if (self_ != 0) {
    if (Status status = wait_for_outcome(call, section); !status.ok()) return status;
  }
  open_sections_.push_back({section, call, std::nullopt});
  if (call.name != nullptr) open_sections_.back().name = call.name;
  local_->say_sections(open_sections_.size());
  return {};
}

Status Group::first_end(const char* failure) {
  if (open_sections_.empty())
    return {LOCKSTEP_E_STATE, "first_end without first_begin on this group"};
  const OpenSection open = std::move(open_sections_.back());
  open_sections_.pop_back();
  local_->say_sections(open_sections_.size());
  if (self_ != 0) return {};
  Call call = open.call;
  call.name = open.name ? open.name->c_str() : nullptr;
  std::string record = encode(call, failure);
  if (!is_wide_) {
    local_->publish_outcome(open.number, record);
    return {};
  }
  if (around_.can_publish) {
    std::lock_guard lock(around_.port->mutex());
    leader_->publish(open.number, record);
    return {};
  }
  record.resize(LOCKSTEP_VECTOR_MAX);
  return round(call, {0, std::as_bytes(std::span(record))});
}

Status Group::wait_for_outcome(const Call& call, std::uint64_t section) {
  const bool by_round = is_wide_ && !around_.can_publish;
  if (by_round) {
    const std::array<std::byte, LOCKSTEP_VECTOR_MAX> nothing{};
    Call patient = call;
    if (!patient.timeout) patient.timeout = kNever;
    node::Words result;
    if (Status status = round(patient, {0, nothing}, &result); !status.ok()) return status;
    const auto* const text = reinterpret_cast<const char*>(result.vector.data());
    return adopt_outcome(call, std::string(text, strnlen(text, result.vector.size())));
  }
  Watch watch{.call = call, .is_round = false, .section = section};
  Status status = this->watch(local_->section_bell(), watch, [&]() noexcept {
    if (leader_ != nullptr) {
      std::lock_guard lock(around_.port->mutex());
      around_.port->poll();
    }
    return local_->has_outcome(section);
  });
  if (!status.ok()) return status;
  return adopt_outcome(call, local_->outcome(section));
}

Status Group::adopt_outcome(const Call& call, const std::string& record) const {
  const Outcome outcome = decode(record);
  const Rank first = ranks_.front();
  const std::string who = fmt::format("rank {} on {}, which went first,", first,
                                      around_.identity.hosts[around_.identity.node_of[first]]);
  if (outcome.signature != call.signature()) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("{}: {} was in another section: {}", call.text(), who, outcome.call)};
  }
  if (outcome.is_ok) return {};
  return {LOCKSTEP_E_FIRST_FAILED,
          fmt::format("{}: {} failed: {}", call.text(), who, outcome.failure)};
}

}  // namespace lockstep
