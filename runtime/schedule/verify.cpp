// Proves a set of plans by running them without a clock: sends meet waits, nobody blocks, all know.
#include <deque>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "runtime/schedule/plan.hpp"

namespace lockstep::schedule {
namespace {

using Edge = std::tuple<NodeIndex, NodeIndex, std::uint16_t>;  // from, to, round
using Known = std::vector<std::uint64_t>;                      // one bit per node

struct Message {
  Known known;
  bool sent = false;
  bool received = false;
};

/// Every send must have exactly one wait with the same ends and round, and the other way round.
std::string match(const std::vector<Plan>& plans, std::map<Edge, Message>& messages) {
  std::map<Edge, std::pair<int, int>> ends;
  for (NodeIndex self = 0; self < plans.size(); ++self) {
    for (const Step& step : plans[self]) {
      if (step.peer >= plans.size()) return fmt::format("node {} names node {}", self, step.peer);
      if (step.peer == self) return fmt::format("node {} names itself", self);
      if (step.kind == StepKind::send) {
        ++ends[{self, step.peer, step.round}].first;
      } else {
        ++ends[{step.peer, self, step.round}].second;
      }
    }
  }
  for (const auto& [edge, count] : ends) {
    const auto& [from, to, round] = edge;
    if (count.first != 1 || count.second != 1) {
      return fmt::format("message {} -> {} in round {}: {} sends, {} waits", from, to, round,
                         count.first, count.second);
    }
    messages[edge];
  }
  return {};
}

}  // namespace

std::string verify(const std::vector<Plan>& plans) {
  std::map<Edge, Message> messages;
  if (std::string wrong = match(plans, messages); !wrong.empty()) return wrong;

  const std::size_t size = plans.size();
  const std::size_t words = (size + 63) / 64;
  std::vector<Known> known(size, Known(words, 0));
  std::vector<std::size_t> position(size, 0);
  std::deque<NodeIndex> runnable;
  for (NodeIndex self = 0; self < size; ++self) {
    known[self][self / 64] |= std::uint64_t{1} << (self % 64);
    runnable.push_back(self);
  }
  while (!runnable.empty()) {
    const NodeIndex self = runnable.front();
    runnable.pop_front();
    while (position[self] < plans[self].size()) {
      const Step& step = plans[self][position[self]];
      if (step.kind == StepKind::send) {
        Message& message = messages[{self, step.peer, step.round}];
        message.known = known[self];
        message.sent = true;
        runnable.push_back(step.peer);
      } else {
        Message& message = messages[{step.peer, self, step.round}];
        if (!message.sent) break;
        for (std::size_t w = 0; w < words; ++w) known[self][w] |= message.known[w];
        message.received = true;
        message.known.clear();
      }
      ++position[self];
    }
  }
  for (NodeIndex self = 0; self < size; ++self) {
    if (position[self] != plans[self].size()) {
      return fmt::format("node {} blocks at step {}", self, position[self]);
    }
    for (NodeIndex other = 0; other < size; ++other) {
      if ((known[self][other / 64] >> (other % 64) & 1) == 0) {
        return fmt::format("node {} ends without having heard of node {}", self, other);
      }
    }
  }
  return {};
}

}  // namespace lockstep::schedule
