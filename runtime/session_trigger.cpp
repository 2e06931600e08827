// The trigger: one round while nothing has happened; a few more, to agree on why, when it fires.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "runtime/collect.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

constexpr unsigned kDigitBits = 6;  // a digit is one of the 64 bits of a round's word

unsigned digits_for(std::uint64_t most) {
  return (static_cast<unsigned>(std::bit_width(most)) + kDigitBits - 1) / kDigitBits;
}

/// The least of the members' values, of which there is at least one. Rounds can only OR: so digit
/// by digit, the most significant first, and whoever has a higher one is out.
Result<std::uint64_t> least(Group& group, const Call& call, std::optional<std::uint64_t> mine,
                            unsigned digits) {
  std::uint64_t found = 0;
  for (unsigned left = digits; left-- > 0;) {
    constexpr std::uint64_t kDigitMask = (1u << kDigitBits) - 1;
    const std::uint64_t digit = mine ? (*mine >> (left * kDigitBits)) & kDigitMask : 0;
    node::Words all;
    const node::Words own{mine ? std::uint64_t{1} << digit : 0, {}};
    if (Status status = group.round(call, own, &all); !status.ok()) return status;
    const auto lowest = static_cast<std::uint64_t>(std::countr_zero(all.word));
    found = found << kDigitBits | lowest;
    if (digit != lowest) mine.reset();
  }
  return found;
}

template <std::size_t N>
void copy_text(char (&to)[N], const std::string& from) {
  const std::size_t length = std::min(from.size(), N - 1);
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

}  // namespace

Result<bool> Session::check_trigger(const Call& call) {
  std::optional<lifecycle::Notice> mine = watch_.take(call.name);
  const auto could_not_tell = [&](const Status& status) {
    if (mine) watch_.put_back(*mine);
    return status;
  };
  node::Words all;
  if (Status status = job_->round(call, {mine ? 1u : 0u, {}}, &all); !status.ok()) {
    return could_not_tell(status);
  }
  ++record_.checks;
  if ((all.word & 1) == 0) return false;
  Result<lockstep_trigger_report_t> report = agree_on_cause(call, mine);
  if (!report.ok()) return could_not_tell(report.status());
  record_.stop = *report;
  watch_.told(record_.checks);
  return true;
}

Result<lockstep_trigger_report_t> Session::agree_on_cause(
    const Call& call, const std::optional<lifecycle::Notice>& mine) {
  const bootstrap::Identity& who = identity();
  const unsigned rank_digits = std::max(digits_for(who.size - 1), 1u);
  std::optional<std::uint64_t> claim;
  if (mine) {
    claim = static_cast<std::uint64_t>(mine->source) << (rank_digits * kDigitBits) | who.rank;
  }
  Result<std::uint64_t> winner = least(*job_, call, claim, rank_digits + 1);
  if (!winner.ok()) return winner.status();

  lockstep_trigger_report_t report{};
  const auto origin =
      static_cast<Rank>(*winner & ((std::uint64_t{1} << (rank_digits * kDigitBits)) - 1));
  if (origin == who.rank && mine) {
    const lifecycle::Cause cause = watch_.look_into(*mine);
    report.size = sizeof report;
    report.reason = cause.reason;
    report.rank = who.rank;
    report.signal = mine->signal;
    report.left_ns = mine->left;
    report.check = record_.checks;
    copy_text(report.host, who.hosts[who.node()]);
    copy_text(report.text, cause.text);
  }
  // Copied as it is: a job's ranks run one version of lockstep on one kind of machine.
  Result<std::vector<std::byte>> bytes =
      broadcast(*job_, call, origin, std::as_bytes(std::span(&report, 1)));
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() != sizeof report) {
    return Status(LOCKSTEP_E_MISMATCH, "the trigger's report has another size on another rank");
  }
  std::memcpy(&report, bytes->data(), sizeof report);
  return report;
}

}  // namespace lockstep
