// Sections: one goes first and publishes how it ended; it does not wait for those who follow.
#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "runtime/group_watch.hpp"

namespace lockstep {
namespace {

/// A first may be this many sections ahead of a follower before a hidden round lets it catch up;
/// the ring has room for as many again in sections nested on the same group.
constexpr std::uint32_t kSectionsAhead = node::kSectionSlots / 2;
constexpr std::size_t kFailureMax = 800;

// An outcome record is one letter and, for a failure, its text.
constexpr char kOk = 'k';
constexpr char kFailed = 'f';

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
  open_sections_.emplace_back(section, call);
  return {};
}

Status Group::first_end(const char* failure) {
  if (open_sections_.empty())
    return {LOCKSTEP_E_STATE, "first_end without first_begin on this group"};
  const auto [section, call] = open_sections_.back();
  open_sections_.pop_back();
  if (self_ != 0) return {};
  std::string record(1, failure == nullptr ? kOk : kFailed);
  if (failure != nullptr) record.append(failure, strnlen(failure, kFailureMax));
  if (!is_wide_) {
    local_->publish_outcome(section, record);
    return {};
  }
  if (around_.can_publish) {
    std::lock_guard lock(around_.port->mutex());
    leader_->publish(section, record);
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
  Watch watch{.call = call, .is_round = false};
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
  if (!record.empty() && record.front() == kOk) return {};
  const Rank first = ranks_.front();
  return {LOCKSTEP_E_FIRST_FAILED,
          fmt::format("{}: rank {} on {}, which went first, failed: {}", call.text(), first,
                      around_.identity.hosts[around_.identity.node_of[first]],
                      record.empty() ? "" : record.substr(1))};
}

}  // namespace lockstep
