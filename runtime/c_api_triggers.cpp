// The C API of named triggers: checks arguments, passes on.
#include <string>

#include "lockstep/triggers.h"
#include "runtime/c_api_support.hpp"
#include "runtime/triggers.hpp"

namespace lockstep::c_api {
namespace {

/// Reads the user's options; what is wrong with them, or nullptr. Policies and the like: later.
const char* read_options(const lockstep_trigger_options_t* options, std::uint32_t group_size,
                         trigger::Rules& rules) {
  if (options == nullptr) return nullptr;
  if (options->size != sizeof *options) {
    return "the options' size is not sizeof(lockstep_trigger_options_t)";
  }
  const auto fits = [](std::int32_t number) { return number >= 0 && number <= UINT8_MAX; };
  if (!fits(options->policy)) return "policy is none of lockstep_trigger_policy_t";
  if (!fits(options->combine)) return "combine is none of lockstep_trigger_combine_t";
  rules.policy = static_cast<trigger::Policy>(options->policy);
  rules.combine = static_cast<trigger::Combine>(options->combine);
  if (rules.policy != trigger::Policy::quorum) return nullptr;
  rules.quorum = options->quorum;
  const bool is_fraction = options->fraction > 0 && options->fraction <= 1;
  if (rules.quorum == 0 && is_fraction) {
    rules.quorum = trigger::members_of(options->fraction, group_size);
  }
  return nullptr;
}

}  // namespace
}  // namespace lockstep::c_api

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_trigger_open(lockstep_group_t group, const char* name,
                                        const lockstep_trigger_options_t* options,
                                        lockstep_trigger_t* trigger_p) {
  if (!is_live(group)) return refuse(group);
  if (name == nullptr || trigger_p == nullptr) return invalid("name or trigger_p is NULL");
  trigger::Rules rules;
  if (const char* const wrong = read_options(options, c_api::of(group)->size(), rules)) {
    return invalid(wrong);
  }
  return guard([&] {
    const Result<Trigger*> trigger = c_api::of(group)->triggers().open(name, rules);
    if (!trigger.ok()) return keep(trigger.status());
    *trigger_p = reinterpret_cast<lockstep_trigger_t>(trigger.value());
    return LOCKSTEP_OK;
  });
}

void lockstep_trigger_close(lockstep_trigger_t trigger) {
  if (is_live(trigger)) of(trigger)->owner().close(*of(trigger));
}

lockstep_status_t lockstep_trigger_set(lockstep_trigger_t trigger,
                                       const lockstep_trigger_cause_t* cause) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (cause != nullptr && cause->size != sizeof *cause) {
    return invalid("the cause's size is not sizeof(lockstep_trigger_cause_t)");
  }
  return guard([&] {
    TriggerCause made;
    std::string site;
    if (cause != nullptr) {
      site = place_text(cause->file, cause->line);
      made = {cause->reason != nullptr ? cause->reason : "", cause->value, cause->step, site};
    }
    of(trigger)->owner().set(*of(trigger), made);
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_trigger_check(const lockstep_trigger_t* triggers, size_t count,
                                         const lockstep_call_t* call, int* fired_p) {
  if (triggers == nullptr || count == 0 || fired_p == nullptr) {
    return invalid("triggers or fired_p is NULL, or there are none");
  }
  if (!is_live(triggers[0])) return refuse_trigger(triggers[0]);
  const std::span all(reinterpret_cast<Trigger* const*>(triggers), count);
  Triggers& owner = all[0]->owner();
  if (!owner.checks_again(all)) {  // loops check the same ones each time
    for (size_t i = 1; i < count; ++i) {
      if (!is_live(triggers[i])) return refuse_trigger(triggers[i]);
      if (&all[i]->owner() != &owner) {
        return invalid("triggers of several groups in one check; check each group's by themselves");
      }
    }
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    return pass_on(owner.check(make_call(Operation::check, call), all, {fired_p, count}));
  });
}

lockstep_status_t lockstep_trigger_poll(lockstep_trigger_t trigger, const lockstep_call_t* call,
                                        int* fired_p) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (fired_p == nullptr) return invalid("fired_p is NULL");
  if (of(trigger)->owner().poll_quickly(*of(trigger))) {
    *fired_p = 0;
    return LOCKSTEP_OK;
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([=] {  // a reference would make the quick poll write its arguments to memory
    const Result<bool> fired =
        of(trigger)->owner().poll(make_call(Operation::poll, call), *of(trigger));
    if (!fired.ok()) return keep(fired.status());
    *fired_p = fired.value() ? 1 : 0;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_trigger_last(lockstep_trigger_t trigger,
                                        lockstep_trigger_report_t* report_p) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (report_p == nullptr || report_p->size != sizeof *report_p) {
    return invalid("report_p is NULL, or its size is not sizeof(lockstep_trigger_report_t)");
  }
  return guard([&] {
    const auto report = of(trigger)->owner().last(*of(trigger));
    if (!report) return keep({LOCKSTEP_E_STATE, "no trigger has fired yet"});
    *report_p = *report;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_trigger_bind_loss(lockstep_trigger_t trigger) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  of(trigger)->owner().bind_loss(*of(trigger));
  return LOCKSTEP_OK;
}

lockstep_status_t lockstep_trigger_bind_signal(lockstep_trigger_t trigger, int signal) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  return guard([&] { return pass_on(the_session.load()->trigger_on_signal(signal, of(trigger))); });
}

lockstep_status_t lockstep_trigger_bind_file(lockstep_trigger_t trigger, const char* path) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (path == nullptr) return invalid("path is NULL");
  return guard([&] { return pass_on(the_session.load()->trigger_on_file(path, *of(trigger))); });
}

lockstep_status_t lockstep_trigger_bind_end(lockstep_trigger_t trigger, int64_t margin_ns) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (margin_ns < 0) return invalid("margin_ns is negative");
  return guard(
      [&] { return pass_on(the_session.load()->trigger_before_end(margin_ns, of(trigger))); });
}

lockstep_status_t lockstep_trigger_bind_rest(lockstep_trigger_t trigger) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  return guard([&] { return pass_on(the_session.load()->trigger_on_anything_else(*of(trigger))); });
}

lockstep_status_t lockstep_trigger_bind_word(lockstep_trigger_t trigger, uint64_t* word) {
  if (!is_live(trigger)) return refuse_trigger(trigger);
  if (reinterpret_cast<std::uintptr_t>(word) % alignof(std::uint64_t) != 0) {
    return invalid("the word is not aligned: it is a uint64_t, and its address a multiple of 8");
  }
  return guard([&] {
    of(trigger)->owner().bind_word(*of(trigger), word);
    return LOCKSTEP_OK;
  });
}

}  // extern "C"
