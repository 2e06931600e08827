// The variables of outer launchers, in one table, and the environment as a value.
#include "api/cli/environment.hpp"

#include <algorithm>
#include <array>

namespace lockstep::cli {
namespace {

using namespace std::string_view_literals;

// Whole families. SLURM_JOB_* stays: it is about the allocation, which the ranks do run in, and
// the time limit is asked for by its job id.
constexpr std::array kPrefixes = {
    "PMIX_"sv,       "PMI_"sv,      "PMI2_"sv,       "OMPI_"sv,          "PRTE_"sv,
    "HYDRA_"sv,      "MPIEXEC_"sv,  "PALS_"sv,       "FLUX_TASK_"sv,     "TORCHELASTIC_"sv,
    "SLURM_STEP_"sv, "SLURM_PMI"sv, "SLURM_SRUN_"sv, "SLURM_CPU_BIND"sv, "SLURM_MEM_BIND"sv,
};

constexpr std::array kNames = {
    "SLURM_PROCID"sv,
    "SLURM_LOCALID"sv,
    "SLURM_NODEID"sv,
    "SLURM_GTIDS"sv,
    "SLURM_TASK_PID"sv,
    "SLURM_STEPID"sv,
    "SLURM_NTASKS"sv,
    "SLURM_NPROCS"sv,
    "SLURM_NTASKS_PER_NODE"sv,
    "SLURM_TASKS_PER_NODE"sv,
    "SLURM_NNODES"sv,
    "SLURM_DISTRIBUTION"sv,
    "SLURM_TOPOLOGY_ADDR"sv,
    "SLURMD_NODENAME"sv,
    "SLURM_TOPOLOGY_ADDR_PATTERN"sv,
    "SLURM_MPI_TYPE"sv,
    "SLURM_LAUNCH_NODE_IPADDR"sv,
    "MPI_LOCALRANKID"sv,
    // torchrun's: its rendezvous (MASTER_ADDR, MASTER_PORT) names no rank and stays.
    "RANK"sv,
    "WORLD_SIZE"sv,
    "LOCAL_RANK"sv,
    "LOCAL_WORLD_SIZE"sv,
    "GROUP_RANK"sv,
    "GROUP_WORLD_SIZE"sv,
    "ROLE_RANK"sv,
    "ROLE_WORLD_SIZE"sv,
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
