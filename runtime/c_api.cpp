// The C API of sessions, groups, rounds, sections and the trigger: checks arguments, passes on.
#include "runtime/c_api_support.hpp"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "runtime/collect.hpp"

namespace lockstep::c_api {
namespace {

thread_local std::string last_text;                    // NOLINT: the documented per-thread detail
thread_local std::vector<std::uint32_t> last_missing;  // NOLINT
std::atomic<bool> is_fork{false};                      // of a process that was in a session

/// A fork has the rank's memory and descriptors: its calls would count as the rank's, and its
/// leaving as the rank's end.
void forget_session_in_fork() {
  if (the_session.exchange(nullptr) != nullptr) is_fork.store(true);
}

void watch_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_session_in_fork);
  (void)registered;
}

}  // namespace

std::atomic<Session*> the_session{nullptr};

lockstep_status_t refuse(const void* handle) {
  if (handle == nullptr) {
    return keep(
        {LOCKSTEP_E_INVALID, "the session or group is NULL; call lockstep_session_join first"});
  }
  return keep({LOCKSTEP_E_STATE, is_fork.load() ? "this process is a fork of a rank, and no rank"
                                                : "this process has left the session"});
}

lockstep_status_t refuse_trigger(lockstep_trigger_t handle) {
  if (handle == nullptr) return invalid("the trigger is NULL; call lockstep_trigger_open first");
  return refuse(handle);
}

lockstep_status_t keep(const Status& status) {
  last_text = status.text();
  last_missing = status.missing();
  return status.code();
}

lockstep_status_t invalid(const char* what) {
  return keep({LOCKSTEP_E_INVALID, what});
}

Call make_call(Operation operation, const lockstep_call_t* call) {
  Call made{operation};
  if (call == nullptr) return made;
  made.name = call->name;
  made.file = call->file;
  made.line = call->line;
  if (call->timeout_ns == LOCKSTEP_FOREVER) {
    made.timeout = kNever;
  } else if (call->timeout_ns > 0) {
    made.timeout = call->timeout_ns;
  }
  return made;
}

lockstep_status_t give_text(const Result<std::string>& text, char** text_p) {
  if (!text.ok()) return keep(text.status());
  *text_p = static_cast<char*>(copy_out(text.value().data(), text.value().size()));
  return *text_p != nullptr ? LOCKSTEP_OK : keep({LOCKSTEP_E_RESOURCE, "out of memory"});
}

void* copy_out(const void* bytes, std::size_t length) {
  auto* const memory = static_cast<char*>(std::malloc(length + 1));
  if (memory == nullptr) return nullptr;
  if (length > 0) std::memcpy(memory, bytes, length);
  memory[length] = '\0';
  return memory;
}

namespace {

constexpr std::size_t kReasonTextMax = LOCKSTEP_REASON_TEXT_MAX - 1;

}  // namespace
}  // namespace lockstep::c_api

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

const char* lockstep_last_error(void) {
  return last_text.c_str();
}

size_t lockstep_last_missing(uint32_t* ranks, size_t capacity) {
  for (size_t i = 0; i < capacity && i < last_missing.size(); ++i) ranks[i] = last_missing[i];
  return last_missing.size();
}

const char* lockstep_status_name(lockstep_status_t status) {
  switch (status) {
    case LOCKSTEP_OK:
      return "ok";
    case LOCKSTEP_AGAIN:
      return "again";
    case LOCKSTEP_E_INVALID:
      return "invalid";
    case LOCKSTEP_E_BUSY:
      return "busy";
    case LOCKSTEP_E_STATE:
      return "state";
    case LOCKSTEP_E_LIMIT:
      return "limit";
    case LOCKSTEP_E_RESOURCE:
      return "resource";
    case LOCKSTEP_E_IO:
      return "io";
    case LOCKSTEP_E_UNSUPPORTED:
      return "unsupported";
    case LOCKSTEP_E_PEER:
      return "peer";
    case LOCKSTEP_E_FIRST_FAILED:
      return "first failed";
    case LOCKSTEP_E_DEADLINE:
      return "deadline";
    case LOCKSTEP_E_MISMATCH:
      return "mismatch";
    case LOCKSTEP_E_LOST:
      return "lost";
    case LOCKSTEP_E_CONFIG:
      return "config";
    case LOCKSTEP_E_IDENTITY:
      return "identity";
    case LOCKSTEP_E_BOOTSTRAP:
      return "bootstrap";
    case LOCKSTEP_E_TRANSPORT:
      return "transport";
  }
  return "unknown";
}

#define LOCKSTEP_TEXT_OF(x) #x
#define LOCKSTEP_TEXT(x) LOCKSTEP_TEXT_OF(x)
const char* lockstep_version(void) {
  return LOCKSTEP_TEXT(LOCKSTEP_VERSION_MAJOR) "." LOCKSTEP_TEXT(
      LOCKSTEP_VERSION_MINOR) "." LOCKSTEP_TEXT(LOCKSTEP_VERSION_PATCH);
}

lockstep_status_t lockstep_session_join(lockstep_session_t* session_p) {
  if (session_p == nullptr) return invalid("session_p is NULL");
  return guard([&] {
    if (is_fork.load()) {
      return keep({LOCKSTEP_E_STATE,
                   "this process is a fork of a rank, and no rank: only what was started as one "
                   "can join"});
    }
    if (the_session.load() != nullptr) {
      return keep({LOCKSTEP_E_STATE, "this process has a session already; leave it first"});
    }
    Result<std::unique_ptr<Session>> session = Session::join();
    if (!session.ok()) return keep(session.status());
    the_session.store(session->get());
    watch_forks();
    *session_p = handle_of(session->release());
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_session_leave(lockstep_session_t session) {
  if (session == nullptr) return LOCKSTEP_OK;
  if (!is_live(session)) return refuse(session);
  return guard([&] {
    // From here on other threads' calls are refused, and not left to the memory's next owner.
    the_session.store(nullptr);
    delete of(session);
    return LOCKSTEP_OK;
  });
}

uint32_t lockstep_session_rank(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return of(session)->identity().rank;
}
uint32_t lockstep_session_size(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return of(session)->identity().size;
}
uint32_t lockstep_session_local_rank(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return of(session)->local_rank();
}
uint32_t lockstep_session_local_size(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return of(session)->local_size();
}
uint32_t lockstep_session_node(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return of(session)->identity().node();
}
uint32_t lockstep_session_node_count(lockstep_session_t session) {
  if (!is_live(session)) return UINT32_MAX;
  return static_cast<uint32_t>(of(session)->identity().hosts.size());
}

const char* lockstep_session_host(lockstep_session_t session, uint32_t rank) {
  if (!is_live(session)) return nullptr;
  const bootstrap::Identity& identity = of(session)->identity();
  return rank < identity.size ? identity.hosts[identity.node_of[rank]].c_str() : nullptr;
}

uint32_t lockstep_session_restarts(lockstep_session_t session) {
  return is_live(session) ? of(session)->restarts() : UINT32_MAX;
}

int lockstep_is_main_process(lockstep_session_t session) {
  return is_live(session) && of(session)->identity().rank == 0;
}
int lockstep_is_local_main_process(lockstep_session_t session) {
  return is_live(session) && of(session)->local_rank() == 0;
}
int lockstep_is_last_process(lockstep_session_t session) {
  if (!is_live(session)) return 0;
  const bootstrap::Identity& identity = of(session)->identity();
  return identity.rank + 1 == identity.size;
}

lockstep_status_t lockstep_session_counter(lockstep_session_t session, const char* name,
                                           uint64_t* value_p) {
  if (!is_live(session)) return refuse(session);
  if (name == nullptr || value_p == nullptr) return invalid("name or value_p is NULL");
  const auto value = of(session)->counters().find(name);
  if (!value) return keep({LOCKSTEP_E_INVALID, std::string("there is no counter ") + name});
  *value_p = *value;
  return LOCKSTEP_OK;
}

lockstep_group_t lockstep_session_job(lockstep_session_t session) {
  return is_live(session) ? handle_of(&of(session)->job()) : nullptr;
}
lockstep_group_t lockstep_session_local(lockstep_session_t session) {
  return is_live(session) ? handle_of(&of(session)->local()) : nullptr;
}

lockstep_status_t lockstep_group_split(lockstep_group_t parent, uint32_t colour,
                                       const lockstep_call_t* call, lockstep_group_t* group_p) {
  if (!is_live(parent)) return refuse(parent);
  if (group_p == nullptr) return invalid("group_p is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    Session& session = *the_session.load();
    Result<Group*> group = session.split(*of(parent), colour, make_call(Operation::split, call));
    if (!group.ok()) return keep(group.status());
    *group_p = handle_of(*group);
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_group_shrink(lockstep_group_t group, const lockstep_call_t* call,
                                        lockstep_group_t* group_p) {
  if (!is_live(group)) return refuse(group);
  if (group_p == nullptr) return invalid("group_p is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    Session& session = *the_session.load();
    Result<Group*> left = session.shrink(*of(group), make_call(Operation::shrink, call));
    if (!left.ok()) return keep(left.status());
    *group_p = handle_of(*left);
    return LOCKSTEP_OK;
  });
}

void lockstep_group_free(lockstep_group_t group) {
  Session* const session = the_session.load();
  if (group != nullptr && session != nullptr) session->free(of(group));
}

uint32_t lockstep_group_rank(lockstep_group_t group) {
  if (!is_live(group)) return UINT32_MAX;
  return of(group)->rank();
}
uint32_t lockstep_group_size(lockstep_group_t group) {
  if (!is_live(group)) return UINT32_MAX;
  return of(group)->size();
}
uint32_t lockstep_group_member(lockstep_group_t group, uint32_t group_rank) {
  if (!is_live(group)) return UINT32_MAX;
  return group_rank < of(group)->size() ? of(group)->ranks()[group_rank] : UINT32_MAX;
}

lockstep_status_t lockstep_wait_for_everyone(lockstep_group_t group, const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard(
      [&] { return pass_on(of(group)->round(make_call(Operation::wait_for_everyone, call))); });
}

lockstep_status_t lockstep_arrive(lockstep_group_t group, const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    return pass_on(of(group)->arrive(make_call(Operation::wait_for_everyone, call), {}, now()));
  });
}

lockstep_status_t lockstep_test(lockstep_group_t group) {
  if (!is_live(group)) return refuse(group);
  return guard([&] { return pass_on(of(group)->test()); });
}

lockstep_status_t lockstep_wait(lockstep_group_t group) {
  if (!is_live(group)) return refuse(group);
  return guard([&] { return pass_on(of(group)->wait()); });
}

lockstep_status_t lockstep_set_trigger(lockstep_session_t session) {
  if (!is_live(session)) return refuse(session);
  return guard([&] {
    of(session)->set_trigger();
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_check_trigger(lockstep_session_t session, const lockstep_call_t* call,
                                         int* fired_p) {
  if (!is_live(session)) return refuse(session);
  if (fired_p == nullptr) return invalid("fired_p is NULL");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const Result<bool> fired =
        of(session)->check_trigger(make_call(Operation::check_trigger, call));
    if (!fired.ok()) return keep(fired.status());
    *fired_p = fired.value() ? 1 : 0;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_poll_trigger(lockstep_session_t session, const lockstep_call_t* call,
                                        int* fired_p) {
  if (!is_live(session)) return refuse(session);
  if (fired_p == nullptr) return invalid("fired_p is NULL");
  if (of(session)->job().triggers().poll_quickly()) {
    *fired_p = 0;
    return LOCKSTEP_OK;
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([=] {  // see lockstep_trigger_poll()
    const Result<bool> fired = of(session)->poll_trigger(make_call(Operation::poll_trigger, call));
    if (!fired.ok()) return keep(fired.status());
    *fired_p = fired.value() ? 1 : 0;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_last_trigger(lockstep_session_t session,
                                        lockstep_trigger_report_t* report_p) {
  if (!is_live(session)) return refuse(session);
  if (report_p == nullptr || report_p->size != sizeof *report_p) {
    return invalid("report_p is NULL, or its size is not sizeof(lockstep_trigger_report_t)");
  }
  return guard([&] {
    const auto& report = of(session)->trigger_report();
    if (!report) return keep({LOCKSTEP_E_STATE, "no trigger has fired yet"});
    *report_p = *report;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_trigger_on_signal(lockstep_session_t session, int signal) {
  if (!is_live(session)) return refuse(session);
  return guard([&] { return pass_on(of(session)->trigger_on_signal(signal)); });
}

lockstep_status_t lockstep_trigger_before_end(lockstep_session_t session, int64_t margin_ns) {
  if (!is_live(session)) return refuse(session);
  if (margin_ns < 0) return invalid("margin_ns is negative");
  return guard([&] { return pass_on(of(session)->trigger_before_end(margin_ns)); });
}

lockstep_status_t lockstep_time_left(lockstep_session_t session, int64_t* left_ns_p) {
  if (!is_live(session)) return refuse(session);
  if (left_ns_p == nullptr) return invalid("left_ns_p is NULL");
  return guard([&] {
    of(session)->watch().keep_time();
    *left_ns_p = of(session)->watch().left();
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_requeue(lockstep_session_t session, lockstep_requeue_t wish,
                                   const char* why, const lockstep_call_t* call, int* will_p) {
  if (!is_live(session)) return refuse(session);
  if (wish < LOCKSTEP_REQUEUE_NO_OPINION || wish > LOCKSTEP_REQUEUE_NEVER) {
    return invalid("wish is none of lockstep_requeue_t");
  }
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const std::string text = std::string(why != nullptr ? why : "").substr(0, kReasonTextMax);
    const Result<bool> will =
        of(session)->decide_requeue(make_call(Operation::requeue, call), wish, text);
    if (!will.ok()) return keep(will.status());
    if (will_p != nullptr) *will_p = will.value() ? 1 : 0;
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_broadcast(lockstep_group_t group, uint32_t root, const void* bytes,
                                     size_t length, const lockstep_call_t* call, void** bytes_p,
                                     size_t* length_p) {
  if (!is_live(group)) return refuse(group);
  if (bytes_p == nullptr || length_p == nullptr) return invalid("bytes_p or length_p is NULL");
  if (root >= of(group)->size()) return invalid("root is not a member of the group");
  const bool is_root = of(group)->rank() == root;
  if (is_root && bytes == nullptr && length > 0) return invalid("bytes is NULL on the root");
  if (is_bad_timeout(call)) return invalid(kBadTimeout);
  return guard([&] {
    const std::span mine(static_cast<const std::byte*>(bytes), is_root ? length : 0);
    Result<std::vector<std::byte>> all =
        broadcast(*of(group), make_call(Operation::broadcast, call), root, mine);
    if (!all.ok()) return keep(all.status());
    void* const copy = copy_out(all->data(), all->size());
    if (copy == nullptr) return keep({LOCKSTEP_E_RESOURCE, "out of memory"});
    *bytes_p = copy;
    *length_p = all->size();
    return LOCKSTEP_OK;
  });
}

void lockstep_free(void* memory) {
  std::free(memory);
}

}  // extern "C"
