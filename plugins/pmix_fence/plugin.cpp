// The table of the pmix_fence plugin: its own PMIx session, its teams, no exception gets out.
//
// The plugin of last resort. Slurm ends a step whose fence stays open longer than its PMIx plugin's
// limit (300 s), and one whose process dies while it is attached. And a fence of the whole job is
// the same fence to PMIx whoever starts it: no MPI may be in one of its own while a round is open.
#include <pmix.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "lockstep/transport.h"
#include "plugins/pmix_fence/channel.hpp"

namespace {

using namespace lockstep::pmix_fence;

constexpr std::size_t kLengthMax = LOCKSTEP_VECTOR_MAX + 64;

struct Session {
  pmix_proc_t myself{};
  std::uint32_t ranks = 0;
  std::shared_ptr<Line> line = std::make_shared<Line>(Reach::nowhere);
  void (*log)(void* context, int level, const char* text) = nullptr;
  void* log_context = nullptr;
  bool has_warned = false;
  std::map<std::vector<std::uint32_t>, std::unique_ptr<Channel>> channels;  // by members
};

struct Member {
  Channel& channel;
  Team team;
};

// Without a server PMIx calls every process rank 0 of 1: that must not pass for the job.
lockstep_status_t check_identity(const lockstep_environment_t& environment,
                                 const pmix_proc_t& myself, char* why, std::size_t why_size) {
  pmix_proc_t job{};
  PMIX_LOAD_PROCID(&job, myself.nspace, PMIX_RANK_WILDCARD);
  pmix_info_t optional{};
  const bool yes = true;
  PMIX_INFO_LOAD(&optional, PMIX_OPTIONAL, &yes, PMIX_BOOL);
  pmix_value_t* value = nullptr;
  const pmix_status_t status = PMIx_Get(&job, PMIX_JOB_SIZE, &optional, 1, &value);
  std::uint32_t ranks = 0;
  if (status == PMIX_SUCCESS && value != nullptr) {
    ranks = value->data.uint32;
    PMIX_VALUE_RELEASE(value);
  }
  if (myself.rank == environment.rank && ranks == environment.ranks) return LOCKSTEP_OK;
  std::snprintf(why, why_size,
                "PMIx says rank %u of %u where lockstep is rank %u of %u; start the job through "
                "PMIx, e.g. srun --mpi=pmix",
                myself.rank, ranks, environment.rank, environment.ranks);
  return LOCKSTEP_E_UNSUPPORTED;
}

lockstep_status_t fence_open(const lockstep_environment_t* environment, void** self_p, char* why,
                             std::size_t why_size) {
  try {
    auto session = std::make_unique<Session>();
    // Counted by PMIx, so it does not matter who else in the process has a session.
    const pmix_status_t status = PMIx_Init(&session->myself, nullptr, 0);
    if (status != PMIX_SUCCESS) {
      std::snprintf(why, why_size, "PMIx_Init: %s; start the job through PMIx",
                    PMIx_Error_string(status));
      return LOCKSTEP_E_UNSUPPORTED;
    }
    const lockstep_status_t identity = check_identity(*environment, session->myself, why, why_size);
    if (identity != LOCKSTEP_OK) {
      PMIx_Finalize(nullptr, 0);
      return identity;
    }
    session->ranks = environment->ranks;
    session->log = environment->log;
    session->log_context = environment->context;
    *self_p = session.release();
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "%s", error.what());
    return LOCKSTEP_E_RESOURCE;
  }
}

// Requests under way belong to PMIx as well and survive this; their answers go nowhere.
void fence_close(void* self) {
  constexpr std::chrono::seconds kPatience{2};
  const std::unique_ptr<Session> session{static_cast<Session*>(self)};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  // With something unfinished the job ends badly anyway, and Open MPI 4.1.4's mpirun crashes when
  // processes end at the same time while one fence waits and others have just completed.
  const bool is_in_order = std::none_of(session->channels.begin(), session->channels.end(),
                                        [](const auto& one) { return one.second->is_abandoned(); });
  for (const auto& [members, channel] : session->channels) {
    if (is_in_order) channel->leave(deadline);
  }
  PMIx_Finalize(nullptr, 0);
}

// Once, and by one of the members: they all have the same to say.
void warn_of_new_keys(Session& session, const Members& members) {
  const bool speaks = members.processes.front().rank == session.myself.rank;
  if (members.fence_carries || members.processes.size() == 1 || !speaks) return;
  if (session.log == nullptr || std::exchange(session.has_warned, true)) return;
  session.log(session.log_context, LOCKSTEP_LOG_WARN,
              "pmix_fence: PMIx does not carry values with the fences of these ranks, so that each "
              "round needs new keys and is a little slower than the last");
}

lockstep_status_t fence_prepare(void* self, std::uint64_t group, const std::uint32_t* ranks,
                                std::size_t count, void** team_p) {
  if (ranks == nullptr || count == 0 || team_p == nullptr) return LOCKSTEP_E_INVALID;
  try {
    Session& session = *static_cast<Session*>(self);
    std::vector<std::uint32_t> list(ranks, ranks + count);
    auto members = std::make_shared<Members>();
    members->processes.resize(count);
    members->is_whole_job = count == session.ranks;
    members->fence_carries = members->is_whole_job && fences_may_carry_values(PMIx_Get_version());
    std::size_t index = count;
    for (std::size_t i = 0; i < count; ++i) {
      if (list[i] >= session.ranks) return LOCKSTEP_E_INVALID;
      if (i != 0 && list[i] <= list[i - 1]) return LOCKSTEP_E_INVALID;
      if (list[i] == session.myself.rank) index = i;
      PMIX_LOAD_PROCID(&members->processes[i], session.myself.nspace, list[i]);
    }
    if (index == count) return LOCKSTEP_E_INVALID;
    warn_of_new_keys(session, *members);
    std::unique_ptr<Channel>& channel = session.channels[std::move(list)];
    if (!channel) channel = std::make_unique<Channel>(std::move(members));
    *team_p = new Member{*channel, Team({group, index, channel->members()}, session.line)};
    return LOCKSTEP_OK;
  } catch (...) {
    return LOCKSTEP_E_RESOURCE;
  }
}

lockstep_status_t fence_start(void*, void* team, const void* vector, std::size_t length) {
  if (team == nullptr || vector == nullptr || length == 0) return LOCKSTEP_E_INVALID;
  if (length > kLengthMax) return LOCKSTEP_E_LIMIT;
  Member& member = *static_cast<Member*>(team);
  if (member.team.is_open()) return LOCKSTEP_E_BUSY;
  try {
    return member.channel.start(member.team, {static_cast<const std::byte*>(vector), length});
  } catch (...) {
    return LOCKSTEP_E_RESOURCE;
  }
}

lockstep_status_t fence_test(void*, void* team, void* combined, std::size_t length) {
  if (team == nullptr || combined == nullptr) return LOCKSTEP_E_INVALID;
  Member& member = *static_cast<Member*>(team);
  if (!member.team.is_open()) return LOCKSTEP_E_STATE;
  if (length != member.team.length()) return LOCKSTEP_E_INVALID;
  try {
    member.channel.advance();
  } catch (...) {
    return LOCKSTEP_E_RESOURCE;
  }
  if (!member.team.is_finished()) return LOCKSTEP_AGAIN;
  return member.team.take({static_cast<std::byte*>(combined), length});
}

void fence_release(void*, void* team) {
  const std::unique_ptr<Member> member{static_cast<Member*>(team)};
  if (member) member->channel.forget(member->team);
}

constexpr lockstep_group_operation_t kGroupOperation = {sizeof(lockstep_group_operation_t),
                                                        fence_open,
                                                        fence_close,
                                                        fence_prepare,
                                                        fence_start,
                                                        fence_test,
                                                        fence_release};

}  // namespace

namespace lockstep::pmix_fence {

// In a namespace because the struct of the ABI has the same name; the symbol is the plain one.
extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  static const lockstep_plugin_t plugin = {LOCKSTEP_PLUGIN_ABI,
                                           sizeof(lockstep_plugin_t),
                                           "pmix_fence",
                                           PMIx_Get_version(),
                                           "a whole group combines through PMIx fences",
                                           nullptr,
                                           &kGroupOperation,
                                           nullptr};
  return &plugin;
}

}  // namespace lockstep::pmix_fence
