// The upcall table and the registration of the job as every node of a cluster would see it.
#include "api/cli/pmix_server.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/pmix_info.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>

namespace lockstep::cli {
namespace {

// The only mutable global: libpmix calls the table below without any argument of ours.
std::atomic<UpcallQueue*> upcalls_of_process{nullptr};

// --- Upcalls, on libpmix's thread. They must not block and must not call libpmix's blocking API.

std::string copy_bytes(const char* data, std::size_t size) {
  return data == nullptr ? std::string() : std::string(data, size);
}

bool is_key(const pmix_info_t& info, const char* key) {
  return std::strncmp(info.key, key, PMIX_MAX_KEYLEN) == 0;
}

pmix_status_t on_connected(const pmix_proc_t*, void*, pmix_info_t*, std::size_t, pmix_op_cbfunc_t,
                           void*) {
  return PMIX_OPERATION_SUCCEEDED;
}

pmix_status_t on_finalized(const pmix_proc_t*, void*, pmix_op_cbfunc_t, void*) {
  return PMIX_OPERATION_SUCCEEDED;
}

pmix_status_t on_abort(const pmix_proc_t* proc, void*, int status, const char* text, pmix_proc_t*,
                       std::size_t, pmix_op_cbfunc_t, void*) {
  // Whom it names does not matter: one that gives up ends the whole job, as under srun.
  upcalls_of_process.load()->push(
      AbortUpcall{.rank = proc->rank, .code = status, .text = text == nullptr ? "" : text});
  return PMIX_OPERATION_SUCCEEDED;
}

pmix_status_t on_fence(const pmix_proc_t* procs, std::size_t proc_count, const pmix_info_t* info,
                       std::size_t info_count, char* data, std::size_t size,
                       pmix_modex_cbfunc_t function, void* cookie) {
  FenceUpcall fence{.ranks = {},
                    .status = PMIX_SUCCESS,
                    .data = copy_bytes(data, size),
                    .reply = {.function = function, .cookie = cookie}};
  std::free(data);  // the host owns it
  for (std::size_t i = 0; i < proc_count; ++i) fence.ranks.push_back(procs[i].rank);
  if (std::find(fence.ranks.begin(), fence.ranks.end(), PMIX_RANK_WILDCARD) != fence.ranks.end()) {
    fence.ranks.clear();
  }
  for (std::size_t i = 0; i < info_count; ++i) {
    // libpmix says here that a local participant died instead of coming.
    if (is_key(info[i], PMIX_LOCAL_COLLECTIVE_STATUS)) fence.status = info[i].value.data.status;
  }
  upcalls_of_process.load()->push(std::move(fence));
  return PMIX_SUCCESS;
}

pmix_status_t on_modex(const pmix_proc_t* proc, const pmix_info_t*, std::size_t,
                       pmix_modex_cbfunc_t function, void* cookie) {
  // A wildcard asks for job data; all there is has been registered, so no other node knows more.
  if (proc->rank > PMIX_RANK_VALID) return PMIX_ERR_NOT_FOUND;
  upcalls_of_process.load()->push(
      ModexUpcall{.rank = proc->rank, .reply = {.function = function, .cookie = cookie}});
  return PMIX_SUCCESS;
}

pmix_status_t on_register_events(pmix_status_t*, std::size_t, const pmix_info_t*, std::size_t,
                                 pmix_op_cbfunc_t, void*) {
  return PMIX_OPERATION_SUCCEEDED;
}

pmix_status_t on_deregister_events(pmix_status_t*, std::size_t, pmix_op_cbfunc_t, void*) {
  return PMIX_OPERATION_SUCCEEDED;
}

pmix_status_t on_notify(pmix_status_t, const pmix_proc_t*, pmix_data_range_t, pmix_info_t*,
                        std::size_t, pmix_op_cbfunc_t, void*) {
  return PMIX_OPERATION_SUCCEEDED;  // libpmix itself has told the ranks of this node
}

// What is left out (query, groups, publish, spawn) libpmix answers with "not supported", as under
// Slurm: what works here must work there.
pmix_server_module_t make_module() {
  pmix_server_module_t module{};
  module.client_connected2 = on_connected;
  module.client_finalized = on_finalized;
  module.abort = on_abort;
  module.fence_nb = on_fence;
  module.direct_modex = on_modex;
  module.register_events = on_register_events;
  module.deregister_events = on_deregister_events;
  module.notify_event = on_notify;
  return module;
}

// --- Calls into libpmix, on the main thread.

struct ModexQuestion {
  UpcallQueue* upcalls;
  std::uint64_t id;
};

void on_modex_found(pmix_status_t status, char* data, std::size_t size, void* cookie) {
  const std::unique_ptr<ModexQuestion> question(static_cast<ModexQuestion*>(cookie));
  question->upcalls->push(
      ModexFound{.id = question->id, .status = status, .data = copy_bytes(data, size)});
}

using StatusPromise = std::promise<pmix_status_t>;

void on_done(pmix_status_t status, void* promise) {
  static_cast<StatusPromise*>(promise)->set_value(status);
}

[[noreturn]] void fail(const char* what, pmix_status_t status) {
  throw CommandError(1, fmt::format("PMIx server: {}: {}", what, pmix_text(status)));
}

// `call` gets a callback and its argument, and says whether that callback will be called.
template <typename Call>
pmix_status_t wait_for(Call call) {
  StatusPromise promise;
  const pmix_status_t status = call(on_done, &promise);
  if (status == PMIX_OPERATION_SUCCEEDED) return PMIX_SUCCESS;
  return status == PMIX_SUCCESS ? promise.get_future().get() : status;
}

struct FreeString {
  void operator()(char* string) const { std::free(string); }
};
using PmixString = std::unique_ptr<char, FreeString>;

// "n0,n1" and "0,1;2,3" in libpmix's own squeezed form.
PmixString squeeze(pmix_status_t (*function)(const char*, char**), const std::string& text) {
  char* result = nullptr;
  const pmix_status_t status = function(text.c_str(), &result);
  if (status != PMIX_SUCCESS) fail("no node map", status);
  return PmixString(result);
}

void add_maps(PmixInfoList& job, const Placement& placement) {
  std::vector<std::string> names;
  std::vector<std::string> ranks;
  for (NodeIndex node = 0; node < placement.node_count(); ++node) {
    names.push_back(node_name(node));
    ranks.push_back(fmt::format("{}", fmt::join(placement.by_node[node], ",")));
  }
  const std::string node_list = fmt::format("{}", fmt::join(names, ","));
  job.add_regex(PMIX_NODE_MAP, squeeze(PMIx_generate_regex, node_list).get());
  const std::string rank_list = fmt::format("{}", fmt::join(ranks, ";"));
  job.add_regex(PMIX_PROC_MAP, squeeze(PMIx_generate_ppn, rank_list).get());
}

// libpmix takes NODEID for a fact about a node: without these it knows only its own.
void add_nodes(PmixInfoList& job, const Placement& placement) {
  for (NodeIndex node = 0; node < placement.node_count(); ++node) {
    const std::vector<Rank>& ranks = placement.by_node[node];
    PmixInfoList facts;
    facts.add_string(PMIX_HOSTNAME, node_name(node));
    facts.add_u32(PMIX_NODEID, node);
    facts.add_u32(PMIX_NODE_SIZE, static_cast<std::uint32_t>(ranks.size()));
    facts.add_u32(PMIX_LOCAL_SIZE, static_cast<std::uint32_t>(ranks.size()));
    facts.add_string(PMIX_LOCAL_PEERS, fmt::format("{}", fmt::join(ranks, ",")));
    facts.add_rank(PMIX_LOCALLDR, ranks.front());
    job.add_list(PMIX_NODE_INFO_ARRAY, facts);
  }
}

void add_ranks(PmixInfoList& job, const Placement& placement) {
  for (Rank rank = 0; rank < placement.size(); ++rank) {
    const auto& [node, local_rank] = placement.places[rank];
    PmixInfoList facts;
    facts.add_rank(PMIX_RANK, rank);  // first: it names the process that the others are about
    facts.add_u16(PMIX_LOCAL_RANK, static_cast<std::uint16_t>(local_rank));
    facts.add_u16(PMIX_NODE_RANK, static_cast<std::uint16_t>(local_rank));
    facts.add_u32(PMIX_NODEID, node);
    facts.add_string(PMIX_HOSTNAME, node_name(node));
    facts.add_rank(PMIX_GLOBAL_RANK, rank);
    facts.add_rank(PMIX_APP_RANK, rank);
    facts.add_u32(PMIX_APPNUM, 0);
    job.add_list(PMIX_PROC_INFO_ARRAY, facts);
  }
}

}  // namespace

PmixServer::PmixServer(const PmixServerSetup& setup, UpcallQueue& upcalls)
    : name_space_(setup.name_space), upcalls_(upcalls) {
  upcalls_of_process = &upcalls;
  static pmix_server_module_t module = make_module();
  PmixInfoList info;
  info.add_string(PMIX_SERVER_TMPDIR, setup.folder);
  info.add_string(PMIX_SYSTEM_TMPDIR, setup.folder);
  info.add_string(PMIX_SERVER_NSPACE, setup.name_space + ".server");
  info.add_rank(PMIX_SERVER_RANK, setup.node);
  info.add_string(PMIX_HOSTNAME, node_name(setup.node));
  const pmix_status_t status = PMIx_server_init(&module, info.data(), info.size());
  if (status != PMIX_SUCCESS) fail("does not start", status);
  register_job(*setup.placement, setup.node);
  register_clients(setup.placement->by_node[setup.node]);
}

void PmixServer::register_job(const Placement& placement, NodeIndex node) const {
  const std::vector<Rank>& local = placement.by_node[node];
  const auto local_size = static_cast<std::uint32_t>(local.size());
  PmixInfoList job;
  add_maps(job, placement);
  job.add_string(PMIX_JOBID, name_space_);
  job.add_u32(PMIX_JOB_SIZE, placement.size());
  job.add_u32(PMIX_UNIV_SIZE, placement.size());
  job.add_u32(PMIX_MAX_PROCS, placement.size());
  job.add_u32(PMIX_JOB_NUM_APPS, 1);
  job.add_u32(PMIX_NUM_NODES, placement.node_count());
  job.add_u32(PMIX_LOCAL_SIZE, local_size);
  job.add_u32(PMIX_NODE_SIZE, local_size);
  job.add_string(PMIX_LOCAL_PEERS, fmt::format("{}", fmt::join(local, ",")));
  job.add_rank(PMIX_LOCALLDR, local.front());
  add_nodes(job, placement);
  add_ranks(job, placement);
  const pmix_proc_t all = make_proc(name_space_, PMIX_RANK_WILDCARD);
  const pmix_status_t status = wait_for([&](pmix_op_cbfunc_t done, void* cookie) {
    return PMIx_server_register_nspace(all.nspace, static_cast<int>(local.size()), job.data(),
                                       job.size(), done, cookie);
  });
  if (status != PMIX_SUCCESS) fail("cannot register the job", status);
}

void PmixServer::register_clients(const std::vector<Rank>& local_ranks) const {
  for (const Rank rank : local_ranks) {
    const pmix_proc_t proc = make_proc(name_space_, rank);
    const pmix_status_t status = wait_for([&](pmix_op_cbfunc_t done, void* cookie) {
      return PMIx_server_register_client(&proc, geteuid(), getegid(), nullptr, done, cookie);
    });
    if (status != PMIX_SUCCESS) fail("cannot register a rank", status);
  }
}

void PmixServer::add_to_environment(Rank rank, CStringList& environment) const {
  const pmix_proc_t proc = make_proc(name_space_, rank);
  const pmix_status_t status = PMIx_server_setup_fork(&proc, environment.address());
  if (status != PMIX_SUCCESS) fail("no environment for a rank", status);
}

void PmixServer::find_modex(Rank rank, std::uint64_t id) {
  const pmix_proc_t proc = make_proc(name_space_, rank);
  auto question = std::make_unique<ModexQuestion>(ModexQuestion{.upcalls = &upcalls_, .id = id});
  const pmix_status_t status = PMIx_server_dmodex_request(&proc, on_modex_found, question.get());
  if (status == PMIX_SUCCESS) {
    (void)question.release();  // on_modex_found has it now
  } else {
    upcalls_.push(ModexFound{.id = id, .status = status, .data = {}});
  }
}

void PmixServer::reply(const ModexReply& to, pmix_status_t status, const std::string& data) {
  if (to.function == nullptr) return;
  char* copy = nullptr;
  if (!data.empty()) {
    copy = static_cast<char*>(std::malloc(data.size()));
    if (copy == nullptr) throw std::bad_alloc();
    std::memcpy(copy, data.data(), data.size());
  }
  to.function(status, copy, data.size(), to.cookie, std::free, copy);
}

std::int32_t lost_peer_status() {
  return PMIX_ERR_LOST_CONNECTION;
}

}  // namespace lockstep::cli
