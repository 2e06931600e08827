// A process's membership in the job: puts the parts together and takes them apart again.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/bootstrap/bootstrap.hpp"
#include "runtime/bootstrap/domains.hpp"
#include "runtime/checkpoint_save.hpp"
#include "runtime/config/config.hpp"
#include "runtime/end_record.hpp"
#include "runtime/gpus.hpp"
#include "runtime/group.hpp"
#include "runtime/lifecycle/advice.hpp"
#include "runtime/lifecycle/watch.hpp"
#include "runtime/node/page.hpp"
#include "runtime/observe/counters.hpp"
#include "runtime/progress/port.hpp"
#include "runtime/scopes.hpp"
#include "runtime/stream_barriers.hpp"
#include "runtime/triggers.hpp"

namespace lockstep {

class Session {
 public:
  static Result<std::unique_ptr<Session>> join();
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Config& config() const noexcept { return config_; }
  const bootstrap::Identity& identity() const noexcept { return bootstrap_->identity(); }
  const Counters& counters() const noexcept { return counters_; }
  const node::Page& page() const noexcept { return page_; }
  Rank local_rank() const noexcept { return local_->rank(); }
  std::uint32_t local_size() const noexcept { return local_->size(); }
  const std::string& domain_kind() const noexcept { return domain_kind_; }
  const std::string& transport() const noexcept { return transport_; }
  /// Above each node; complete on node leaders.
  const std::vector<topology::SwitchPath>& switches() const noexcept { return around_->switches; }
  const topology::SwitchPath& own_switches() const noexcept { return own_switches_; }
  bool is_attached() const noexcept { return bootstrap_->is_attached(); }

  Group& job() noexcept { return *job_; }
  Group& local() noexcept { return *local_; }

  /// See lockstep_group_split(); nullptr where `colour` is LOCKSTEP_NO_GROUP.
  Result<Group*> split(Group& parent, std::uint32_t colour, const Call& call);
  /// See lockstep_group_shrink().
  Result<Group*> shrink(Group& group, const Call& call);
  /// Not for groups that a scope has made: they end with their parent.
  void free(Group* group);
  Scopes& scopes() noexcept { return scopes_; }
  Gpus& gpus() noexcept { return *gpus_; }
  StreamBarriers& stream_barriers() noexcept { return stream_barriers_; }

  /// What may ask the job to stop.
  lifecycle::Watch& watch() noexcept { return watch_; }
  /// For the job's trigger of that name; nullptr: the one without.
  Status trigger_on_signal(int signal, Trigger* trigger = nullptr);
  Status trigger_on_file(std::string_view path, Trigger& trigger);
  Status trigger_before_end(Nanos margin, Trigger* trigger = nullptr);
  Status trigger_on_anything_else(Trigger& trigger);
  void set_trigger();
  Result<bool> check_trigger(const Call& call);
  /// After Triggers::poll_quickly() has said that there is something to look at.
  Result<bool> poll_trigger(const Call& call);
  /// Of the last check that fired.
  const std::optional<lockstep_trigger_report_t>& trigger_report() const noexcept {
    return record_.stop;
  }
  /// See lockstep_requeue().
  Result<bool> decide_requeue(const Call& call, lockstep_requeue_t wish, const std::string& why);
  std::uint32_t restarts() const noexcept { return record_.restarts; }
  void saw_save(const std::string& path, Nanos took);
  SavesInFlight& saves() noexcept { return *saves_; }

 private:
  class Joiner;    // session_join.cpp
  class Splitter;  // session_split.cpp

  Session() = default;
  /// Opens this process's own way to other nodes, if it has none yet.
  Status open_port();
  /// The same for who has to speak for its node since its leader is gone. Any thread.
  Result<progress::Port*> make_reachable();
  /// The group of those who have answered.
  Result<Group*> make_heir(Group& parent, const Group::Roll& roll, const Call& call);
  void release(Group* group);
  Status check_is_jobs(const Trigger* trigger) const;
  Result<bool> keep_in_record(Result<bool> fired);
  void write_record() const;
  void carry_out_requeue();

  Config config_{};
  std::unique_ptr<bootstrap::Bootstrap> bootstrap_;
  Counters counters_;
  /// Kept open for visitors, who have no other way to the page (docs/decisions/0009).
  UniqueFd page_memory_;
  node::Page page_;
  std::string transport_;  ///< name of the plugin that all nodes use; empty on a single node
  std::string domain_kind_ = "node";
  topology::SwitchPath own_switches_;
  std::unique_ptr<progress::Port> port_;
  std::optional<Surroundings> around_;
  std::unique_ptr<Group> job_;
  std::unique_ptr<Group> local_;
  std::mutex port_mutex_;  ///< of opening it late
  std::mutex groups_mutex_;
  std::vector<std::unique_ptr<Group>> groups_;
  Scopes scopes_{*this};
  std::unique_ptr<Gpus> gpus_;
  StreamBarriers stream_barriers_{*this};
  std::unique_ptr<SavesInFlight> saves_ = std::make_unique<SavesInFlight>();
  lifecycle::Watch watch_;
  lifecycle::Adviser adviser_;
  std::mutex record_mutex_;  ///< of what saves write, on any thread
  EndRecord record_;
};

}  // namespace lockstep
