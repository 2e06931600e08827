// Groups of those who share something: a node, a switch, the file system of a path; made once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lockstep/lockstep.h"
#include "runtime/group.hpp"
#include "runtime/scope_files.hpp"

namespace lockstep {

class Session;

/// Groups are few (docs/scopes.md), and one partition of a group needs one set of them, whatever it
/// was asked by: where all share a file system that is the group itself, and where /tmp is each
/// node's own, the job's groups of that are its nodes'.
class Scopes {
 public:
  explicit Scopes(Session& session) : session_(session) {}

  struct Part {
    Group* group;         ///< lives as long as its parent
    std::uint32_t count;  ///< of parts
  };
  /// See lockstep_group_of(). Collective over the parent.
  Result<Part> part_of(Group& parent, lockstep_scope_t scope, const std::string& path,
                       const Call& call);

  /// Whether a group was made here; it ends with its parent then.
  bool owns(const Group* group) const;
  /// Forgets a group that ends. @return The groups that end with it.
  std::vector<Group*> forget(const Group* parent);

 private:
  using Classes = filesystem::Classes;
  /// What was found out for one group. Its members use it one thread at a time, as they do it.
  struct Record {
    struct Made {
      Classes classes;
      Group* group;
    };
    std::vector<Made> made;
    std::map<lockstep_scope_t, Classes> fixed;  ///< of scopes that do not change
    SameFiles files;
  };

  Record& record_of(const Group& parent);
  Result<Classes> classes_of(Record& record, Group& parent, lockstep_scope_t scope,
                             const std::string& path, const Call& call);
  Classes by_node(const Group& parent) const;
  Result<Classes> by_domain(Group& parent, const Call& call) const;
  Result<Classes> by_gpus(Group& parent, const Call& call) const;
  Result<Classes> by_switch(Group& parent, const Call& call) const;

  Session& session_;
  mutable std::mutex mutex_;
  std::map<const Group*, std::unique_ptr<Record>> records_;
};

}  // namespace lockstep
