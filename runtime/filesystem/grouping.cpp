// Classes grow by joining: whoever has read a name belongs to the one who has written it.
#include "runtime/filesystem/grouping.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <tuple>

namespace lockstep::filesystem {
namespace {

/// Everybody points to a lower member of the same class, or to itself.
Rank lowest_of(Classes& classes, Rank member) {
  while (classes[member] != member) {
    classes[member] = classes[classes[member]];
    member = classes[member];
  }
  return member;
}

void join(Classes& classes, Rank a, Rank b) {
  a = lowest_of(classes, a);
  b = lowest_of(classes, b);
  classes[std::max(a, b)] = std::min(a, b);
}

Classes each_alone(std::size_t size) {
  Classes classes(size);
  for (Rank member = 0; member < size; ++member) classes[member] = member;
  return classes;
}

}  // namespace

std::vector<Rank> lacking(std::span<const Facts> facts) {
  std::uint32_t least = UINT32_MAX;
  for (const Facts& one : facts) least = std::min(least, one.missing);
  std::vector<Rank> members;
  for (Rank member = 0; member < facts.size(); ++member) {
    if (facts[member].missing > least) members.push_back(member);
  }
  return members;
}

Classes same_views(std::span<const Facts> facts, std::span<const NodeIndex> node_of) {
  Classes views(facts.size());
  std::map<std::tuple<NodeIndex, std::uint64_t, std::uint64_t>, Rank> lowest;
  for (Rank member = 0; member < facts.size(); ++member) {
    const Facts& one = facts[member];
    views[member] =
        lowest.try_emplace({node_of[member], one.mount, one.folder}, member).first->second;
  }
  return views;
}

Classes same_files(std::span<const Facts> facts, std::span<const Rank> views,
                   std::span<const Rank> found) {
  Classes classes = each_alone(facts.size());
  std::map<std::uint64_t, Rank> alike;
  for (Rank member = 0; member < facts.size(); ++member) {
    if (views[member] != member) {
      join(classes, member, views[member]);
    } else if (found[member] < facts.size()) {
      join(classes, member, found[member]);
    } else {
      join(classes, member, alike.try_emplace(facts[member].likeness, member).first->second);
    }
  }
  for (Rank member = 0; member < facts.size(); ++member) {
    classes[member] = lowest_of(classes, member);
  }
  return classes;
}

std::uint32_t count(std::span<const Rank> classes) {
  std::uint32_t found = 0;
  for (Rank member = 0; member < classes.size(); ++member) found += classes[member] == member;
  return found;
}

bool holds_for(const Known& known, std::span<const Facts> facts) {
  if (known.facts.size() != facts.size()) return false;
  bool is_exact = true;
  bool is_about_mounts = true;
  for (Rank member = 0; member < facts.size(); ++member) {
    const Facts& then = known.facts[member];
    if (then.mount != facts[member].mount) return false;
    is_exact = is_exact && then == facts[member];
    is_about_mounts = is_about_mounts && then.folder == known.facts.front().folder &&
                      facts[member].likeness == facts[known.classes[member]].likeness;
  }
  return is_exact || is_about_mounts;
}

}  // namespace lockstep::filesystem
