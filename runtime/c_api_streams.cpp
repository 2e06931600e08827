// The C API of work on GPUs: checks arguments, passes on.
#include "lockstep/streams.h"
#include "runtime/c_api_support.hpp"
#include "runtime/wait_on_streams.hpp"

using namespace lockstep;
using namespace lockstep::c_api;

static_assert(LOCKSTEP_STREAMS_MAX == LOCKSTEP_GPU_STREAMS_MAX);

extern "C" {

lockstep_status_t lockstep_wait_for_everyone_on(lockstep_group_t group, void* const* streams,
                                                uint32_t count, const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (streams == nullptr && count != 0) return invalid("streams is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    if (count > LOCKSTEP_STREAMS_MAX) {
      return keep({LOCKSTEP_E_LIMIT,
                   "more than 64 streams at once (LOCKSTEP_STREAMS_MAX); wait for "
                   "them in several calls"});
    }
    return pass_on(wait_for_everyone_on(the_session.load()->gpus(), *of(group), {streams, count},
                                        make_call(Operation::wait_for_everyone_on, call)));
  });
}

}  // extern "C"
