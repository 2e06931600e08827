// From what all members say about their GPUs to who of them reach each other directly. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/gpu/device.hpp"

namespace lockstep::gpu {

/// What a member says about its GPU.
struct Seat {
  Uuid uuid{};
  Fabric fabric;
  NodeIndex node = 0;
  bool is_instance = false;  ///< of MIG: these reach nobody
};

/// Members are numbers within their group here. A class is named by its lowest member.
using Classes = std::vector<Rank>;

/// The lowest member on each GPU of that node, ascending: about these a member of the node answers
/// whether its own GPU reaches theirs.
std::vector<Rank> first_on_each(std::span<const Seat> seats, NodeIndex node);

/// A member's answers, in that order.
using Answers = std::vector<lockstep_gpu_reach_t>;

/// Where a member's packed answers lie among those of all.
struct Place {
  std::size_t offset;
  std::size_t length;
};
struct Layout {
  std::vector<Place> places;  ///< by member
  std::size_t total = 0;
};
Layout layout_of(std::span<const Seat> seats);
std::vector<std::byte> pack(const Answers& answers);
/// The answers of all members, from their packed bytes.
std::vector<Answers> unpack(std::span<const Seat> seats, const Layout& layout,
                            std::span<const std::byte> bytes);

struct Groups {
  /// Who are in one, directly or over others: members on one GPU; on GPUs of one node of which both
  /// say that they reach the other; on GPUs of one fabric and clique, on whatever nodes.
  Classes classes;
  /// Members whose GPUs might reach another's of their node, but somebody cannot tell. Ascending.
  std::vector<Rank> doubtful;
};
Groups group(std::span<const Seat> seats, std::span<const Answers> answers);

}  // namespace lockstep::gpu
