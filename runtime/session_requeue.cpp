// Whether the job is to run again: decided together, carried out when everybody has left.
#include "runtime/collect.hpp"
#include "runtime/lifecycle/scheduler.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

// Bits of the round's word.
constexpr std::uint64_t kWanted = 1;
constexpr std::uint64_t kVetoed = 2;
constexpr std::uint64_t kHasScheduler = 4;  // of the main process, which would ask it

std::uint64_t bit_of(lockstep_requeue_t wish) {
  switch (wish) {
    case LOCKSTEP_REQUEUE_WANTED:
      return kWanted;
    case LOCKSTEP_REQUEUE_NEVER:
      return kVetoed;
    case LOCKSTEP_REQUEUE_NO_OPINION:
      break;
  }
  return 0;
}

}  // namespace

Result<bool> Session::decide_requeue(const Call& call, lockstep_requeue_t wish,
                                     const std::string& why) {
  const Rank self = identity().rank;
  const std::uint64_t mine = bit_of(wish);
  const bool speaks = self == 0 && !record_.slurm_job.empty();
  node::Words all;
  if (Status status = job_->round(call, {mine | (speaks ? kHasScheduler : 0), {}}, &all);
      !status.ok()) {
    return status;
  }
  record_.requeue.reset();
  const std::uint64_t verdict = (all.word & kVetoed) != 0 ? kVetoed : all.word & kWanted;
  if (verdict == 0) return false;

  Result<Rank> rank = lowest(*job_, call, (mine & verdict) != 0);
  if (!rank.ok()) return rank.status();
  RequeueDecision decision{verdict == kWanted, *rank, {}, {}};
  auto text = broadcast(*job_, call, decision.rank, std::as_bytes(std::span(why)));
  if (!text.ok()) return text.status();
  decision.text.assign(reinterpret_cast<const char*>(text->data()), text->size());
  const bool has_scheduler = (all.word & kHasScheduler) != 0;
  if (!has_scheduler) decision.error = "the job was not started by Slurm";
  record_.requeue = decision;
  return decision.is_wanted && has_scheduler;
}

void Session::carry_out_requeue() {
  RequeueDecision& decision = *record_.requeue;
  if (!decision.error.empty()) return;
  // Slurm ends what still runs: nobody may be in the middle of saving.
  if (decision.is_wanted) {
    const Call call{Operation::requeue, "everybody leaves"};
    if (Status status = job_->round(call); !status.ok()) {
      if (identity().rank == 0) log::warn("queued again all the same: {}", status.text());
    }
  }
  if (identity().rank != 0) return;
  constexpr Nanos kPatience = 20 * kSecond;
  const std::string& job = record_.slurm_job;
  // Before, since this process may not live to write it afterwards.
  if (decision.is_wanted) write_record();
  const Status status = decision.is_wanted ? lifecycle::requeue(job, kPatience)
                                           : lifecycle::forbid_requeue(job, kPatience);
  if (status.ok()) return;
  decision.error = status.text();
  if (decision.is_wanted) {
    log::warn("job {} is not queued again: {}", job, decision.error);
  } else {
    log::warn("job {} may still be queued again by Slurm: {}", job, decision.error);
  }
}

}  // namespace lockstep
