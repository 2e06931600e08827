// Joins what PMIx needs across nodes: fences by their set of ranks, data requests by their owner.
#pragma once

#include "api/cli/channel.hpp"
#include "api/cli/placement.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace lockstep::cli {

/// A message on its way to a node server.
struct Outgoing {
  NodeIndex node;
  Message message;
};

/// Pure bookkeeping: messages in, messages out. A node whose ranks have all ended is not waited
/// for: whoever still waits for them gets `lost_status`, so nobody hangs.
class Exchange {
 public:
  Exchange(const Placement& placement, std::int32_t lost_status);

  [[nodiscard]] std::vector<Outgoing> on_fence(NodeIndex from, const Message& message);
  [[nodiscard]] std::vector<Outgoing> on_modex(NodeIndex from, const Message& message);
  [[nodiscard]] std::vector<Outgoing> on_modex_answer(const Message& message);
  [[nodiscard]] std::vector<Outgoing> rank_gone(Rank rank);
  /// The node's server is gone, and with it every answer it owed.
  [[nodiscard]] std::vector<Outgoing> server_gone(NodeIndex node);

 private:
  struct Part {
    std::uint64_t id;
    std::int32_t status;
    std::string bytes;
  };
  // A queue per node: a fast node may come round to the same set before a slow one is through.
  struct Fence {
    std::vector<NodeIndex> nodes;
    std::map<NodeIndex, std::deque<Part>> parts;
  };
  using FenceMap = std::map<std::vector<Rank>, Fence>;
  struct Question {
    NodeIndex asker;
    NodeIndex owner;
    std::uint64_t id;
  };

  [[nodiscard]] std::vector<NodeIndex> nodes_of(const std::vector<Rank>& ranks) const;
  [[nodiscard]] bool is_waited_for(NodeIndex node, const std::vector<Rank>& ranks) const;
  [[nodiscard]] bool is_complete(const FenceMap::value_type& entry) const;
  void answer(Fence& fence, std::vector<Outgoing>& out) const;
  void settle(std::vector<Outgoing>& out);

  const Placement& placement_;
  std::int32_t lost_status_;
  std::vector<bool> is_alive_;
  FenceMap fences_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t next_question_ = 1;
};

}  // namespace lockstep::cli
