// The stream barriers of a session's groups.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "runtime/group.hpp"

namespace lockstep {

class Session;
class StreamBarrier;

class StreamBarriers {
 public:
  explicit StreamBarriers(Session& session);
  ~StreamBarriers();
  StreamBarriers(const StreamBarriers&) = delete;
  StreamBarriers& operator=(const StreamBarriers&) = delete;

  /// Makes that of a group that has none. Collective. Ends with the group.
  Result<StreamBarrier*> prepare(Group& group, const Call& call);
  /// nullptr: it has none.
  StreamBarrier* find(const Group& group);
  /// The group ends.
  void forget(const Group* group);
  void clear();

 private:
  class Setup;  // stream_barrier_setup.cpp
  void end(std::unique_ptr<StreamBarrier> barrier);

  Session& session_;
  std::mutex mutex_;
  std::map<const Group*, std::unique_ptr<StreamBarrier>> barriers_;
};

}  // namespace lockstep
