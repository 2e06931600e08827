// The C API of scopes and of "at most k at a time": checks arguments, passes on.
#include <string>

#include "lockstep/scopes.h"
#include "runtime/at_most.hpp"
#include "runtime/c_api_support.hpp"

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_group_of(lockstep_group_t parent, lockstep_scope_t scope,
                                    const char* path, const lockstep_call_t* call,
                                    lockstep_group_t* group_p, uint32_t* count_p) {
  if (!is_live(parent)) return refuse(parent);
  if (group_p == nullptr) return invalid("group_p is NULL");
  if (scope < LOCKSTEP_PER_JOB || scope > LOCKSTEP_PER_FILE_SYSTEM) return invalid("no such scope");
  if (scope == LOCKSTEP_PER_FILE_SYSTEM && (path == nullptr || *path == '\0')) {
    return invalid("a file system is that of a path, and the path is empty");
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const std::string text = scope == LOCKSTEP_PER_FILE_SYSTEM ? path : "";
    Result<Scopes::Part> part = the_session.load()->scopes().part_of(
        *of(parent), scope, text, make_call(Operation::scope, call));
    if (!part.ok()) return keep(part.status());
    *group_p = handle_of(part->group);
    if (count_p != nullptr) *count_p = part->count;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_at_most_begin(lockstep_group_t group, uint32_t k,
                                         const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (k == 0) return invalid("at most 0 at a time is nobody, ever: k must be 1 or more");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard(
      [&] { return pass_on(at_most_begin(*of(group), k, make_call(Operation::at_most, call))); });
}

lockstep_status_t lockstep_at_most_end(lockstep_group_t group, const char* failure) {
  if (!is_live(group)) return refuse(group);
  return guard([&] { return pass_on(at_most_end(*of(group), failure)); });
}

}  // extern "C"
