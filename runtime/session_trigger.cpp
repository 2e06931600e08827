// The trigger: one round while nothing has happened; a few more, to agree on why, when it fires.
#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime/base/copy_text.hpp"
#include "runtime/collect.hpp"
#include "runtime/session.hpp"

namespace lockstep {

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
    report.signal = cause.signal;
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
