// Each scope divides a group into classes; the group of a class is found, or made by a split.
#include "runtime/scopes.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/collect.hpp"
#include "runtime/session.hpp"

namespace lockstep {
namespace {

/// A class for each value, named by its lowest member.
template <class T>
filesystem::Classes by_value(const std::vector<T>& values) {
  filesystem::Classes classes;
  std::map<T, Rank> lowest;
  for (Rank member = 0; member < values.size(); ++member) {
    classes.push_back(lowest.try_emplace(values[member], member).first->second);
  }
  return classes;
}

}  // namespace

Result<Scopes::Part> Scopes::part_of(Group& parent, lockstep_scope_t scope, const std::string& path,
                                     const Call& call) {
  Record& record = record_of(parent);
  Result<Classes> found = classes_of(record, parent, scope, path, call);
  if (!found.ok()) return found.status();
  const Classes& classes = *found;
  const std::uint32_t count = filesystem::count(classes);
  if (count == 1) return Part{&parent, 1};
  if (&parent == &session_.job() && classes == by_node(parent)) {
    return Part{&session_.local(), count};
  }
  for (const Record::Made& made : record.made) {
    if (made.classes == classes) return Part{made.group, count};
  }
  Result<Group*> group = session_.split(parent, classes[parent.rank()], call);
  if (!group.ok()) return group.status();
  std::lock_guard lock(mutex_);
  record.made.push_back({classes, *group});
  return Part{*group, count};
}

Result<Scopes::Classes> Scopes::classes_of(Record& record, Group& parent, lockstep_scope_t scope,
                                           const std::string& path, const Call& call) {
  // Those who pass another scope than the others would wait in another round, or in none.
  if (scope == LOCKSTEP_PER_FILE_SYSTEM) return record.files.find(parent, call, path);
  if (const auto known = record.fixed.find(scope); known != record.fixed.end()) {
    return known->second;
  }
  Result<Classes> classes = Classes(parent.size(), 0);
  if (scope == LOCKSTEP_PER_NODE) classes = by_node(parent);
  if (scope == LOCKSTEP_PER_NUMA) classes = by_domain(parent, call);
  if (scope == LOCKSTEP_PER_SWITCH) classes = by_switch(parent, call);
  if (scope == LOCKSTEP_PER_GPU_GROUP) classes = by_gpus(parent, call);
  if (classes.ok()) record.fixed.emplace(scope, *classes);
  return classes;
}

Scopes::Classes Scopes::by_node(const Group& parent) const {
  std::vector<NodeIndex> nodes;
  for (const Rank rank : parent.ranks()) nodes.push_back(session_.identity().node_of[rank]);
  return by_value(nodes);
}

/// Only ranks of a node know its domains.
Result<Scopes::Classes> Scopes::by_domain(Group& parent, const Call& call) const {
  const bootstrap::Identity& who = session_.identity();
  const auto domain = session_.page().members()[session_.local_rank()].domain;
  const std::uint64_t mine = std::uint64_t{who.node()} << 32 | static_cast<std::uint32_t>(domain);
  Result<std::vector<std::uint64_t>> all = share_each(parent, call, mine);
  if (!all.ok()) return all.status();
  return by_value(*all);
}

Result<Scopes::Classes> Scopes::by_gpus(Group& parent, const Call& call) const {
  Result<Gpus::Survey> survey = session_.gpus().survey_all(parent, call);
  if (!survey.ok()) return survey.status();
  return std::move(survey->groups.classes);
}

Result<Scopes::Classes> Scopes::by_switch(Group& parent, const Call& call) const {
  // Those of one node share whatever is above it.
  if (filesystem::count(by_node(parent)) == 1) return Classes(parent.size(), 0);
  const topology::SwitchPath& path = session_.own_switches();
  const std::uint64_t mine = path.empty() ? 0 : hash_text(topology::path_text(path)) | 1;
  Result<std::vector<std::uint64_t>> all = share_each(parent, call, mine);
  if (!all.ok()) return all.status();
  const auto unknown = std::find(all->begin(), all->end(), 0);
  if (unknown == all->end()) return by_value(*all);
  return Status(
      LOCKSTEP_E_UNSUPPORTED,
      fmt::format("{}: the switches above {} are not known; Slurm tells them with its plugins "
                  "topology/tree and topology/block, or type LOCKSTEP_SWITCHES=... (lockstep info)",
                  call.text(), member_name(parent, static_cast<Rank>(unknown - all->begin()))));
}

Scopes::Record& Scopes::record_of(const Group& parent) {
  std::lock_guard lock(mutex_);
  std::unique_ptr<Record>& record = records_[&parent];
  if (record == nullptr) record = std::make_unique<Record>();
  return *record;
}

bool Scopes::owns(const Group* group) const {
  std::lock_guard lock(mutex_);
  for (const auto& [parent, record] : records_) {
    for (const Record::Made& made : record->made) {
      if (made.group == group) return true;
    }
  }
  return false;
}

std::vector<Group*> Scopes::forget(const Group* parent) {
  std::lock_guard lock(mutex_);
  const auto found = records_.find(parent);
  if (found == records_.end()) return {};
  std::vector<Group*> ending;
  for (const Record::Made& made : found->second->made) ending.push_back(made.group);
  records_.erase(found);
  return ending;
}

}  // namespace lockstep
