// The variables of outer launchers, in one table, and the environment as a value.
#include "api/cli/environment.hpp"

#include <algorithm>
#include <array>

namespace lockstep::cli {
namespace {

// Whole families. SLURM_JOB_* stays: it is about the allocation, which the ranks do run in, and
// the time limit is asked for by its job id.
constexpr std::array<std::string_view, 14> kPrefixes = {
    "PMIX_",     "PMI_",        "PMI2_",          "OMPI_",          "PRTE_",
    "HYDRA_",    "MPIEXEC_",    "PALS_",          "FLUX_TASK_",     "SLURM_STEP_",
    "SLURM_PMI", "SLURM_SRUN_", "SLURM_CPU_BIND", "SLURM_MEM_BIND",
};

constexpr std::array<std::string_view, 18> kNames = {
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_GTIDS",
    "SLURM_TASK_PID",
    "SLURM_STEPID",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
    "SLURM_NNODES",
    "SLURM_DISTRIBUTION",
    "SLURM_TOPOLOGY_ADDR",
    "SLURMD_NODENAME",
    "SLURM_TOPOLOGY_ADDR_PATTERN",
    "SLURM_MPI_TYPE",
    "SLURM_LAUNCH_NODE_IPADDR",
    "MPI_LOCALRANKID",
};

std::string_view name_of(std::string_view entry) {
  return entry.substr(0, entry.find('='));
}

}  // namespace

Environment::Environment(const char* const* entries) {
  for (; *entries != nullptr; ++entries) entries_.emplace_back(*entries);
}

std::optional<std::string> Environment::find(std::string_view name) const {
  for (const std::string& entry : entries_) {
    if (name_of(entry) == name && entry.size() > name.size()) return entry.substr(name.size() + 1);
  }
  return std::nullopt;
}

void Environment::set(const std::string& assignment) {
  const std::string_view name = name_of(assignment);
  const auto same = [name](const std::string& entry) { return name_of(entry) == name; };
  std::erase_if(entries_, same);
  entries_.push_back(assignment);
}

Environment Environment::without_outer_launcher() const {
  Environment kept;
  std::copy_if(entries_.begin(), entries_.end(), std::back_inserter(kept.entries_),
               [](const std::string& entry) { return !belongs_to_outer_launcher(name_of(entry)); });
  return kept;
}

bool belongs_to_outer_launcher(std::string_view name) {
  const auto begins = [name](std::string_view prefix) { return name.starts_with(prefix); };
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), begins) ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace lockstep::cli
