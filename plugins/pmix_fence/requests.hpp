// The requests that PMIx answers later: each owns its arguments and outlives whoever asked.
#pragma once

#include <pmix.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lockstep::pmix_fence {

using Bytes = std::vector<std::byte>;

/// Makes `value` readable by everyone after the next fence. A few microseconds, local.
[[nodiscard]] pmix_status_t publish(const std::string& key, std::span<const std::byte> value);

/// A set of processes, and whether it is the whole job, which PMIx is told in another way.
struct Members {
  std::vector<pmix_proc_t> processes;
  bool is_whole_job;
};

/// One fence of `members`. PMIx tells fences apart by their set of processes only, so there may be
/// one at a time for each set.
///
/// The whole job's fence also carries the values. A part's does not: the ring by which Slurm 22.05
/// carries values rejects a list of processes and hangs; its tree, without values, takes one.
class Fence {
 public:
  [[nodiscard]] static std::shared_ptr<Fence> start(std::shared_ptr<const Members> members);

  /// Empty until every process has come.
  [[nodiscard]] std::optional<pmix_status_t> result() const noexcept;

 private:
  static void on_done(pmix_status_t status, void* holder);

  std::shared_ptr<const Members> members_;
  pmix_info_t collect_{};
  std::atomic<bool> is_done_ = false;
  pmix_status_t status_ = PMIX_SUCCESS;
};

/// Reads a value that this process can see in the node's store; false when there is none. Local.
///
/// Not through PMIx_Get_nb(): in 4.2 its answer leaks when the value comes from the shared store.
[[nodiscard]] bool look(const std::string& key, const pmix_proc_t& process, Bytes& value);

/// Asks the node's server for one key of many processes. What it answers stays cached in this
/// process, even when it changes later.
class Question {
 public:
  struct Item {
    std::size_t member;  ///< for the caller
    pmix_proc_t process;
    Bytes value;  ///< stays empty when there is none
  };

  /// `may_fetch` lets it fetch values from other nodes; only then it may wait for a value until its
  /// process publishes something. Otherwise what is not there is answered with nothing.
  [[nodiscard]] static std::shared_ptr<Question> start(std::string key, std::vector<Item> items,
                                                       bool may_fetch);

  [[nodiscard]] bool is_answered() const noexcept { return pending_.load() == 0; }
  /// Precondition: is_answered().
  [[nodiscard]] const std::vector<Item>& items() const noexcept { return items_; }

 private:
  struct Holder;
  static void on_value(pmix_status_t status, pmix_value_t* value, void* holder);

  std::string key_;
  pmix_info_t at_once_{};
  std::vector<Item> items_;
  std::atomic<std::size_t> pending_ = 0;
};

}  // namespace lockstep::pmix_fence
