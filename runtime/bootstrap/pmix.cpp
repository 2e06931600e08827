// The PMIx client: identity, one data fence, and the way out again.
//
// Slurm's server gives put, commit, fence, get and abort, nothing else; a client that dies while it
// is attached takes the whole step with it. Hence: meet once, then detach. Every optional key is
// asked for with PMIX_OPTIONAL: under Slurm a missing reserved key otherwise waits for ever.
#include <dlfcn.h>
#include <pmix.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "runtime/bootstrap/bootstrap.hpp"
#include "runtime/bootstrap/kept_signals.hpp"

namespace lockstep::bootstrap {
namespace {

constexpr const char* kBlobKey = "lockstep.1";

std::string explain(const char* what, pmix_status_t status) {
  return fmt::format("{}: {}", what, PMIx_Error_string(status));
}

class Value {
 public:
  /// Gets `key` of `rank` without ever waiting for somebody to publish it.
  Value(const pmix_proc_t& self, Rank rank, const char* key) {
    pmix_proc_t proc;
    PMIX_LOAD_PROCID(&proc, self.nspace, rank);
    pmix_info_t optional;
    PMIX_INFO_CONSTRUCT(&optional);
    PMIX_INFO_LOAD(&optional, PMIX_OPTIONAL, nullptr, PMIX_BOOL);
    status_ = PMIx_Get(&proc, key, &optional, 1, &value_);
    PMIX_INFO_DESTRUCT(&optional);
  }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() {
    if (value_ != nullptr) PMIX_VALUE_RELEASE(value_);
  }

  /// Launchers disagree about the types of counts and ranks; all unsigned ones are accepted.
  std::optional<std::uint32_t> number() const {
    if (status_ != PMIX_SUCCESS || value_ == nullptr) return std::nullopt;
    switch (value_->type) {
      case PMIX_UINT32:
        return value_->data.uint32;
      case PMIX_UINT16:
        return value_->data.uint16;
      case PMIX_PROC_RANK:
        return value_->data.rank;
      case PMIX_UINT64:
        return static_cast<std::uint32_t>(value_->data.uint64);
      case PMIX_INT:
        return static_cast<std::uint32_t>(value_->data.integer);
      default:
        return std::nullopt;
    }
  }
  std::optional<std::string> text() const {
    if (status_ != PMIX_SUCCESS || value_ == nullptr || value_->type != PMIX_STRING ||
        value_->data.string == nullptr) {
      return std::nullopt;
    }
    return std::string(value_->data.string);
  }

 private:
  pmix_value_t* value_ = nullptr;
  pmix_status_t status_ = PMIX_ERROR;
};

class Pmix final : public Bootstrap {
 public:
  explicit Pmix(const Config& config)
      : detach_(config.detach), join_timeout_(config.join_timeout) {}
  ~Pmix() override { detach_now(); }

  Status open() {
    const KeptSignals kept;
    const pmix_status_t status = PMIx_Init(&self_, nullptr, 0);
    if (status != PMIX_SUCCESS) {
      return {LOCKSTEP_E_BOOTSTRAP,
              explain("PMIx_Init failed although the launcher promised a server", status)};
    }
    attached_ = true;
    identity_.source = "pmix";
    identity_.job = self_.nspace;
    identity_.rank = self_.rank;
    const Value size(self_, PMIX_RANK_WILDCARD, PMIX_JOB_SIZE);
    if (!size.number() || *size.number() == 0 || self_.rank >= *size.number()) {
      return {LOCKSTEP_E_IDENTITY,
              fmt::format("the PMIx server of job {} does not say how many processes there are "
                          "(PMIX_JOB_SIZE); if another process of this task has joined before, a "
                          "lockstep command of its script perhaps, type: PMIX_GDS_MODULE=hash "
                          "PROGRAM",
                          self_.nspace)};
    }
    identity_.size = *size.number();
    return map_nodes();
  }

  Status publish(std::span<const std::byte> blob) override {
    pmix_value_t value;
    PMIX_VALUE_CONSTRUCT(&value);
    value.type = PMIX_BYTE_OBJECT;
    // Borrowed for the call: PMIx_Put copies.
    value.data.bo.bytes = reinterpret_cast<char*>(const_cast<std::byte*>(blob.data()));
    value.data.bo.size = blob.size();
    pmix_status_t status = PMIx_Put(PMIX_GLOBAL, kBlobKey, &value);
    if (status == PMIX_SUCCESS) status = PMIx_Commit();
    if (status != PMIX_SUCCESS) return {LOCKSTEP_E_BOOTSTRAP, explain("PMIx_Put", status)};
    return {};
  }

  Status fence() override {
    struct Meeting {
      std::mutex mutex;
      std::condition_variable changed;
      std::optional<pmix_status_t> status;
    };
    // Shared with the callback, which may come after this process has given up.
    auto meeting = std::make_shared<Meeting>();
    const auto met = [](pmix_status_t status, void* context) {
      const std::unique_ptr<std::shared_ptr<Meeting>> mine(
          static_cast<std::shared_ptr<Meeting>*>(context));
      const std::lock_guard lock((*mine)->mutex);
      (*mine)->status = status;
      (*mine)->changed.notify_one();
    };
    pmix_info_t collect;
    PMIX_INFO_CONSTRUCT(&collect);
    PMIX_INFO_LOAD(&collect, PMIX_COLLECT_DATA, nullptr, PMIX_BOOL);
    auto context = std::make_unique<std::shared_ptr<Meeting>>(meeting);
    const pmix_status_t started = PMIx_Fence_nb(nullptr, 0, &collect, 1, met, context.get());
    if (started == PMIX_SUCCESS) context.release();
    std::unique_lock lock(meeting->mutex);
    if (started == PMIX_OPERATION_SUCCEEDED) {
      meeting->status = PMIX_SUCCESS;
    } else if (started != PMIX_SUCCESS) {
      meeting->status = started;
    }
    const bool has_met =
        wait_for(meeting->changed, lock, [&] { return meeting->status.has_value(); });
    PMIX_INFO_DESTRUCT(&collect);
    if (!has_met) {
      return {LOCKSTEP_E_BOOTSTRAP,
              fmt::format("not all {} processes of the job have joined in time "
                          "(LOCKSTEP_JOIN_TIMEOUT); does every one of them call lockstep?",
                          identity_.size)};
    }
    if (*meeting->status != PMIX_SUCCESS) {
      return {LOCKSTEP_E_BOOTSTRAP,
              explain("the start-up fence failed: some process of the job did not join",
                      *meeting->status)};
    }
    return {};
  }

  Result<std::vector<std::byte>> lookup(Rank rank) override {
    pmix_proc_t proc;
    PMIX_LOAD_PROCID(&proc, self_.nspace, rank);
    pmix_value_t* value = nullptr;
    const pmix_status_t status = PMIx_Get(&proc, kBlobKey, nullptr, 0, &value);
    if (status != PMIX_SUCCESS || value == nullptr) {
      return Status(LOCKSTEP_E_BOOTSTRAP,
                    explain(fmt::format("no start-up data of rank {}", rank).c_str(), status));
    }
    std::vector<std::byte> blob;
    if (value->type == PMIX_BYTE_OBJECT) {
      const auto* const first = reinterpret_cast<const std::byte*>(value->data.bo.bytes);
      blob.assign(first, first + value->data.bo.size);
    }
    PMIX_VALUE_RELEASE(value);
    return blob;
  }

  void finish() override {
    if (detach_ == Detach::no) return;
    // An MPI in this process will want the server later; PMIx cannot be joined a second time
    // everywhere.
    if (detach_ == Detach::automatic && dlsym(RTLD_DEFAULT, "MPI_Init") != nullptr) return;
    detach_now();
  }

  bool is_attached() const noexcept override { return attached_; }

 private:
  void detach_now() {
    if (!attached_) return;
    attached_ = false;
    PMIx_Finalize(nullptr, 0);  // counted by PMIx: another user in this process stays attached
  }

  /// Sleeps until `done`, at most the join timeout; false if that has passed.
  template <class Done>
  bool wait_for(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, Done done) {
    if (join_timeout_ == kNever) {
      changed.wait(lock, done);
      return true;
    }
    return changed.wait_for(lock, std::chrono::nanoseconds(join_timeout_), done);
  }

  /// Which rank is on which node, from the server's list of nodes and their processes.
  Status map_nodes() {
    std::vector<std::string> host_of(identity_.size);
    char* nodes = nullptr;
    if (PMIx_Resolve_nodes(self_.nspace, &nodes) == PMIX_SUCCESS && nodes != nullptr) {
      const std::string list(nodes);
      std::free(nodes);
      for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = std::min(list.find(',', at), list.size());
        add_peers(list.substr(at, end - at), host_of);
        at = end + 1;
      }
    }
    for (Rank rank = 0; rank < identity_.size; ++rank) {
      if (!host_of[rank].empty()) continue;
      const auto host = Value(self_, rank, PMIX_HOSTNAME).text();
      if (!host) {
        return {LOCKSTEP_E_IDENTITY,
                fmt::format("the PMIx server does not say which node rank {} is on", rank)};
      }
      host_of[rank] = *host;
    }
    std::map<std::string, NodeIndex> number;
    for (const std::string& host : host_of) {
      const auto [found, is_new] = number.emplace(host, static_cast<NodeIndex>(number.size()));
      if (is_new) identity_.hosts.push_back(host);
      identity_.node_of.push_back(found->second);
    }
    return check_local_peers();
  }

  void add_peers(const std::string& host, std::vector<std::string>& host_of) {
    pmix_proc_t* procs = nullptr;
    std::size_t count = 0;
    if (PMIx_Resolve_peers(host.c_str(), self_.nspace, &procs, &count) != PMIX_SUCCESS) return;
    for (std::size_t i = 0; i < count; ++i) {
      if (procs[i].rank < host_of.size()) host_of[procs[i].rank] = host;
    }
    if (procs != nullptr) PMIX_PROC_FREE(procs, count);
  }

  /// The server's word on this node's own processes must agree with the map made from host names.
  Status check_local_peers() {
    const auto local_size = Value(self_, PMIX_RANK_WILDCARD, PMIX_LOCAL_SIZE).number();
    const std::size_t mapped = identity_.members(identity_.node()).size();
    if (!local_size || *local_size == mapped) return {};
    return {LOCKSTEP_E_IDENTITY,
            fmt::format("the PMIx server counts {} processes on this node ({}), but its map of the "
                        "job names {}",
                        *local_size, identity_.hosts[identity_.node()], mapped)};
  }

  pmix_proc_t self_{};
  Detach detach_;
  Nanos join_timeout_;
  bool attached_ = false;
};

}  // namespace

std::string pmix_version() {
  const std::string text = PMIx_Get_version();
  const std::string name = text.substr(0, text.find_first_of(",("));
  return name.substr(0, name.find_last_not_of(' ') + 1);  // the rest is the standard and the build
}

Result<std::unique_ptr<Bootstrap>> open_pmix(const Config& config) {
  auto pmix = std::make_unique<Pmix>(config);
  if (Status status = pmix->open(); !status.ok()) return status;
  return std::unique_ptr<Bootstrap>(std::move(pmix));
}

}  // namespace lockstep::bootstrap
