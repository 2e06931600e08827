// What the files of the C API share: handles, the thread's last error, the exception border.
#pragma once

#include <atomic>
#include <exception>
#include <new>

#include "lockstep/lockstep.h"
#include "runtime/session.hpp"

namespace lockstep::c_api {

inline Session* of(lockstep_session_t handle) {
  return reinterpret_cast<Session*>(handle);
}
inline Group* of(lockstep_group_t handle) {
  return reinterpret_cast<Group*>(handle);
}
inline lockstep_session_t handle_of(Session* session) {
  return reinterpret_cast<lockstep_session_t>(session);
}
inline lockstep_group_t handle_of(Group* group) {
  return reinterpret_cast<lockstep_group_t>(group);
}

/// The session that this process is in: there is one at most. None in a fork of a rank.
extern std::atomic<Session*> the_session;

inline bool is_live(lockstep_session_t handle) noexcept {
  return handle != nullptr && of(handle) == the_session.load(std::memory_order_acquire);
}
/// Groups live as long as their session.
inline bool is_live(lockstep_group_t handle) noexcept {
  return handle != nullptr && the_session.load(std::memory_order_acquire) != nullptr;
}

/// Why a handle is not live, kept for lockstep_last_error().
lockstep_status_t refuse(const void* handle);

inline Trigger* of(lockstep_trigger_t handle) {
  return reinterpret_cast<Trigger*>(handle);
}
/// Triggers live as long as their group.
inline bool is_live(lockstep_trigger_t handle) {
  return handle != nullptr && the_session.load(std::memory_order_acquire) != nullptr;
}
lockstep_status_t refuse_trigger(lockstep_trigger_t handle);

/// Keeps the failure for lockstep_last_error() and returns its code.
lockstep_status_t keep(const Status& status);
lockstep_status_t invalid(const char* what);

/// What a collective call says: a failure is kept, "again" is none.
inline lockstep_status_t pass_on(const Status& status) {
  if (status.ok()) return LOCKSTEP_OK;
  return status.is(LOCKSTEP_AGAIN) ? LOCKSTEP_AGAIN : keep(status);
}

inline constexpr const char* kBadTimeout =
    "timeout_ns is negative; use LOCKSTEP_DEFAULT, LOCKSTEP_FOREVER or a positive number";

inline bool is_bad_timeout(const lockstep_call_t* call) {
  return call != nullptr && call->timeout_ns < LOCKSTEP_FOREVER;
}

/// Reads the user's section; what is wrong with it, or nullptr.
const char* read_section(const lockstep_section_t* section, SectionRules& rules);

/// The user's call as the runtime's.
Call make_call(Operation operation, const lockstep_call_t* call);

/// A copy that lockstep_free() gives back, with a NUL behind it; NULL when memory is short.
void* copy_out(const void* bytes, std::size_t length);

/// Text for the caller, or why there is none.
lockstep_status_t give_text(const Result<std::string>& text, char** text_p);

/// No exception crosses the C API.
template <class Body>
lockstep_status_t guard(Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return keep({LOCKSTEP_E_RESOURCE, "out of memory"});
  } catch (const std::exception& error) {
    return keep({LOCKSTEP_E_RESOURCE, error.what()});
  }
}

}  // namespace lockstep::c_api
