// Where nodes hang in the network: the switches above each, as names and as tiers. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::topology {

/// The switches above a node, outermost first; empty where nothing is known. Blocks and rings are
/// switches here too: whatever is nearer within than without.
using SwitchPath = std::vector<std::string>;

inline constexpr std::size_t kSwitchesMax = 16;       ///< levels above a node
inline constexpr std::size_t kSwitchTextMax = 1'024;  ///< bytes of a path as text

/// Reads SLURM_TOPOLOGY_ADDR by its SLURM_TOPOLOGY_ADDR_PATTERN, e.g. "core.s1.n3.example.org" by
/// "switch.switch.node": the pattern counts, since names of nodes may have dots in them. Nothing if
/// the two do not fit.
std::optional<SwitchPath> read_slurm_address(std::string_view address, std::string_view pattern);

/// "core.s1", as people type it and as it travels. Empty text: no switches. Nothing if it has an
/// empty name in it, or is too long.
std::optional<SwitchPath> read_path(std::string_view text);
std::string path_text(const SwitchPath& path);

/// The tiers of some nodes as numbers: level 0 is the job, level depth() the leaf switches. Nodes
/// with fewer switches above them than others hang at the top, each on its own.
class Tiers {
 public:
  Tiers() = default;
  explicit Tiers(const std::vector<SwitchPath>& paths);

  std::size_t size() const noexcept { return tier_.size(); }
  std::size_t depth() const noexcept { return depth_; }
  /// Equal for two nodes if they are in the same tier of that level.
  std::uint32_t tier(std::uint32_t node, std::size_t level) const noexcept {
    return level == 0 ? 0 : tier_[node][level - 1];
  }
  /// Tiers at the leaf level: 1 where nothing is known.
  std::uint32_t leaves() const noexcept { return leaves_; }

 private:
  std::size_t depth_ = 0;
  std::uint32_t leaves_ = 1;
  std::vector<std::vector<std::uint32_t>> tier_;  ///< per node, per level from 1
};

/// Paths of a made-up machine, e.g. "switch:4 switch:2 node:25": 4 switches of 2 switches of 25
/// nodes. Nothing if the text is anything else or names more than a million nodes.
std::optional<std::vector<SwitchPath>> synthetic(std::string_view text);

}  // namespace lockstep::topology
