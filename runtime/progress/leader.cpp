// Gather, exchange, release; and what a leader answers while its own thread is elsewhere.
#include "runtime/progress/leader.hpp"

#include <fmt/format.h>

#include "runtime/progress/frame_exchange.hpp"
#include "runtime/progress/team_exchange.hpp"

namespace lockstep::progress {

Leader::Leader(Port& port, node::LocalGroup& local, std::vector<Rank> ranks, GroupId group)
    : port_(port), local_(local), ranks_(std::move(ranks)), group_(group) {}

Result<std::unique_ptr<Leader>> Leader::open(Port& port, node::LocalGroup& local,
                                             std::vector<Rank> ranks,
                                             engine::Exchange::Setup setup) {
  std::unique_ptr<Leader> leader(new Leader(port, local, std::move(ranks), setup.group));
  if (port.has_frames()) {
    leader->between_ = std::make_unique<FrameExchange>(port, std::move(setup), *leader);
  } else {
    Result<std::unique_ptr<TeamExchange>> team =
        TeamExchange::open(port, std::move(setup), *leader);
    if (!team.ok()) return team.status();
    leader->between_ = std::move(*team);
  }
  std::lock_guard lock(port.mutex());
  port.listen(leader->group_, leader.get());
  return leader;
}

Leader::~Leader() {
  std::lock_guard lock(port_.mutex());
  if (between_ != nullptr) between_->leave();
  port_.unlisten(group_);
}

void Leader::start_exchange() {
  node::Words mine;
  const auto odd_one = local_.combine(mine);
  exchanging_ = open_;
  if (odd_one) {
    engine::Verdict verdict;
    verdict.cause = LOCKSTEP_E_MISMATCH;
    verdict.epoch = open_;
    verdict.text = fmt::format("rank {} at {}, but rank {} at {}", ranks_[0], local_.site_of(0),
                               ranks_[*odd_one], local_.site_of(*odd_one));
    between_->fail(std::move(verdict));
    return;
  }
  between_->start(open_, {mine.word, mine.vector, local_.signature_of(0), 0});
}

void Leader::advance(Nanos now) {
  if (open_ != 0 && exchanging_ != open_ && local_.is_gathered(open_)) start_exchange();
  settle(between_->poll(now));
}

void Leader::settle(engine::ExchangeState state) {
  if (state == engine::ExchangeState::broken) {
    if (local_.is_broken()) return;
    // The claim fails only if members here have given up on a leader that was away: same end.
    if (local_.claim(finished_ + 1)) {
      local_.break_with(engine::encode_verdict(between_->verdict()));
    }
    open_ = 0;
  } else if (state == engine::ExchangeState::complete && open_ != 0 && exchanging_ == open_) {
    const Epoch epoch = open_;
    if (local_.claim(epoch)) {
      local_.release(epoch, {between_->word(), between_->vector()});
      finished_ = epoch;
    }
    open_ = 0;
  }
}

void Leader::expire(Epoch epoch, Nanos now) {
  if (epoch <= finished_) return;
  between_->expire(epoch, now);
  settle(between_->poll(now));
}

void Leader::fail(engine::Verdict verdict) {
  between_->fail(std::move(verdict));
  settle(engine::ExchangeState::broken);
}

void Leader::on_frame(const engine::Frame& frame) {
  const Nanos time = now();
  between_->receive(frame, time);
  advance(time);
}

void Leader::on_lost(Rank rank) {
  const Nanos time = now();
  between_->lose(rank, time);
  settle(between_->poll(time));
}

bool Leader::on_idle(Nanos now) {
  if (local_.is_broken()) return false;
  const Epoch expired = local_.expired();
  if (expired > finished_) expire(expired, now);
  advance(now);
  // A round that somebody here has entered may complete any moment.
  return open_ != 0;
}

engine::LocalView Leader::local_view(Epoch epoch) const {
  engine::LocalView view;
  for (std::uint32_t member = 0; member < local_.size(); ++member) {
    if (local_.entered(member) < epoch) {
      view.missing.append(ranks_[member]);
    } else if (view.signature == 0) {
      view.signature = local_.signature_of(member);
      view.site = fmt::format("rank {} at {}", ranks_[member], local_.site_of(member));
    }
  }
  return view;
}

}  // namespace lockstep::progress
