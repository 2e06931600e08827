// Who and where this process is: the facts that everything else is computed from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep::bootstrap {

struct Identity {
  std::string source;  ///< "pmix" or "single"
  std::string job;     ///< the launcher's name of the job
  Rank rank = 0;
  std::uint32_t size = 1;
  std::vector<NodeIndex> node_of;  ///< per rank; nodes are numbered by their lowest rank
  std::vector<std::string> hosts;  ///< per node

  NodeIndex node() const { return node_of[rank]; }
  /// Ranks of a node, ascending; the first is the node's leader.
  std::vector<Rank> members(NodeIndex node) const;
};

/// What the environment alone says: "rank 3 of 8, says SLURM_PROCID". It names a place, not a way
/// to reach the others.
struct Claim {
  std::string source;
  Rank rank = 0;
  std::uint32_t size = 1;
};

/// The first of Cray PMI, PMI2, Slurm and torch variables that is there. Nothing if none is;
/// LOCKSTEP_E_IDENTITY if one is there in part or makes no sense.
Result<std::optional<Claim>> claim_of(const Environment& environment);

bool has_pmix(const Environment& environment);

/// Loud where the environment contradicts what PMIx said.
Status check_claims(const Identity& identity, const Environment& environment);

/// For a process without PMIx: a job of one, or the refusal to be one of many on its own.
Result<Identity> resolve_without_pmix(const Environment& environment);

}  // namespace lockstep::bootstrap
