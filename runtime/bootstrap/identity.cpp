// The resolver's order below PMIx, its refusals and its contradictions.
#include "runtime/bootstrap/identity.hpp"

#include <unistd.h>

#include <array>

#include <fmt/format.h>

namespace lockstep::bootstrap {
namespace {

struct Source {
  const char* name;
  const char* rank;
  std::array<const char*, 2> sizes;  ///< the first that is there counts
  bool is_whole;  ///< one of the two without the other is a fault, not a stranger
};

/// In the order of trust: the closer to the process manager, the earlier.
constexpr std::array kSources = {
    Source{"PMI", "PMI_RANK", {"PMI_SIZE", nullptr}, true},  // Cray's and Slurm's pmi2
    Source{"Open MPI", "OMPI_COMM_WORLD_RANK", {"OMPI_COMM_WORLD_SIZE", nullptr}, true},
    Source{"Slurm", "SLURM_PROCID", {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, true},
    Source{"torch", "RANK", {"WORLD_SIZE", nullptr}, false},
};

const char* size_name(const Environment& environment, const Source& source) {
  for (const char* const name : source.sizes) {
    if (name != nullptr && environment.get(name)) return name;
  }
  return nullptr;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

/// A batch script or an allocation's shell is not a task of a step, whatever its variables say.
bool is_batch_shell(const Environment& environment, const Source& source) {
  return std::string_view(source.name) == "Slurm" &&
         (!environment.get("SLURM_STEP_ID") || environment.get("SLURM_STEP_ID") == "4294967291" ||
          environment.get("SLURM_STEP_ID") == "4294967290");
}

/// Every process prints its own; what to type is said by one of them, or it would be said n times.
std::string refusal(const Claim& one) {
  const std::string who = fmt::format(
      "this is rank {} of {} by {}, but there is no PMIx server to reach the others "
      "through; ",
      one.rank, one.size, one.source);
  if (one.rank != 0) return who + "rank 0 says what to type";
  return who + fmt::format(
                   "type: srun --mpi=pmix PROGRAM, or: lockstep run -n {} PROGRAM, or, if "
                   "each process is meant to run on its own: LOCKSTEP_BOOTSTRAP=single",
                   one.size);
}

}  // namespace

std::vector<Rank> Identity::members(NodeIndex node) const {
  std::vector<Rank> ranks;
  for (Rank r = 0; r < size; ++r) {
    if (node_of[r] == node) ranks.push_back(r);
  }
  return ranks;
}

Result<std::optional<Claim>> claim_of(const Environment& environment) {
  for (const Source& source : kSources) {
    const auto rank_text = environment.get(source.rank);
    const char* const size_from = size_name(environment, source);
    const bool has_both = rank_text && size_from != nullptr;
    const bool has_any = rank_text || size_from != nullptr;
    // An allocation's shell has SLURM_NTASKS and no rank: it is a job of one, not half a task.
    if (!has_any || is_batch_shell(environment, source) || (!has_both && !source.is_whole))
      continue;
    if (!has_both) {
      return Status(
          LOCKSTEP_E_IDENTITY,
          fmt::format("{} is set, but {} is not: who this process is cannot be told; unset "
                      "what is left over, or set LOCKSTEP_BOOTSTRAP=single",
                      rank_text ? source.rank : size_from,
                      rank_text ? source.sizes.front() : source.rank));
    }
    const auto rank = environment.number(source.rank);
    const auto size = environment.number(size_from);
    if (!rank || !size || *size == 0 || *rank >= *size) {
      return Status(LOCKSTEP_E_IDENTITY,
                    fmt::format("{}={} with {}={} makes no sense: expected a rank below the size",
                                source.rank, *rank_text, size_from, *environment.get(size_from)));
    }
    return std::optional<Claim>(
        Claim{fmt::format("{} ({}, {})", source.name, source.rank, size_from), *rank, *size});
  }
  return std::optional<Claim>();
}

bool has_pmix(const Environment& environment) {
  return environment.get("PMIX_NAMESPACE").has_value() && environment.get("PMIX_RANK").has_value();
}

Status check_claims(const Identity& identity, const Environment& environment) {
  const auto contradict = [&](const char* rank_name, const char* size_name) -> Status {
    const auto rank = environment.number(rank_name);
    const auto size = environment.number(size_name);
    if (!rank || !size || (*rank == identity.rank && *size == identity.size)) return {};
    return {LOCKSTEP_E_IDENTITY,
            fmt::format("PMIx says rank {} of {}, but {}={} {}={}: either several processes share "
                        "one PMIx rank (start one process per task: srun --mpi=pmix), or the "
                        "variables are left over (unset {} {})",
                        identity.rank, identity.size, rank_name, *rank, size_name, *size, rank_name,
                        size_name)};
  };
  if (Status status = contradict("RANK", "WORLD_SIZE"); !status.ok()) return status;
  // Only Slurm's own server speaks of Slurm's tasks: mpirun's daemons are Slurm tasks of their own.
  // Parts of a heterogeneous step count their tasks apart.
  if (identity.job.starts_with("slurm.pmix.") && !environment.get("SLURM_HET_SIZE")) {
    return contradict("SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  }
  return {};
}

Result<Identity> resolve_without_pmix(const Environment& environment) {
  Result<std::optional<Claim>> claim = claim_of(environment);
  if (!claim.ok()) return claim.status();
  if (claim->has_value() && claim.value()->size > 1) {
    return Status(LOCKSTEP_E_IDENTITY, refusal(*claim.value()));
  }
  Identity identity;
  identity.source = "single";
  identity.job = fmt::format("single.{}", getpid());
  identity.node_of = {0};
  identity.hosts = {host_name()};
  return identity;
}

}  // namespace lockstep::bootstrap
