// Which rank goes to which emulated node and to which CPUs: pure, so that a table can test it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::cli {

using Rank = std::uint32_t;
using NodeIndex = std::uint32_t;
using CpuList = std::vector<int>;

/// Beyond these one machine only thrashes; a real cluster is what srun is for.
constexpr std::int64_t kRanksMax = 4096;
constexpr std::int64_t kNodesMax = 256;

enum class Mapping { block, cyclic };

/// What the user asked for; what is absent follows from the rest.
struct PlacementRequest {
  std::optional<std::int64_t> ranks;
  std::optional<std::int64_t> nodes;
  std::optional<std::int64_t> ranks_per_node;
  Mapping mapping = Mapping::block;
};

struct Placement {
  struct Place {
    NodeIndex node;
    std::uint32_t local_rank;
  };
  std::vector<Place> places;               ///< By rank.
  std::vector<std::vector<Rank>> by_node;  ///< Ascending ranks of each node; none is empty.

  [[nodiscard]] Rank size() const { return static_cast<Rank>(places.size()); }
  [[nodiscard]] NodeIndex node_count() const { return static_cast<NodeIndex>(by_node.size()); }
};

/// Throws CommandError (bad use) with the limit that was broken.
[[nodiscard]] Placement place(const PlacementRequest& request);

/// Rank i gets unit i modulo their number; empty lists (no binding) where there are no units.
[[nodiscard]] std::vector<CpuList> bind_in_turn(const std::vector<CpuList>& units, Rank ranks);

/// The leaf switch above each node, s0, s1, ...: "2" spreads the nodes over two in order, "3,1"
/// says how many each has. Throws CommandError (bad use) if it does not fit.
[[nodiscard]] std::vector<std::string> spread_over_switches(const std::string& text,
                                                            NodeIndex nodes);

/// The host name that the ranks of an emulated node see: n0, n1, ...
[[nodiscard]] std::string node_name(NodeIndex node);

/// The table that --verbose shows.
[[nodiscard]] std::string placement_table(const Placement& placement,
                                          const std::vector<CpuList>& cpus);

}  // namespace lockstep::cli
