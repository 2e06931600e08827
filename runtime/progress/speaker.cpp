// Carries the outcomes' frames to the port, and their records to the page.
#include "runtime/progress/speaker.hpp"

#include <algorithm>

#include "runtime/engine/outcome.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep::progress {

using node::LocalGroup;
static_assert(node::kOutcomeMax >= engine::kOutcomeRecordMax);

namespace {

engine::Agreement::Setup agreement_setup(const engine::Outcomes::Setup& setup,
                                         engine::FrameType first) {
  return {setup.group, setup.speakers[setup.self],
          setup.self,  static_cast<NodeIndex>(setup.speakers.size()),
          setup.grace, first};
}

}  // namespace

Speaker::Speaker(Port& port, LocalGroup& local, engine::Outcomes::Setup setup, Facts facts,
                 std::vector<std::byte> own_address)
    : port_(port),
      local_(local),
      facts_(std::move(facts)),
      outcomes_(std::move(setup), *this),
      polls_(local.polls(), agreement_setup(outcomes_.setup(), engine::FrameType::poll_raise),
             outcomes_),
      rolls_(local.rolls(), agreement_setup(outcomes_.setup(), engine::FrameType::roll_raise),
             outcomes_, facts_.is_gone),
      own_address_(std::move(own_address)) {
  std::lock_guard lock(port.mutex());
  port.listen(outcomes_.setup().group, this);
}

Speaker::~Speaker() {
  std::lock_guard lock(port_.mutex());
  // What was posted arrives: the transport is closed in order.
  if (is_speaker()) {
    for (const node::SectionRing::Record& record : local_.sections().all()) release(record.attempt);
  }
  port_.unlisten(outcomes_.setup().group);
}

void Speaker::send() {
  for (const engine::Outgoing& outgoing : output_) {
    port_.post(outcomes_.setup().speakers[outgoing.peer], outgoing.frame);
  }
  output_.clear();
}

void Speaker::publish(Attempt attempt, std::string_view record) {
  outcomes_.publish(attempt, record, now(), output_);
  send();
}

void Speaker::inquire(const LocalGroup::Inquiry& inquiry) {
  if (inquiry.takes_turn) {
    if (wanted_turn_ != inquiry.attempt) {
      wanted_turn_ = inquiry.attempt;
      outcomes_.take_turn(inquiry.attempt, now(), output_);
      send();
    }
    grant_turn();
    return;
  }
  const std::string if_dead = facts_.if_dead(inquiry);
  outcomes_.inquire(inquiry.attempt, inquiry.is_gone, if_dead, now(), output_);
  send();
}

void Speaker::grant_turn() {
  if (!wanted_turn_ || !outcomes_.has_turn(*wanted_turn_)) return;
  local_.grant_turn(*wanted_turn_);
  wanted_turn_.reset();
}

void Speaker::try_to_take_over() {
  if (!is_speaker() && facts_.is_gone(local_.speaker())) take_over();
}

void Speaker::take_over() {
  if (is_speaker() || !local_.replace_speaker(local_.speaker())) return;
  polls_.take_over();
  const auto* const address = reinterpret_cast<const char*>(own_address_.data());
  outcomes_.say_hello({address, own_address_.size()}, local_.succession(), output_);
  send();
  send_left_over();
}

bool Speaker::has_left_over() const {
  const std::vector<node::SectionRing::Record> records = local_.sections().all();
  return std::any_of(records.begin(), records.end(), [this](const auto& record) {
    return !local_.sections().is_released(record.attempt);
  });
}

/// What is in the ring and has not been released is known to no other node for sure.
void Speaker::send_left_over() {
  for (const node::SectionRing::Record& record : local_.sections().all()) {
    if (!local_.sections().is_released(record.attempt)) publish(record.attempt, record.text);
  }
}

bool Speaker::is_settled() const {
  if (!is_speaker() && !facts_.is_gone(local_.speaker())) return true;
  return !outcomes_.is_busy() && !has_left_over();
}

void Speaker::on_frame(const engine::Frame& frame) {
  if (!is_speaker()) return;
  for (engine::Agreement* const agreement : {&polls_.between(), &rolls_.between()}) {
    if (!agreement->is_for(frame.type)) continue;
    const auto from = outcomes_.node_of(frame.sender);
    if (!from || *from == outcomes_.setup().self) return;  // who has said hello says it again
    agreement->receive(*from, frame, now(), output_);
    send();
    return;
  }
  outcomes_.receive(frame, now(), output_);
  send();
  grant_turn();
}

/// Not from within the port's poll, where no transport may be called.
void Speaker::welcome_newcomers() {
  for (const engine::Outcomes::Newcomer& newcomer : outcomes_.take_newcomers()) {
    if (!port_.connect(newcomer.rank, std::as_bytes(std::span(newcomer.address))).ok()) continue;
    log::debug("rank {} speaks for its node now", newcomer.rank);
    outcomes_.welcome(newcomer, now(), output_);
    send();
  }
}

void Speaker::on_lost(Rank rank) {
  const auto node = outcomes_.node_of(rank);
  if (!node) return;
  outcomes_.lose(*node, now(), output_);
  send();
  local_.ring_sections();  // who waits may know more now
}

void Speaker::miss_address_of(Rank rank) {
  if (const auto node = outcomes_.node_of(rank)) outcomes_.miss_address(*node, now(), output_);
  send();
}

bool Speaker::on_idle(Nanos now) {
  // At the end of a job all leave, and nobody has anything to say any more.
  const bool polls_wait = polls_.wants() != engine::AgreementStore::Wish::none;
  if (!is_speaker() && (is_on_duty_ || has_left_over() || polls_wait)) try_to_take_over();
  if (!is_speaker()) return false;
  welcome_newcomers();
  if (const std::uint64_t published = local_.published(); published != published_) {
    published_ = published;
    send_left_over();
  }
  if (const auto inquiry = local_.take_inquiry()) inquire(*inquiry);
  outcomes_.tick(now, output_);
  for (engine::Agreement* const agreement : {&polls_.between(), &rolls_.between()}) {
    agreement->tick(now, output_);
    send();
  }
  grant_turn();
  return outcomes_.is_busy() || polls_.is_busy() || rolls_.is_busy();
}

std::optional<engine::OutcomeStore::Kept> Speaker::find(Attempt attempt) const {
  auto record = local_.sections().find(attempt);
  if (!record) return std::nullopt;
  const bool is_released = local_.sections().is_released(record->attempt);
  return Kept{record->attempt, std::move(record->text), is_released};
}

void Speaker::keep(Attempt attempt, std::string_view record, bool is_decided) {
  local_.sections().keep(attempt, record, is_decided, facts_.is_gone);
  release(attempt);
}

void Speaker::release(Attempt attempt) {
  local_.sections().release(attempt);
  local_.ring_sections();
}

bool Speaker::is_alive(Rank group_rank) const {
  const auto found = std::lower_bound(facts_.here.begin(), facts_.here.end(), group_rank);
  if (found == facts_.here.end() || *found != group_rank) return false;
  return !facts_.is_gone(static_cast<std::uint32_t>(found - facts_.here.begin()));
}

}  // namespace lockstep::progress
