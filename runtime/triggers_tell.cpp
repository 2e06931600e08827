// The exchange: who has something to tell, their records, and why what is due is due.
#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "runtime/base/copy_text.hpp"
#include "runtime/collect.hpp"
#include "runtime/triggers.hpp"

namespace lockstep {
namespace {

using trigger::Record;

/// In the word of the first round there is room for each of so many members.
constexpr std::uint32_t kInWord = 64;

std::vector<Rank> first_of_each_node(Group& group) {
  const std::vector<NodeIndex>& node_of = group.around().identity.node_of;
  std::vector<Rank> first;
  std::set<NodeIndex> seen;
  for (Rank rank = 0; rank < group.size(); ++rank) {
    if (seen.insert(node_of[group.ranks()[rank]]).second) first.push_back(rank);
  }
  return first;
}

/// Appends the bytes of records.
Status append(std::vector<Record>& records, Result<std::vector<std::byte>> bytes) {
  if (!bytes.ok()) return bytes.status();
  const std::size_t before = records.size();
  records.resize(before + bytes->size() / sizeof(Record));
  if (!bytes->empty()) std::memcpy(&records[before], bytes->data(), bytes->size());
  return {};
}

}  // namespace

Status Triggers::tell(const Call& call) {
  take_sources(call);
  const std::vector<Record> mine = has_untold() ? begin_telling() : std::vector<Record>{};
  const bool has_words = !mine.empty();
  const bool fits = group_.size() <= kInWord;
  const std::uint64_t bit = fits ? std::uint64_t{1} << group_.rank() : 1;
  node::Words all;
  Status status = group_.round(call, {has_words ? bit : 0, {}}, &all);
  if (status.ok() && all.word != 0) status = exchange(call, all.word, mine);
  if (has_words) settle(status.ok());
  has_failed_ = !status.ok();
  return status;
}

std::vector<Record> Triggers::begin_telling() {
  std::vector<Record> records;
  std::lock_guard lock(mutex_);
  for (const auto& trigger : triggers_) {
    if (!trigger->untold_) continue;
    trigger->telling_ = std::exchange(trigger->untold_, std::nullopt);
    const Trigger::Set& set = *trigger->telling_;
    records.push_back({.trigger = trigger->id_,
                       .value = set.value,
                       .time = set.time,
                       .rules = trigger->rules_,
                       .rank = group_.rank(),
                       .urgency = static_cast<std::uint8_t>(set.notice.source)});
  }
  if (!records.empty()) records.front().left = static_cast<std::uint8_t>(records.size() - 1);
  count_untold();
  return records;
}

void Triggers::settle(bool is_told) {
  count_checks();
  std::lock_guard lock(mutex_);
  for (const auto& trigger : triggers_) {
    if (!trigger->telling_) continue;
    if (is_told && watch_ != nullptr) {
      const std::uint64_t number = meets_in_ != 0 ? meets_in_ : trigger->checks_ + 1;
      watch_->told(std::exchange(trigger->telling_->notice.requests, 0), number);
    }
    trigger->merge(is_told ? trigger->told_ : trigger->untold_,
                   std::exchange(trigger->telling_, std::nullopt));
  }
  count_untold();
}

Status Triggers::exchange(const Call& call, std::uint64_t word, std::span<const Record> mine) {
  if (members_.node_leaders.empty()) members_ = {group_.size(), first_of_each_node(group_)};
  const Result<std::vector<Rank>> who = setters(call, word, !mine.empty());
  if (!who.ok()) return who.status();
  const Result<std::vector<Record>> records = everybodys(call, who.value(), mine);
  if (!records.ok()) return records.status();
  if (Status status = agree_on_rules(call, records.value()); !status.ok()) return status;
  // On a copy: if a round fails from here on, nothing has been told.
  Board next = board_;
  std::set<std::uint64_t> touched;
  for (const Record& record : records.value()) {
    const auto at = next.try_emplace(record.trigger, Entry{{record.rules, members_}}).first;
    at->second.tally.tell(record);
    touched.insert(record.trigger);
  }
  for (const std::uint64_t id : touched) {
    Entry& entry = next.at(id);
    if (!entry.tally.is_due()) continue;
    if (Status status = explain(call, id, entry); !status.ok()) return status;
  }
  post(std::move(next));
  return {};
}

Result<std::vector<Rank>> Triggers::setters(const Call& call, std::uint64_t word, bool is_one) {
  std::vector<Rank> found;
  if (group_.size() <= kInWord) {
    for (Rank rank = 0; rank < group_.size(); ++rank) {
      if ((word >> rank & 1) != 0) found.push_back(rank);
    }
    return found;
  }
  const auto bit = static_cast<std::byte>(1u << group_.rank() % 8);
  // Parts may share a byte: they are ORed.
  const Result<std::vector<std::byte>> bits =
      share(group_, call, (group_.size() + 7) / 8, group_.rank() / 8,
            is_one ? std::span(&bit, 1) : std::span<const std::byte>());
  if (!bits.ok()) return bits.status();
  for (Rank rank = 0; rank < group_.size(); ++rank) {
    if ((bits.value()[rank / 8] >> rank % 8 & std::byte{1}) != std::byte{0}) found.push_back(rank);
  }
  return found;
}

/// One of each first, which mostly is all there is; it says how many more this rank has.
Result<std::vector<Record>> Triggers::everybodys(const Call& call, std::span<const Rank> setters,
                                                 std::span<const Record> mine) {
  const auto place = std::lower_bound(setters.begin(), setters.end(), group_.rank());
  const auto index = static_cast<std::size_t>(place - setters.begin());
  const std::span<const Record> own_first = mine.first(std::min<std::size_t>(mine.size(), 1));
  std::vector<Record> records;
  Status status = append(records, share(group_, call, setters.size() * sizeof(Record),
                                        index * sizeof(Record), std::as_bytes(own_first)));
  if (!status.ok()) return status;
  std::size_t total = 0;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < setters.size(); ++i) {
    if (i == index) offset = total;
    total += records[i].left;
  }
  if (total == 0) return records;
  const std::span<const Record> own_rest = mine.subspan(own_first.size());
  status = append(records, share(group_, call, total * sizeof(Record), offset * sizeof(Record),
                                 std::as_bytes(own_rest)));
  if (!status.ok()) return status;
  return records;
}

/// A trigger that has been opened with different rules would be due on some ranks only. Who has set
/// it has opened it, so that of two who differ at least one sees the other's record.
Status Triggers::agree_on_rules(const Call& call, std::span<const Record> records) {
  const std::string odd = odd_rules(records);
  node::Words all;
  Status status = group_.round(call, {odd.empty() ? 0u : 1u, {}}, &all);
  if (!status.ok() || all.word == 0) return status;
  const Result<Rank> who = lowest(group_, call, !odd.empty());
  if (!who.ok()) return who.status();
  const Result<std::vector<std::byte>> text =
      broadcast(group_, call, who.value(), std::as_bytes(std::span(odd)));
  if (!text.ok()) return text.status();
  const auto* const bytes = reinterpret_cast<const char*>(text.value().data());
  return {LOCKSTEP_E_MISMATCH,
          fmt::format("{}: {}", call.text(), std::string_view(bytes, text.value().size()))};
}

std::string Triggers::odd_rules(std::span<const Record> records) const {
  std::lock_guard lock(mutex_);
  const auto differs = [&](const Record& record, Rank other, const trigger::Rules& rules) {
    const Trigger* const known = find(record.trigger);
    return fmt::format(
        "trigger '{}' is '{}' on rank {}, but '{}' on rank {}; open it with the same rules on all "
        "ranks",
        known != nullptr ? known->name_ : "?", rules.text(), group_.ranks()[other],
        record.rules.text(), group_.ranks()[record.rank]);
  };
  for (const Record& record : records) {
    const Trigger* const mine = find(record.trigger);
    if (mine != nullptr && mine->rules_ != record.rules) {
      return differs(record, group_.rank(), mine->rules_);
    }
    const auto known = board_.find(record.trigger);
    if (known != board_.end() && known->second.tally.rules() != record.rules) {
      return differs(record, known->second.tally.first().rank, known->second.tally.rules());
    }
  }
  return {};
}

/// The first's report for all, with what the tally knows.
Status Triggers::explain(const Call& call, std::uint64_t id, Entry& entry) {
  const Rank first = entry.tally.first().rank;
  lockstep_trigger_report_t report{};
  if (first == group_.rank()) report = own_report(id);
  // Copied as it is: a job's ranks run one version of lockstep on one kind of machine.
  Result<std::vector<std::byte>> bytes =
      broadcast(group_, call, first, std::as_bytes(std::span(&report, 1)));
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() != sizeof report) {
    return {LOCKSTEP_E_MISMATCH, "the trigger's report has another size on another rank"};
  }
  std::memcpy(&report, bytes->data(), sizeof report);
  report.value = entry.tally.value();
  report.setters = entry.tally.setters();
  report.since_ns = entry.tally.since();
  entry.report = report;
  return {};
}

lockstep_trigger_report_t Triggers::own_report(std::uint64_t id) const {
  const bootstrap::Identity& who = group_.around().identity;
  std::optional<Trigger::Set> set;
  lockstep_trigger_report_t report{};
  {
    std::lock_guard lock(mutex_);
    const Trigger& trigger = *find(id);
    set = trigger.told_;
    trigger.merge(set, trigger.telling_);
    copy_text(report.name, trigger.name_);
  }
  const lifecycle::Source source = set->notice.source;
  lifecycle::Cause cause{
      source == lifecycle::Source::word ? LOCKSTEP_REASON_WORD : LOCKSTEP_REASON_SET,
      set->notice.text};
  report.left_ns = set->notice.left;
  if (is_from_outside(source)) {
    cause = watch_->look_into(set->notice);  // may ask the scheduler
  } else {
    if (cause.text.empty()) cause.text = "the program set the trigger";
    if (watch_ != nullptr) report.left_ns = watch_->left();
  }
  report.size = sizeof report;
  report.reason = cause.reason;
  report.rank = who.rank;
  report.signal = cause.signal;
  report.step = set->step;
  report.time_ns = set->time;
  copy_text(report.host, who.hosts[who.node()]);
  copy_text(report.text, cause.text);
  copy_text(report.site, set->site);
  return report;
}

void Triggers::post(Board board) {
  std::lock_guard lock(mutex_);
  board_ = std::move(board);
  for (const auto& [id, entry] : board_) {
    Trigger* const trigger = find(id);
    if (trigger != nullptr && entry.tally.is_due()) {
      trigger->is_due_.store(true, std::memory_order_release);
    }
  }
  count_due();
}

}  // namespace lockstep
