// Sections: one goes first and publishes how it ended; it does not wait for those who follow.
#include <unistd.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "runtime/group_watch.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {

/// A first may be this many sections ahead of a follower before a hidden round lets it catch up;
/// the ring has room for as many again in sections nested on the same group.
constexpr std::uint32_t kSectionsAhead = node::kSectionSlots / 2;
/// How long a first that ends its section stays for another node's receipt before it leaves that to
/// the port's thread: its node mates follow when the receipt is there.
constexpr Nanos kStayForReceipt = 100 * kMicrosecond;

}  // namespace

Status Group::first_begin(Call call, const SectionRules& rules) {
  call.variant = rules.variant();
  if (local_->is_broken()) return broken(call);
  if (rules.policy == LOCKSTEP_RETRY_NEXT && is_round_based()) {
    return {LOCKSTEP_E_UNSUPPORTED,
            fmt::format("{}: the next rank can try only where nodes exchange frames; type "
                        "LOCKSTEP_TRANSPORT=ucx, or choose another policy",
                        call.text())};
  }
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
  Attempt attempt{++section_, 0};
  if (const std::uint64_t key = call.key(); !local_->is_announced(key)) {
    local_->announce(key, call.text());
  }
  bool is_first = false;
  for (;;) {
    is_first = attempt.number == self_ && !local_->sections().is_released(attempt);
    if (is_first && attempt.number > 0 && is_wide_) {
      if (Status status = take_turn(call, attempt); !status.ok()) return status;
      is_first = !local_->sections().is_released(attempt);
    }
    if (is_first) break;
    if (Status status = wait_for_outcome(call, attempt); !status.ok()) return status;
    const SectionEnd& end = *section_end_;
    if (end.outcome.is_final) {
      Status status = judge(call, rules, end);
      if (!status.ok()) {
        const bool all_live = end.outcome.kind != engine::OutcomeKind::dead;
        if (rules.has_exit_barrier && all_live) {
          if (Status left = exit_barrier(call); !left.ok()) return left;
        }
        return status;
      }
      break;
    }
    attempt.number = end.attempt.number + 1;
  }
  if (is_first) stay_on_duty(true);
  open_sections_.push_back({attempt, is_first, rules, call, std::nullopt});
  if (call.name != nullptr) open_sections_.back().name = call.name;
  local_->say_sections(open_sections_.size());
  return {};
}

Status Group::end_section(engine::OutcomeKind kind, std::string_view type, std::string_view text) {
  if (open_sections_.empty()) {
    return {LOCKSTEP_E_STATE, "the end of a section without lockstep_first_begin on this group"};
  }
  const OpenSection open = std::move(open_sections_.back());
  open_sections_.pop_back();
  local_->say_sections(open_sections_.size());
  const Call call = open.named();
  if (open.is_first) {
    write_outcome(call, open, kind, type, text);
    Status status = publish(call, open.attempt, section_record_);
    stay_on_duty(false);
    if (!status.ok()) return status;
    if (kind == engine::OutcomeKind::failed && open.rules.policy == LOCKSTEP_ABORT_JOB) {
      abort_job(fmt::format("{}: {}", call.text(), first_text(section_end_->outcome)));
    }
  }
  return open.rules.has_exit_barrier ? exit_barrier(call) : Status{};
}

/// Leaves it in section_end_ and section_record_.
void Group::write_outcome(const Call& call, const OpenSection& open, engine::OutcomeKind kind,
                          std::string_view type, std::string_view text) {
  const bool is_plain = kind == engine::OutcomeKind::ok && type.empty() && text.empty();
  if (is_plain && section_own_key_ == call.key()) {
    section_end_->attempt = open.attempt;
    return;
  }
  const bool has_failed = kind == engine::OutcomeKind::failed;
  engine::Outcome outcome;
  outcome.kind = kind;
  outcome.signature = call.signature();
  outcome.first = ranks_[self_];
  outcome.is_final =
      !has_failed || open.rules.policy != LOCKSTEP_RETRY_NEXT || !has_next(open.attempt);
  outcome.site = call.text();
  outcome.type = type;
  outcome.text = text;
  section_record_ = engine::encode_outcome(outcome);
  section_own_key_ = is_plain ? call.key() : 0;
  section_end_ = SectionEnd{open.attempt, std::move(outcome)};
}

/// Is there a rank that can try after this attempt?
bool Group::has_next(Attempt attempt) const noexcept {
  return attempt.number + 1 < size() && attempt.number + 1 < Attempt::kNumbers;
}

Status Group::publish(const Call& call, Attempt attempt, const std::string& record) {
  if (is_round_based()) {
    std::string padded = record;
    padded.resize(LOCKSTEP_VECTOR_MAX);
    return round(call, {0, std::as_bytes(std::span(padded))});
  }
  node::SectionRing& ring = local_->sections();
  if (!ring.keep(attempt, record, false, gone_test())) {
    return {LOCKSTEP_E_LOST,
            fmt::format("{}: the others took this rank for dead while it was in its section",
                        call.text())};
  }
  if (!is_wide_) {
    ring.release(attempt);
    local_->ring_sections();
    return {};
  }
  if (!is_speaker()) {
    local_->note_published();
    return {};
  }
  progress::Port& port = *around_.port;
  port.enter();
  {
    std::lock_guard lock(port.mutex());
    speaker_->publish(attempt, record);
  }
  const Nanos until = after(now(), kStayForReceipt);
  while (!ring.is_released(attempt) && now() < until) {
    std::lock_guard lock(port.mutex());
    port.poll();
  }
  port.leave();
  if (!ring.is_released(attempt)) port.hand_over();
  return {};
}

/// Leaves it in section_end_ and section_record_.
Status Group::wait_for_outcome(const Call& call, Attempt attempt) {
  node::SectionRing::Record& kept = section_room_;
  if (is_round_based()) {
    const std::array<std::byte, LOCKSTEP_VECTOR_MAX> nothing{};
    Call patient = call;
    if (!patient.timeout) patient.timeout = kNever;
    node::Words result;
    if (Status status = round(patient, {0, nothing}, &result); !status.ok()) return status;
    const auto* const text = reinterpret_cast<const char*>(result.vector.data());
    kept.text.assign(text, strnlen(text, result.vector.size()));
    kept.attempt = attempt;
  } else {
    Watch watch{.call = call, .what = Watch::What::section, .attempt = attempt};
    watch.retries = SectionRules::retries(call.variant);
    node::SectionRing& ring = local_->sections();
    Status status = this->watch(local_->section_bell(), watch, [&]() noexcept {
      poll_port();
      // While a later attempt's record is written none can be read.
      return ring.is_released(attempt) && ring.find(attempt, kept);
    });
    if (!status.ok()) return status;
  }
  if (section_end_ && kept.text == section_record_) {
    section_end_->attempt = kept.attempt;
    return {};
  }
  auto outcome = engine::decode_outcome(kept.text);
  if (!outcome) {
    return {LOCKSTEP_E_LOST,
            fmt::format("{}: nobody can tell any more how the section of rank {} ended",
                        call.text(), ranks_[attempt.number])};
  }
  section_record_ = kept.text;
  section_own_key_ = 0;
  section_end_ = SectionEnd{kept.attempt, std::move(*outcome)};
  return {};
}

/// Who goes first after another one may have been taken for dead by nodes that have not heard of
/// it; and if its speaker dies while it works, nobody else here may be waiting.
Status Group::take_turn(const Call& call, Attempt attempt) {
  if (speaker_ == nullptr) {
    if (Status status = stand_by(); !status.ok()) return status;
  }
  Watch watch{.call = call, .what = Watch::What::section, .attempt = attempt, .is_turn = true};
  inquire(watch);
  return this->watch(local_->section_bell(), watch, [&]() noexcept {
    poll_port();
    return local_->has_turn(attempt) || local_->sections().is_released(attempt);
  });
}

/// While this member goes first after another one, in case that its speaker dies.
void Group::stay_on_duty(bool is_on_duty) {
  if (speaker_ == nullptr || leader_ != nullptr) return;
  std::lock_guard lock(around_.port->mutex());
  speaker_->set_on_duty(is_on_duty);
}

/// Before this member leaves: what it or its node owes to others is on its way, and known to one.
void Group::settle_sections() {
  if (speaker_ == nullptr) return;
  const Nanos until = after(now(), around_.config.grace);
  around_.port->enter();
  for (bool is_settled = false; !is_settled && now() < until;) {
    std::lock_guard lock(around_.port->mutex());
    around_.port->poll();
    speaker_->on_idle(now());
    is_settled = speaker_->is_settled();
  }
  around_.port->leave();
}

/// "rank 3 on n1, which went first, failed: std::runtime_error: no such file"
std::string Group::first_text(const engine::Outcome& outcome) const {
  const bool is_known = outcome.first < around_.identity.size;
  const std::string who =
      fmt::format("rank {} on {}, which went first,", outcome.first,
                  is_known ? around_.identity.hosts[around_.identity.node_of[outcome.first]] : "?");
  if (outcome.kind == engine::OutcomeKind::dead) {
    return fmt::format("{} is gone without having said how its section ended{}{}", who,
                       outcome.text.empty() ? "" : ": ", outcome.text);
  }
  return fmt::format("{} failed: {}", who, outcome.text);
}

Status Group::judge(const Call& call, const SectionRules& rules, const SectionEnd& end) const {
  const engine::Outcome& outcome = end.outcome;
  if (outcome.signature != call.signature()) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("{}: rank {}, which went first, was in another section, or under another "
                        "policy: {}",
                        call.text(), outcome.first, outcome.site)};
  }
  if (outcome.kind == engine::OutcomeKind::ok || rules.policy == LOCKSTEP_CONTINUE_ON_ERROR) {
    return {};
  }
  std::string text = fmt::format("{}: {}", call.text(), first_text(outcome));
  if (end.attempt.number > 0) {
    text += fmt::format(" (the last of {} that tried)", end.attempt.number + 1);
  }
  if (rules.policy == LOCKSTEP_ABORT_JOB) abort_job(text);
  if (outcome.kind == engine::OutcomeKind::dead) {
    return {LOCKSTEP_E_LOST, std::move(text), {outcome.first}};
  }
  return {LOCKSTEP_E_FIRST_FAILED, std::move(text)};
}

Status Group::exit_barrier(Call call) {
  call.operation = Operation::exit_barrier;
  // Whoever comes last may work in the section for as long as it takes.
  if (!call.timeout) call.timeout = kNever;
  return round(call);
}

void Group::abort_job(const std::string& why) const {
  log::error("{}; ends this process, as its policy asks for", why);
  // What it has to pass on to other nodes gets out first.
  const Nanos until = after(now(), around_.config.grace);
  while (speaker_ != nullptr && now() < until) {
    std::lock_guard lock(around_.port->mutex());
    around_.port->poll();
    speaker_->on_idle(now());
    if (!speaker_->is_unconfirmed()) break;
  }
  _exit(LOCKSTEP_ABORT_STATUS);
}

// -- when the first is gone

node::SectionRing::IsGone Group::gone_test() const {
  return [this](std::uint32_t member) { return is_gone(member); };
}

engine::Outcome Group::outcome_if_dead(const node::LocalGroup::Inquiry& inquiry) const {
  engine::Outcome outcome;
  outcome.kind = engine::OutcomeKind::dead;
  outcome.signature = inquiry.signature;
  outcome.first = ranks_[inquiry.attempt.number];
  outcome.is_final = !inquiry.retries || !has_next(inquiry.attempt);
  if (const auto here = member_here(outcome.first)) outcome.text = obituary(*here);
  return outcome;
}

std::optional<std::uint32_t> Group::member_here(Rank rank) const {
  const auto found = std::lower_bound(local_ranks_.begin(), local_ranks_.end(), rank);
  if (found == local_ranks_.end() || *found != rank) return std::nullopt;
  return static_cast<std::uint32_t>(found - local_ranks_.begin());
}

/// Looks whether the awaited first still lives, and sees to it that somebody decides if it does
/// not.
void Group::inquire(const Watch& watch) {
  // Who died while it wrote the record of a later attempt leaves none to read.
  const Attempt attempt = local_->sections().begun_after(watch.attempt).value_or(watch.attempt);
  const auto here = member_here(ranks_[attempt.number]);
  const node::LocalGroup::Inquiry inquiry{attempt, watch.call.signature(), watch.retries,
                                          !watch.is_turn && here && is_gone(*here), watch.is_turn};
  if (!is_wide_) {
    if (!inquiry.is_gone) return;
    node::SectionRing& ring = local_->sections();
    // Either a record of it is complete, or this one is it.
    ring.keep(attempt, engine::encode_outcome(outcome_if_dead(inquiry)), false, gone_test());
    ring.release(attempt);
    local_->ring_sections();
    return;
  }
  if (lacks_speaker()) {
    // It may have gone because all is said, and whoever has heard it may have left.
    if (local_->sections().is_released(attempt)) return;
    speak_instead();
  }
  if (!is_speaker()) {
    local_->ask(inquiry);
    return;
  }
  std::lock_guard lock(around_.port->mutex());
  speaker_->inquire(inquiry);
}

/// Who speaks for this node, or is to, hears what has come from others.
void Group::poll_port() noexcept {
  if (speaker_ == nullptr) return;
  std::lock_guard lock(around_.port->mutex());
  around_.port->poll();
}

bool Group::lacks_speaker() const {
  return !is_speaker() && is_gone(local_->speaker());
}

/// Somebody has to speak for this node: this member, if nobody else does any more.
void Group::see_to_speaker() {
  if (lacks_speaker()) speak_instead();
}

void Group::speak_instead() {
  if (speaker_ == nullptr) {
    if (Status status = stand_by(); !status.ok()) {
      log::warn("cannot speak for its node in place of rank {}: {}",
                local_ranks_[local_->speaker()], status.text());
      return;
    }
  }
  std::lock_guard lock(around_.port->mutex());
  speaker_->try_to_take_over();
}

std::unique_ptr<progress::Speaker> Group::make_speaker(progress::Port& port,
                                                       std::vector<std::byte> own_address) {
  Layout lies = layout();
  lies.speakers[lies.self] = around_.identity.rank;
  progress::Speaker::Facts facts;
  facts.is_gone = gone_test();
  facts.if_dead = [this](const node::LocalGroup::Inquiry& inquiry) {
    return engine::encode_outcome(outcome_if_dead(inquiry));
  };
  for (Rank member = 0; member < size(); ++member) {
    if (lies.node_of[member] == lies.self) facts.here.push_back(member);
  }
  engine::Outcomes::Setup setup{};
  setup.group = progress::speakers_of(id_);
  setup.self = lies.self;
  setup.speakers = std::move(lies.speakers);
  setup.members = ranks_;
  setup.node_of = std::move(lies.node_of);
  setup.grace = around_.config.grace;
  setup.is_successor = !own_address.empty();
  setup.newcomers = ways_.newcomers;
  setup.is_known = ways_.is_known;
  return std::make_unique<progress::Speaker>(port, *local_, std::move(setup), std::move(facts),
                                             std::move(own_address));
}

/// Gets ready to speak for this node: that needs an own way to the other nodes.
Status Group::stand_by() {
  const Layout lies = layout();
  std::vector<node::Address> contacts = ways_.contacts;
  if (contacts.empty()) {
    contacts = node::decode_contacts(around_.page.contacts()).value_or(contacts);
  }
  if (contacts.size() != lies.nodes.size()) {
    return {LOCKSTEP_E_TRANSPORT, "the addresses of the other nodes are not known"};
  }
  Result<progress::Port*> port = around_.open_port();
  if (!port.ok()) return port.status();
  std::vector<Rank> lost;
  std::vector<Rank> unknown;
  Result<std::vector<std::byte>> own = [&] {
    std::lock_guard lock((*port)->mutex());
    for (NodeIndex node = 0; node < lies.nodes.size(); ++node) {
      if (node == lies.self) continue;
      const Rank speaker = lies.speakers[node];
      if (contacts[node].empty()) {
        unknown.push_back(speaker);
      } else if (!(*port)->connect(speaker, contacts[node]).ok()) {
        lost.push_back(speaker);
      }
    }
    return (*port)->address();
  }();
  if (!own.ok()) return own.status();
  speaker_ = make_speaker(**port, std::move(*own));
  std::lock_guard lock((*port)->mutex());
  for (const Rank rank : lost) speaker_->on_lost(rank);
  for (const Rank rank : unknown) speaker_->miss_address_of(rank);
  return {};
}

}  // namespace lockstep
