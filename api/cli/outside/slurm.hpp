// Reaches the nodes of a running Slurm job: asks squeue where it runs, and srun to run this command
// there as an overlapping step, which takes nothing from the job.
#pragma once

#include "api/cli/environment.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::cli {

/// "7", "7_3" or "7.0", as one types it.
struct SlurmId {
  std::string job;
  std::string step;  ///< empty: all
};
/// Nothing if it does not look like one.
std::optional<SlurmId> read_slurm_id(const std::string& text);

struct SlurmJob {
  std::string number;  ///< SLURM_JOB_ID of its tasks
  std::string nodes;   ///< "n[0-3]"
  int node_count = 0;
  std::string user;
};

struct NodeAnswers {
  std::map<std::string, std::string> by_node;
  std::vector<std::string> silent;  ///< nodes that did not answer
  std::string complaint;            ///< what srun said, if it did
};

class Slurm {
 public:
  /// `patience` is for each call of a tool of Slurm's.
  Slurm(const Environment& environment, std::chrono::milliseconds patience);

  /// Throws CommandError, which says what to type, unless the job runs.
  SlurmJob find(const SlurmId& id) const;
  /// Runs this very command with these arguments on the nodes of the job, or on one of them. Throws
  /// CommandError if Slurm refuses.
  NodeAnswers visit(const SlurmJob& job, const std::vector<std::string>& arguments,
                    const std::string& node = "") const;

 private:
  std::vector<std::string> names_of(const std::string& nodes) const;

  Environment environment_;
  std::chrono::milliseconds patience_;
};

}  // namespace lockstep::cli
