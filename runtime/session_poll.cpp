// Polls of the trigger: free while nothing is set, a check where all meet.
#include "runtime/lifecycle/signals.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

/// How late the time limit, or somebody outside, may be noticed.
constexpr Nanos kLookPause = 100 * kMillisecond;

}  // namespace

void Session::set_trigger() {
  watch_.raise();
  job_->want_meeting();
}

Result<bool> Session::poll_trigger(const Call& call) {
  if (job_->poll_number() == 1) start_polling();
  Result<bool> meets = job_->meets(call);
  if (!meets.ok() || !*meets) return meets;
  Result<bool> fired = check_trigger(call);
  if (fired.ok()) job_->has_met();
  return fired;
}

/// Who polls looks at one word only: whatever there is to tell has to change that.
void Session::start_polling() {
  lifecycle::tell_of_signals([](void* job) { static_cast<Group*>(job)->want_meeting(); },
                             job_.get());
  // What came before is told in a first meeting.
  if (watch_.has_news()) job_->want_meeting();
  const bool keeps_watch = identity().rank == 0;
  if (!keeps_watch && !job_->is_speaker()) return;
  lookout_ = std::make_unique<progress::Lookout>(
      job_->call_for_meeting(), keeps_watch ? kLookPause : kNever, [this, keeps_watch] {
        if (keeps_watch && watch_.has_news()) job_->want_meeting();
        if (job_->is_meeting_wanted() && port_ != nullptr) port_->hand_over();
      });
}

}  // namespace lockstep
