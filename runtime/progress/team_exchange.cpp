// Packs a contribution into one vector for the plugin's OR, and reads the result.
#include "runtime/progress/team_exchange.hpp"

#include <cstring>

#include <fmt/format.h>

namespace lockstep::progress {

Result<std::unique_ptr<TeamExchange>> TeamExchange::open(Port& port, engine::Exchange::Setup setup,
                                                         const engine::LocalViewSource& local) {
  std::unique_ptr<TeamExchange> made(new TeamExchange(port, std::move(setup), local));
  const std::vector<Rank>& leaders = made->setup_.leaders;
  const lockstep_status_t status = port.group_operation()->prepare(
      port.self(), made->setup_.group, leaders.data(), leaders.size(), &made->team_);
  if (status != LOCKSTEP_OK) {
    return Status(LOCKSTEP_E_TRANSPORT, fmt::format("{} cannot serve a group of {} nodes",
                                                    port.plugin().name, leaders.size()));
  }
  return made;
}

TeamExchange::~TeamExchange() {
  if (team_ != nullptr) port_.group_operation()->release(port_.self(), team_);
}

TeamExchange::Head TeamExchange::head() const {
  Head head;
  std::memcpy(&head, buffer_.data(), sizeof head);
  return head;
}

std::uint64_t TeamExchange::word() const {
  return head().word;
}

std::span<const std::byte> TeamExchange::vector() const {
  return std::span(buffer_).subspan(sizeof(Head), length_);
}

void TeamExchange::start(Epoch epoch, const engine::Contribution& mine) {
  if (state_ == engine::ExchangeState::broken) return;
  epoch_ = epoch;
  length_ = mine.vector.size();
  const Head head{mine.word, mine.signature, ~mine.signature, 0, 0};
  std::memcpy(buffer_.data(), &head, sizeof head);
  if (length_ > 0) std::memcpy(buffer_.data() + sizeof head, mine.vector.data(), length_);
  // Members in different calls may bring vectors of different lengths; the operation needs one.
  std::memset(buffer_.data() + sizeof head + length_, 0, LOCKSTEP_VECTOR_MAX - length_);
  const lockstep_status_t status =
      port_.group_operation()->start(port_.self(), team_, buffer_.data(), buffer_.size());
  if (status != LOCKSTEP_OK) {
    break_now(loss(epoch, "start a round between nodes", status));
    return;
  }
  state_ = engine::ExchangeState::open;
}

engine::Verdict TeamExchange::loss(Epoch epoch, std::string_view what,
                                   lockstep_status_t status) const {
  return {LOCKSTEP_E_LOST,
          epoch,
          {},
          fmt::format("{} could not {} (status {}) and does not say which rank is at fault",
                      port_.plugin().name, what, static_cast<int>(status))};
}

engine::ExchangeState TeamExchange::poll(Nanos) {
  if (state_ != engine::ExchangeState::open) return state_;
  const lockstep_status_t status =
      port_.group_operation()->test(port_.self(), team_, buffer_.data(), buffer_.size());
  if (status == LOCKSTEP_AGAIN) return state_;
  if (status != LOCKSTEP_OK) {
    break_now(loss(epoch_, "finish the round between nodes", status));
  } else if ((head().signature & head().signature_complement) != 0) {
    break_now({LOCKSTEP_E_MISMATCH,
               epoch_,
               {},
               local_.local_view(epoch_).site + ", but another node is in a different call"});
  } else {
    state_ = engine::ExchangeState::complete;
  }
  return state_;
}

void TeamExchange::expire(Epoch epoch, Nanos) {
  if (state_ == engine::ExchangeState::complete && epoch <= epoch_) return;
  engine::LocalView view = local_.local_view(epoch);
  std::string text;
  if (view.missing.empty()) {
    // Nobody of ours: it must be somebody elsewhere, and pmix_fence has no way to ask whom.
    for (NodeIndex node = 0; node < setup_.members.size(); ++node) {
      if (node != setup_.self) view.missing.merge(setup_.members[node]);
    }
    text = fmt::format("some or all of these; {} cannot tell which", port_.plugin().name);
  }
  break_now({LOCKSTEP_E_DEADLINE, epoch, std::move(view.missing), std::move(text)});
}

void TeamExchange::fail(engine::Verdict verdict) {
  break_now(std::move(verdict));
}

void TeamExchange::break_now(engine::Verdict verdict) {
  if (state_ == engine::ExchangeState::broken) return;
  verdict_ = std::move(verdict);
  state_ = engine::ExchangeState::broken;
}

}  // namespace lockstep::progress
