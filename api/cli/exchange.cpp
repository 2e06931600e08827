// When a fence is complete, and to whom an answer belongs.
#include "api/cli/exchange.hpp"

#include <algorithm>
#include <numeric>

namespace lockstep::cli {

Exchange::Exchange(const Placement& placement, std::int32_t lost_status)
    : placement_(placement), lost_status_(lost_status), is_alive_(placement.size(), true) {}

std::vector<Outgoing> Exchange::on_fence(NodeIndex from, const Message& message) {
  std::vector<Rank> ranks = message.ranks;
  if (ranks.empty()) {  // PMIx's wildcard: all ranks
    ranks.resize(placement_.size());
    std::iota(ranks.begin(), ranks.end(), Rank{0});
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());

  Fence& fence = fences_[ranks];
  if (fence.nodes.empty()) fence.nodes = nodes_of(ranks);
  fence.parts[from].push_back({.id = message.id, .status = message.value, .bytes = message.bytes});
  std::vector<Outgoing> out;
  settle(out);
  return out;
}

std::vector<NodeIndex> Exchange::nodes_of(const std::vector<Rank>& ranks) const {
  std::vector<NodeIndex> nodes;
  for (const Rank rank : ranks) {
    if (rank < placement_.size()) nodes.push_back(placement_.places[rank].node);
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

bool Exchange::is_waited_for(NodeIndex node, const std::vector<Rank>& ranks) const {
  const auto can_come = [&](Rank rank) {
    return rank < placement_.size() && placement_.places[rank].node == node && is_alive_[rank];
  };
  return std::any_of(ranks.begin(), ranks.end(), can_come);
}

bool Exchange::is_complete(const FenceMap::value_type& entry) const {
  const auto& [ranks, fence] = entry;
  bool is_complete = !fence.parts.empty();
  for (const NodeIndex node : fence.nodes) {
    const bool has_come = fence.parts.contains(node);
    is_complete = is_complete && (has_come || !is_waited_for(node, ranks));
  }
  return is_complete;
}

void Exchange::answer(Fence& fence, std::vector<Outgoing>& out) const {
  Message reply{.kind = MessageKind::fence_answer};
  std::vector<Outgoing> answers;
  for (const NodeIndex node : fence.nodes) {
    const auto found = fence.parts.find(node);
    if (found == fence.parts.end()) {
      if (reply.value == 0) reply.value = lost_status_;
      continue;
    }
    Part part = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) fence.parts.erase(found);
    if (reply.value == 0) reply.value = part.status;
    reply.bytes += part.bytes;
    answers.push_back({.node = node, .message = {.kind = reply.kind, .id = part.id}});
  }
  for (Outgoing& one : answers) {
    one.message.value = reply.value;
    one.message.bytes = reply.bytes;
    out.push_back(std::move(one));
  }
}

void Exchange::settle(std::vector<Outgoing>& out) {
  for (auto entry = fences_.begin(); entry != fences_.end();) {
    while (is_complete(*entry)) answer(entry->second, out);
    entry = entry->second.parts.empty() ? fences_.erase(entry) : std::next(entry);
  }
}

std::vector<Outgoing> Exchange::on_modex(NodeIndex from, const Message& message) {
  const bool is_known = message.rank < placement_.size();
  if (!is_known || !is_alive_[message.rank]) {
    return {
        {.node = from,
         .message = {.kind = MessageKind::modex_answer, .value = lost_status_, .id = message.id}}};
  }
  const NodeIndex owner = placement_.places[message.rank].node;
  const std::uint64_t id = next_question_++;
  questions_[id] = {.asker = from, .owner = owner, .id = message.id};
  return {{.node = owner, .message = {.kind = MessageKind::modex, .rank = message.rank, .id = id}}};
}

std::vector<Outgoing> Exchange::on_modex_answer(const Message& message) {
  const auto found = questions_.find(message.id);
  if (found == questions_.end()) return {};
  Outgoing answer{.node = found->second.asker, .message = message};
  answer.message.id = found->second.id;
  questions_.erase(found);
  return {answer};
}

std::vector<Outgoing> Exchange::rank_gone(Rank rank) {
  is_alive_[rank] = false;
  std::vector<Outgoing> out;
  settle(out);
  return out;
}

std::vector<Outgoing> Exchange::server_gone(NodeIndex node) {
  for (const Rank rank : placement_.by_node[node]) is_alive_[rank] = false;
  std::vector<Outgoing> out;
  for (auto question = questions_.begin(); question != questions_.end();) {
    const auto [asker, owner, id] = question->second;
    if (owner == node) {
      out.push_back(
          {.node = asker,
           .message = {.kind = MessageKind::modex_answer, .value = lost_status_, .id = id}});
    }
    question = owner == node ? questions_.erase(question) : std::next(question);
  }
  settle(out);
  return out;
}

}  // namespace lockstep::cli
