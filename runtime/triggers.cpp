// What one rank does with its triggers: open, set, and see whether they have fired.
#include "runtime/triggers.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "runtime/base/clean_text.hpp"
#include "runtime/base/copy_text.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/group.hpp"

namespace lockstep {
namespace {

constexpr trigger::Rules kUnnamedRules{.order = trigger::Order::lowest_rank};

std::string title_with(const std::string& name, const trigger::Rules& rules) {
  return rules == trigger::Rules{} ? name : fmt::format("{} ({})", name, rules.text());
}

}  // namespace

Trigger::Trigger(Triggers& owner, std::string name, const trigger::Rules& rules)
    : owner_(owner),
      name_(std::move(name)),
      id_(hash_text(name_)),
      rules_(rules),
      title_(title_with(name_, rules)) {}

/// The one that is told of the two is the one that a tally would take for the first.
void Trigger::merge(std::optional<Set>& into, std::optional<Set> more) const {
  if (!more) return;
  if (into) {
    const auto key = [](const Set& set) { return std::tuple(set.notice.source, set.time); };
    if (key(*more) < key(*into)) std::swap(*into, *more);
    into->value = trigger::combined(rules_.combine, into->value, more->value);
    into->notice.requests |= more->notice.requests;
  } else {
    into = std::move(more);
  }
}

Triggers::Triggers(Group& group) : group_(group), polls_(group.polls()) {}
Triggers::~Triggers() = default;

Trigger* Triggers::find(std::uint64_t id) const {
  const auto found = std::find_if(triggers_.begin(), triggers_.end(),
                                  [id](const auto& trigger) { return trigger->id_ == id; });
  return found != triggers_.end() ? found->get() : nullptr;
}

std::size_t Triggers::open_count() const {
  return static_cast<std::size_t>(std::count_if(
      triggers_.begin(), triggers_.end(),
      [this](const auto& trigger) { return trigger->opened_ > 0 && trigger.get() != unnamed_; }));
}

/// Those that have nothing left to tell, or to explain.
void Triggers::forget_closed() {
  count_checks();
  std::erase_if(triggers_, [](const auto& trigger) {
    return trigger->opened_ == 0 && !trigger->untold_ && !trigger->telling_ && !trigger->told_;
  });
  checked_.clear();
}

Result<Trigger*> Triggers::open(std::string_view name, const trigger::Rules& rules) {
  if (Status status = trigger::check_name(name); !status.ok()) return status;
  if (Status status = trigger::check_rules(rules, group_.size()); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  forget_closed();
  const std::uint64_t id = hash_text(name);
  Trigger* trigger = find(id);
  if (trigger != nullptr && trigger->name_ != name) {
    return Status(
        LOCKSTEP_E_INVALID,
        fmt::format("trigger '{}' cannot be told from '{}' by its hash; call it otherwise", name,
                    trigger->name_));
  }
  // Others may have set it before it is opened here, or again.
  const auto known = board_.find(id);
  const trigger::Rules valid = trigger != nullptr      ? trigger->rules_
                               : known != board_.end() ? known->second.tally.rules()
                                                       : rules;
  if (valid != rules) {
    return Status(LOCKSTEP_E_INVALID,
                  fmt::format("trigger '{}' is '{}' in this group already, and cannot be '{}' too; "
                              "give one of them another name",
                              name, valid.text(), rules.text()));
  }
  if ((trigger == nullptr || trigger->opened_ == 0) && open_count() == kOpenMax) {
    return Status(LOCKSTEP_E_LIMIT,
                  fmt::format("trigger '{}' would be one more than the {} that a group can have "
                              "open; close those that are done",
                              name, kOpenMax));
  }
  if (trigger == nullptr) {
    trigger =
        triggers_.emplace_back(std::make_unique<Trigger>(*this, std::string(name), rules)).get();
    trigger->is_due_ = known != board_.end() && known->second.tally.is_due();
  } else {
    ++trigger->opened_;
  }
  count_due();
  return trigger;
}

void Triggers::close(Trigger& trigger) {
  {
    std::lock_guard lock(mutex_);
    if (--trigger.opened_ > 0) return;
  }
  unbind(trigger);
}

Trigger& Triggers::unnamed() {
  if (unnamed_ != nullptr) return *unnamed_;
  std::lock_guard lock(mutex_);
  unnamed_ = triggers_.emplace_back(std::make_unique<Trigger>(*this, "", kUnnamedRules)).get();
  return *unnamed_;
}

void Triggers::set(Trigger& trigger, const TriggerCause& cause) {
  Trigger::Set set{.value = cause.value,
                   .step = cause.step,
                   .time = now_since_1970(),
                   .site = std::string(cause.site)};
  set.notice.text = clean_text(cause.reason, trigger::kReasonMax);
  {
    std::lock_guard lock(mutex_);
    record(trigger, std::move(set));
  }
  group_.want_meeting();
}

void Triggers::record(Trigger& trigger, Trigger::Set set) {
  trigger.merge(trigger.untold_, std::move(set));
  count_untold();
}

void Triggers::count_untold() {
  untold_.store(static_cast<std::size_t>(std::count_if(
                    triggers_.begin(), triggers_.end(),
                    [](const auto& trigger) { return trigger->untold_.has_value(); })),
                std::memory_order_release);
}

void Triggers::count_due() {
  due_ = static_cast<std::size_t>(
      std::count_if(triggers_.begin(), triggers_.end(),
                    [](const auto& trigger) { return trigger->opened_ > 0 && trigger->is_due(); }));
}

void Triggers::count_checks() noexcept {
  if (uncounted_checks_ == 0) return;
  for (Trigger* const trigger : checked_) trigger->checks_ += uncounted_checks_;
  uncounted_checks_ = 0;
}

bool Triggers::consume(Trigger& trigger, std::uint64_t number) {
  if (!trigger.is_due()) return false;
  std::lock_guard lock(mutex_);
  const auto found = board_.find(trigger.id_);
  trigger.last_ = found->second.report;
  trigger.last_->check = number != 0 ? number : checks(trigger);
  trigger.told_.reset();
  trigger.is_due_.store(false, std::memory_order_release);
  count_due();
  board_.erase(found);
  has_fired_ = true;
  return true;
}

std::string Triggers::title_of(std::span<Trigger* const> triggers) {
  std::string title;
  for (const Trigger* const trigger : triggers) {
    if (!title.empty()) title += ", ";
    title += trigger->title();
  }
  return title;
}

Status Triggers::check(Call call, std::span<Trigger* const> triggers, std::span<int> fired) {
  if (!checks_again(triggers)) {
    count_checks();
    checked_.assign(triggers.begin(), triggers.end());
    checked_title_ = title_of(triggers);
    checked_hash_ = hash_text(checked_title_);
  }
  call.name = checked_title_.c_str();
  call.name_hash = checked_hash_;
  const Status status = tell(call);
  ++uncounted_checks_;
  if (status.ok() && due_ == 0) {  // in nearly all checks, and there may be many triggers in one
    std::fill(fired.begin(), fired.end(), 0);
    return {};
  }
  count_checks();
  bool one_fires = false;
  for (std::size_t i = 0; i < triggers.size(); ++i) {
    Trigger& trigger = *triggers[i];
    const bool fires = status.ok() ? trigger.is_due() && consume(trigger)
                                   : fires_for_loss(trigger, status, checks(trigger));
    fired[i] = fires ? 1 : 0;
    one_fires = one_fires || fires;
  }
  return one_fires ? Status{} : status;
}

Result<bool> Triggers::check_unnamed(const Call& call) {
  Trigger& trigger = unnamed();
  expect_unnamed();
  if (Status status = tell(call); !status.ok()) return status;
  ++trigger.checks_;
  return consume(trigger);
}

/// The verdict, and so the report, is the same on all who are left.
bool Triggers::fires_for_loss(Trigger& trigger, const Status& status, std::uint64_t number) {
  if (!trigger.minds_loss_ || !status.is(LOCKSTEP_E_LOST)) return false;
  trigger.minds_loss_ = false;
  lockstep_trigger_report_t report{};
  report.size = sizeof report;
  report.reason = LOCKSTEP_REASON_LOSS;
  report.left_ns = INT64_MAX;
  report.check = number;
  copy_text(report.name, trigger.name_);
  copy_text(report.text, status.text());
  if (!status.missing().empty()) {
    const bootstrap::Identity& who = group_.around().identity;
    report.rank = status.missing().front();
    if (report.rank < who.size) copy_text(report.host, who.hosts[who.node_of[report.rank]]);
  }
  std::lock_guard lock(mutex_);
  trigger.last_ = report;
  return true;
}

Result<bool> Triggers::poll(Call call, Trigger& trigger) {
  if (&trigger == unnamed_) {
    expect_unnamed();
  } else {
    call.name = trigger.title().c_str();
  }
  if (take_words()) group_.want_meeting();
  Result<bool> meets = group_.meets(call);
  Status status = meets.ok() ? Status{} : meets.status();
  if (meets.ok() && *meets) {
    meets_in_ = group_.poll_number();
    status = tell(call);
    meets_in_ = 0;
    group_.has_met();
  }
  if (!status.ok()) {
    if (fires_for_loss(trigger, status, group_.poll_number())) return true;
    return status;
  }
  return consume(trigger, group_.poll_number());
}

std::optional<lockstep_trigger_report_t> Triggers::last(const Trigger& trigger) const {
  std::lock_guard lock(mutex_);
  return trigger.last_;
}

}  // namespace lockstep
