// The C API of sections: one goes first.
#include "runtime/base/copy_text.hpp"
#include "runtime/c_api_support.hpp"

using namespace lockstep;
using namespace lockstep::c_api;

const char* lockstep::c_api::read_section(const lockstep_section_t* section, SectionRules& rules) {
  if (section == nullptr) return nullptr;
  if (section->size != sizeof *section) return "section->size is not sizeof(lockstep_section_t)";
  if (section->policy < LOCKSTEP_PROPAGATE || section->policy > LOCKSTEP_ABORT_JOB) {
    return "section->policy is none of lockstep_policy_t";
  }
  rules.policy = static_cast<lockstep_policy_t>(section->policy);
  rules.has_exit_barrier = section->exit_barrier != 0;
  return nullptr;
}

namespace {

std::int32_t kind_of(engine::OutcomeKind kind) {
  switch (kind) {
    case engine::OutcomeKind::ok:
      return LOCKSTEP_OUTCOME_OK;
    case engine::OutcomeKind::failed:
      return LOCKSTEP_OUTCOME_FAILED;
    case engine::OutcomeKind::dead:
      break;
  }
  return LOCKSTEP_OUTCOME_DEAD;
}

}  // namespace

extern "C" {

lockstep_status_t lockstep_first_begin(lockstep_group_t group, const lockstep_section_t* section,
                                       const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  SectionRules rules;
  if (const char* const wrong = read_section(section, rules)) return invalid(wrong);
  return guard(
      [&] { return pass_on(of(group)->first_begin(make_call(Operation::first, call), rules)); });
}

int lockstep_is_first(lockstep_group_t group) {
  return is_live(group) && of(group)->is_first();
}

lockstep_status_t lockstep_first_end(lockstep_group_t group) {
  if (!is_live(group)) return refuse(group);
  return guard([&] { return pass_on(of(group)->first_end()); });
}

lockstep_status_t lockstep_first_fail(lockstep_group_t group, const char* type, const char* text) {
  if (!is_live(group)) return refuse(group);
  return guard([&] {
    return pass_on(of(group)->first_fail(type != nullptr ? type : "", text != nullptr ? text : ""));
  });
}

lockstep_status_t lockstep_last_outcome(lockstep_group_t group, lockstep_outcome_t* outcome_p) {
  if (!is_live(group)) return refuse(group);
  if (outcome_p == nullptr || outcome_p->size != sizeof *outcome_p) {
    return invalid("outcome_p is NULL, or its size is not sizeof(lockstep_outcome_t)");
  }
  return guard([&] {
    const auto& end = of(group)->section_end();
    if (!end) return keep({LOCKSTEP_E_STATE, "no section of this group has ended yet"});
    const bootstrap::Identity& identity = of(group)->around().identity;
    const Rank first = end->outcome.first;
    outcome_p->kind = kind_of(end->outcome.kind);
    outcome_p->rank = first;
    outcome_p->attempts = end->attempt.number + 1;
    copy_text(outcome_p->host,
              first < identity.size ? identity.hosts[identity.node_of[first]] : std::string());
    copy_text(outcome_p->site, end->outcome.site);
    copy_text(outcome_p->type, end->outcome.type);
    copy_text(outcome_p->text, end->outcome.text);
    return LOCKSTEP_OK;
  });
}

}  // extern "C"
