// The requests that PMIx answers later: each owns its arguments and outlives whoever asked.
#pragma once

#include <pmix.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::pmix_fence {

using Bytes = std::vector<std::byte>;

/// Makes `value` readable by everyone after the next fence. A few microseconds, local.
[[nodiscard]] pmix_status_t publish(const std::string& key, std::span<const std::byte> value);

/// Whether PMIx may be asked to carry values with more than the one fence of start-up. Not 5.0.0
/// and 5.0.1: their servers copy each fence's values into shared memory of a fixed size
/// (gds/shmem), give nothing back, and crash some fences later. 5.0.2 has gds/shmem2 instead.
[[nodiscard]] bool fences_may_carry_values(std::string_view pmix_version) noexcept;

/// A set of processes.
struct Members {
  std::vector<pmix_proc_t> processes;
  bool is_whole_job;   ///< PMIx is told so in another way
  bool fence_carries;  ///< the values, to every node; otherwise they are fetched one by one
};

/// One fence of `members`. PMIx tells fences apart by their set of processes only, so there may be
/// one at a time for each set.
///
/// The whole job's fence also carries the values where it may. A part's does not: the ring by which
/// Slurm 22.05 carries values rejects a list of processes and hangs; its tree, without values,
/// takes one.
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

/// Where a question is answered.
enum class Reach : std::uint8_t {
  nowhere,   ///< Nobody asks.
  here,      ///< By the node's server, at once; what is not there is answered with nothing.
  anywhere,  ///< By the process's server: may wait until that process publishes something, and the
             ///< node's server keeps the answer and gives it again, even when it has changed.
};

/// Taken by the one question that a process may have under way. When libpmix gets an answer about a
/// process it answers all that wait for anything of that process, also with another's "not found",
/// and 5.x reads freed memory when more than one request waits.
using Line = std::atomic<Reach>;

/// Asks the node's server for one key of many processes, one after the other, whatever this process
/// has cached.
class Question : public std::enable_shared_from_this<Question> {
 public:
  struct Item {
    std::size_t member;  ///< for the caller
    pmix_proc_t process;
    Bytes value;  ///< stays empty when there is none
  };

  Question(std::shared_ptr<Line> line, std::string key, std::vector<Item> items, Reach reach);

  /// Starts when the line is free; to be called again until it says that all is answered.
  [[nodiscard]] bool advance();
  [[nodiscard]] bool has_started() const noexcept { return has_started_; }
  /// Precondition: advance() has said true.
  [[nodiscard]] const std::vector<Item>& items() const noexcept { return items_; }

 private:
  static void on_value(pmix_status_t status, pmix_value_t* value, void* holder);
  /// Asks for the next item that PMIx takes a request for; gives the line back after the last.
  void ask_next();

  std::shared_ptr<Line> line_;
  std::string key_;
  Reach reach_;
  std::array<pmix_info_t, 2> how_{};
  std::vector<Item> items_;
  std::size_t next_ = 0;  // in items_; PMIx's thread has it while a request is under way
  bool has_started_ = false;
  std::atomic<bool> is_answered_ = false;
};

}  // namespace lockstep::pmix_fence
