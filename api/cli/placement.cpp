// The rules of placement: even shares, the remainder to the first nodes, nobody left empty.
#include "api/cli/placement.hpp"

#include "api/cli/command_error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace lockstep::cli {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw CommandError(kExitBadUse, message);
}

void check_range(const char* option, std::optional<std::int64_t> value, std::int64_t max,
                 const char* what) {
  if (!value) return;
  if (*value < 1) refuse(fmt::format("{} {}: needs at least 1 {}", option, *value, what));
  if (*value > max) refuse(fmt::format("{} {}: the limit is {} {}s", option, *value, max, what));
}

std::int64_t rank_count(const PlacementRequest& request) {
  if (request.ranks) return *request.ranks;
  if (!request.nodes || !request.ranks_per_node) {
    refuse("how many ranks? give -n N, or --nodes K together with --ppn M");
  }
  const std::int64_t ranks = *request.nodes * *request.ranks_per_node;
  if (ranks > kRanksMax) {
    refuse(fmt::format("--nodes {} --ppn {}: makes {} ranks, the limit is {} ranks", *request.nodes,
                       *request.ranks_per_node, ranks, kRanksMax));
  }
  return ranks;
}

std::int64_t node_count(const PlacementRequest& request, std::int64_t ranks) {
  const std::int64_t per_node = request.ranks_per_node.value_or(kRanksMax);
  const std::int64_t needed = (ranks + per_node - 1) / per_node;
  const std::int64_t nodes = request.nodes.value_or(needed);
  if (nodes > ranks) {
    refuse(
        fmt::format("--nodes {}: more nodes than ranks ({}); every node needs one", nodes, ranks));
  }
  if (nodes > kNodesMax) {
    refuse(fmt::format("{} ranks on {} nodes: the limit is {} nodes", ranks, nodes, kNodesMax));
  }
  if (nodes < needed) {
    refuse(
        fmt::format("-n {}: does not fit on {} nodes of {} ranks (--ppn)", ranks, nodes, per_node));
  }
  return nodes;
}

// With --ppn alone nodes are filled up in turn, as a scheduler packs them; otherwise even shares.
std::vector<std::int64_t> block_shares(const PlacementRequest& request, std::int64_t ranks,
                                       std::int64_t nodes) {
  std::vector<std::int64_t> shares;
  const bool packs = request.ranks_per_node.has_value() && !request.nodes.has_value();
  for (std::int64_t node = 0; node < nodes; ++node) {
    const std::int64_t even = ranks / nodes + (node < ranks % nodes ? 1 : 0);
    const std::int64_t packed =
        packs ? std::min(*request.ranks_per_node, ranks - node * *request.ranks_per_node) : 0;
    shares.push_back(packs ? packed : even);
  }
  return shares;
}

void put(Placement& placement, std::int64_t node) {
  const auto index = static_cast<NodeIndex>(node);
  auto& peers = placement.by_node[index];
  const auto local_rank = static_cast<std::uint32_t>(peers.size());
  peers.push_back(placement.size());
  placement.places.push_back({.node = index, .local_rank = local_rank});
}

}  // namespace

Placement place(const PlacementRequest& request) {
  check_range("-n", request.ranks, kRanksMax, "rank");
  check_range("--nodes", request.nodes, kNodesMax, "node");
  check_range("--ppn", request.ranks_per_node, kRanksMax, "rank");
  const std::int64_t ranks = rank_count(request);
  const std::int64_t nodes = node_count(request, ranks);

  Placement placement;
  placement.by_node.resize(static_cast<std::size_t>(nodes));
  if (request.mapping == Mapping::cyclic) {
    for (std::int64_t rank = 0; rank < ranks; ++rank) put(placement, rank % nodes);
    return placement;
  }
  const std::vector<std::int64_t> shares = block_shares(request, ranks, nodes);
  for (std::int64_t node = 0; node < nodes; ++node) {
    for (std::int64_t i = 0; i < shares[static_cast<std::size_t>(node)]; ++i) put(placement, node);
  }
  return placement;
}

std::vector<CpuList> bind_in_turn(const std::vector<CpuList>& units, Rank ranks) {
  std::vector<CpuList> cpus(ranks);
  if (units.empty()) return cpus;
  for (Rank rank = 0; rank < ranks; ++rank) cpus[rank] = units[rank % units.size()];
  return cpus;
}

std::vector<std::string> spread_over_switches(const std::string& text, NodeIndex nodes) {
  std::vector<NodeIndex> sizes;
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    NodeIndex size = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + comma, size);
    if (error != std::errc() || end != text.data() + comma || size == 0) {
      refuse(
          fmt::format("--switches {}: expected a number of switches, or how many nodes each has, "
                      "like 2,2",
                      text));
    }
    sizes.push_back(size);
    sum += size;
    at = comma + 1;
  }
  if (sizes.size() == 1) {
    const NodeIndex count = sizes.front();
    if (count > nodes) {
      refuse(fmt::format("--switches {}: more switches than nodes ({})", text, nodes));
    }
    sizes.assign(count, nodes / count);
    for (NodeIndex i = 0; i < nodes % count; ++i) ++sizes[i];
  } else if (sum != nodes) {
    refuse(
        fmt::format("--switches {}: has places for {} nodes, but there are {}", text, sum, nodes));
  }
  std::vector<std::string> switches;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    switches.insert(switches.end(), sizes[i], fmt::format("s{}", i));
  }
  return switches;
}

std::string node_name(NodeIndex node) {
  return fmt::format("n{}", node);
}

std::string placement_table(const Placement& placement, const std::vector<CpuList>& cpus) {
  std::string table = fmt::format("{:>6} {:>6} {:>6}  {}\n", "rank", "node", "local", "cpus");
  for (Rank rank = 0; rank < placement.size(); ++rank) {
    const auto& [node, local_rank] = placement.places[rank];
    const std::string list =
        cpus[rank].empty() ? "any" : fmt::format("{}", fmt::join(cpus[rank], ","));
    table += fmt::format("{:>6} {:>6} {:>6}  {}\n", rank, node_name(node), local_rank, list);
  }
  return table;
}

}  // namespace lockstep::cli
