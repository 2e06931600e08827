// What may ask the job to stop, and the trigger without a name that all of it sets.
#include "runtime/session.hpp"

namespace lockstep {

/// Of the job's group, or none.
Status Session::check_is_jobs(const Trigger* trigger) const {
  if (trigger == nullptr || &trigger->owner() == &job_->triggers()) return {};
  return {
      LOCKSTEP_E_INVALID,
      "only triggers of the job's group hear of signals, files and the time, and this one is of "
      "another group; make it with lockstep_session_job()"};
}

Status Session::trigger_on_signal(int signal, Trigger* trigger) {
  Triggers& triggers = job_->triggers();
  if (Status status = check_is_jobs(trigger); !status.ok()) return status;
  if (Status status = watch_.on_signal(signal); !status.ok()) return status;
  triggers.bind(trigger != nullptr ? *trigger : triggers.unnamed(), signal);
  if (identity().rank == 0) adviser_.await(signal);
  return {};
}

Status Session::trigger_on_file(std::string_view path, Trigger& trigger) {
  if (Status status = check_is_jobs(&trigger); !status.ok()) return status;
  return job_->triggers().bind_file(trigger, path);
}

Status Session::trigger_before_end(Nanos margin, Trigger* trigger) {
  if (Status status = check_is_jobs(trigger); !status.ok()) return status;
  Triggers& triggers = job_->triggers();
  triggers.bind_end(trigger != nullptr ? *trigger : triggers.unnamed());
  watch_.before_end(margin);
  return {};
}

Status Session::trigger_on_anything_else(Trigger& trigger) {
  if (Status status = check_is_jobs(&trigger); !status.ok()) return status;
  job_->triggers().bind_rest(trigger);
  return {};
}

void Session::set_trigger() {
  job_->triggers().set(job_->triggers().unnamed());
}

Result<bool> Session::check_trigger(const Call& call) {
  return keep_in_record(job_->triggers().check_unnamed(call));
}

Result<bool> Session::poll_trigger(const Call& call) {
  Triggers& triggers = job_->triggers();
  return keep_in_record(triggers.poll(call, triggers.unnamed()));
}

Result<bool> Session::keep_in_record(Result<bool> fired) {
  if (!fired.ok()) return fired;
  Triggers& triggers = job_->triggers();
  record_.checks = triggers.checks(triggers.unnamed());
  if (*fired) record_.stop = triggers.last(triggers.unnamed());
  return fired;
}

}  // namespace lockstep
