// Members are joined pair by pair; what is joined over others is joined.
#include "runtime/gpu/grouping.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace lockstep::gpu {
namespace {

constexpr unsigned kAnswerBits = 2;
constexpr std::size_t kAnswersPerByte = 8 / kAnswerBits;

/// Classes that grow together, each named by its lowest member.
class Joined {
 public:
  explicit Joined(std::size_t members) : below_(members) {
    std::iota(below_.begin(), below_.end(), Rank{0});
  }
  Rank find(Rank member) {
    while (below_[member] != member) {
      below_[member] = below_[below_[member]];
      member = below_[member];
    }
    return member;
  }
  void join(Rank a, Rank b) {
    const auto [low, high] = std::minmax({find(a), find(b)});
    below_[high] = low;
  }
  Classes classes() {
    Classes all(below_.size());
    for (Rank member = 0; member < all.size(); ++member) all[member] = find(member);
    return all;
  }

 private:
  std::vector<Rank> below_;
};

struct Node {
  std::vector<Rank> members;
  std::vector<Rank> first_on_each;
};

std::map<NodeIndex, Node> nodes_of(std::span<const Seat> seats) {
  std::map<NodeIndex, Node> nodes;
  std::map<std::pair<NodeIndex, Uuid>, Rank> seen;
  for (Rank member = 0; member < seats.size(); ++member) {
    Node& node = nodes[seats[member].node];
    node.members.push_back(member);
    if (seen.try_emplace({seats[member].node, seats[member].uuid}, member).second) {
      node.first_on_each.push_back(member);
    }
  }
  return nodes;
}

std::size_t packed_length(std::size_t answers) {
  return (answers + kAnswersPerByte - 1) / kAnswersPerByte;
}

/// What two members of a node, on different GPUs, say about each other together.
lockstep_gpu_reach_t both(lockstep_gpu_reach_t one, lockstep_gpu_reach_t other) {
  if (one == LOCKSTEP_GPU_APART || other == LOCKSTEP_GPU_APART) return LOCKSTEP_GPU_APART;
  if (one == LOCKSTEP_GPU_REACHES && other == LOCKSTEP_GPU_REACHES) return LOCKSTEP_GPU_REACHES;
  return LOCKSTEP_GPU_CANNOT_TELL;
}

}  // namespace

std::vector<Rank> first_on_each(std::span<const Seat> seats, NodeIndex node) {
  std::map<NodeIndex, Node> nodes = nodes_of(seats);
  return std::move(nodes[node].first_on_each);
}

Layout layout_of(std::span<const Seat> seats) {
  std::map<NodeIndex, Node> nodes = nodes_of(seats);
  Layout layout;
  for (const Seat& seat : seats) {
    const std::size_t length = packed_length(nodes[seat.node].first_on_each.size());
    layout.places.push_back({layout.total, length});
    layout.total += length;
  }
  return layout;
}

std::vector<std::byte> pack(const Answers& answers) {
  std::vector<std::byte> bytes(packed_length(answers.size()));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto shift = static_cast<unsigned>(i % kAnswersPerByte) * kAnswerBits;
    bytes[i / kAnswersPerByte] |= static_cast<std::byte>(answers[i]) << shift;
  }
  return bytes;
}

std::vector<Answers> unpack(std::span<const Seat> seats, const Layout& layout,
                            std::span<const std::byte> bytes) {
  std::map<NodeIndex, Node> nodes = nodes_of(seats);
  std::vector<Answers> all(seats.size());
  for (Rank member = 0; member < seats.size(); ++member) {
    const std::span<const std::byte> mine =
        bytes.subspan(layout.places[member].offset, layout.places[member].length);
    all[member].resize(nodes[seats[member].node].first_on_each.size());
    for (std::size_t i = 0; i < all[member].size(); ++i) {
      const auto shift = static_cast<unsigned>(i % kAnswersPerByte) * kAnswerBits;
      const auto value = static_cast<unsigned>(mine[i / kAnswersPerByte] >> shift) & 3u;
      all[member][i] = static_cast<lockstep_gpu_reach_t>(value);
    }
  }
  return all;
}

Groups group(std::span<const Seat> seats, std::span<const Answers> answers) {
  Joined joined(seats.size());
  std::vector<bool> is_doubtful(seats.size());
  for (const auto& [index, node] : nodes_of(seats)) {
    std::map<Uuid, std::size_t> column;
    for (const Rank first : node.first_on_each) column.emplace(seats[first].uuid, column.size());
    for (const Rank a : node.members) {
      for (const Rank b : node.members) {
        if (b >= a) break;
        if (seats[a].uuid == seats[b].uuid) {
          joined.join(a, b);
          continue;
        }
        if (seats[a].is_instance || seats[b].is_instance) continue;
        if (seats[a].fabric.is_known() && seats[a].fabric == seats[b].fabric) continue;  // below
        const lockstep_gpu_reach_t verdict =
            both(answers[a][column[seats[b].uuid]], answers[b][column[seats[a].uuid]]);
        if (verdict == LOCKSTEP_GPU_REACHES) joined.join(a, b);
        if (verdict == LOCKSTEP_GPU_CANNOT_TELL) is_doubtful[a] = is_doubtful[b] = true;
      }
    }
  }
  std::map<Fabric, Rank> fabrics;
  for (Rank member = 0; member < seats.size(); ++member) {
    const Fabric& fabric = seats[member].fabric;
    if (!fabric.is_known() || seats[member].is_instance) continue;
    joined.join(member, fabrics.try_emplace(fabric, member).first->second);
  }
  Groups groups{joined.classes(), {}};
  for (Rank member = 0; member < seats.size(); ++member) {
    if (is_doubtful[member]) groups.doubtful.push_back(member);
  }
  return groups;
}

}  // namespace lockstep::gpu
