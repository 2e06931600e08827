// How members come to a stream barrier: who reaches whom, memory of GPUs passed by descriptor, and
// a group of those who speak for the others.
#include <algorithm>

#include <fmt/format.h>

#include "lockstep/lockstep.h"
#include "runtime/agree.hpp"
#include "runtime/collect.hpp"
#include "runtime/node/share.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/session.hpp"
#include "runtime/stream_barrier.hpp"
#include "runtime/stream_barriers.hpp"

namespace lockstep {

class StreamBarriers::Setup {
 public:
  Setup(Session& session, Group& group, const Call& call)
      : session_(session), group_(group), call_(patient(call)) {}

  ~Setup() { discard(); }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  Result<StreamBarrier::Made> run() {
    Result<Gpus::Survey> survey = session_.gpus().survey_all(group_, call_);
    if (!survey.ok()) return survey.status();
    Result<std::vector<std::uint8_t>> alone =
        share_each(group_, call_, static_cast<std::uint8_t>(session_.config().gpu_peers ? 0 : 1));
    if (!alone.ok()) return alone.status();
    alone_ = std::move(*alone);
    // Those who turn out not to reach each other are alone in the next attempt.
    do {
      discard();
      circles_ = gpu::circles(survey->seats, survey->groups.classes, alone_);
      if (Status status = agree(group_, call_, open()); !status.ok()) return status;
      if (Status status = close_circles(); !status.ok()) return status;
    } while (has_split_);
    if (circles_.size() > 1) {
      const bool leads = made_.circle.front() == group_.rank();
      Result<Group*> leaders = session_.split(group_, leads ? 0 : LOCKSTEP_NO_GROUP, call_);
      if (!leaders.ok()) return leaders.status();
      made_.leaders = leaders.value();
    }
    return std::move(made_);
  }

 private:
  void discard() {
    if (made_.barrier != nullptr) session_.gpus().close(made_.barrier, [] {});
    made_ = {};
  }

  Status open() {
    for (const gpu::Circle& circle : circles_) {
      if (std::binary_search(circle.begin(), circle.end(), group_.rank())) made_.circle = circle;
    }
    const auto self = std::find(made_.circle.begin(), made_.circle.end(), group_.rank());
    lockstep_gpu_barrier_setup_t setup{};
    setup.size = sizeof setup;
    setup.member = static_cast<std::uint32_t>(self - made_.circle.begin());
    setup.members = static_cast<std::uint32_t>(made_.circle.size());
    setup.is_carried = circles_.size() > 1 ? 1 : 0;
    Result<std::unique_ptr<gpu::Barrier>> barrier = session_.gpus().open_barrier(setup);
    if (!barrier.ok()) return barrier.status();
    made_.barrier = std::move(*barrier);
    return {};
  }

  /// Everybody's memory to everybody in its circle. A circle in which somebody cannot reach
  /// somebody splits.
  Status close_circles() {
    node::DoorName name{};
    std::optional<node::Door> door;
    if (made_.circle.size() > 1) {
      Result<node::Door> opened = node::Door::open();
      if (opened.ok()) {
        door.emplace(std::move(*opened));
        name = door->name();
      }
    }
    const Result<std::vector<node::DoorName>> names = share_each(group_, call_, name);
    if (!names.ok()) return names.status();
    const Status mine = swap(door, names.value());
    const Result<std::vector<std::uint8_t>> failed =
        share_each(group_, call_, static_cast<std::uint8_t>(mine.ok() ? 0 : 1));
    if (!failed.ok()) return failed.status();
    has_split_ = false;
    for (const gpu::Circle& circle : circles_) {
      const auto has_failed = [&](Rank member) { return failed.value()[member] != 0; };
      const auto first = std::find_if(circle.begin(), circle.end(), has_failed);
      if (first == circle.end()) continue;
      has_split_ = true;
      for (const Rank member : circle) alone_[member] = 1;
      if (*first == group_.rank()) {
        log::warn(
            "{}: {} do not reach each other's GPUs after all ({}); their hosts meet instead, "
            "which is slower",
            call_.text(), member_names(group_, circle), mine.text());
      }
    }
    return {};
  }

  /// One after the other opens its door, in the same order on all.
  Status swap(std::optional<node::Door>& door, const std::vector<node::DoorName>& names) {
    Status status;
    const Nanos deadline = after(now(), session_.config().join_timeout);
    for (std::uint32_t i = 0; i < made_.circle.size() && made_.circle.size() > 1; ++i) {
      const Rank owner = made_.circle[i];
      const Status step =
          owner == group_.rank() ? hand_out(door, deadline) : take(i, names[owner], deadline);
      if (status.ok()) status = step;
    }
    return status;
  }

  Status hand_out(std::optional<node::Door>& door, Nanos deadline) {
    if (!door) return {LOCKSTEP_E_RESOURCE, "no socket to pass memory on"};
    std::vector<Rank> expected;
    for (const Rank member : made_.circle) {
      if (member != group_.rank()) expected.push_back(group_.ranks()[member]);
    }
    const Result<std::vector<node::Hello>> guests = door->receive(expected, deadline);
    if (!guests.ok()) return guests.status();
    return door->hand_out(made_.barrier->memory().get());
  }

  Status take(std::uint32_t number, const node::DoorName& name, Nanos deadline) {
    if (name == node::DoorName{}) return {LOCKSTEP_E_RESOURCE, "no socket to pass memory on"};
    const Result<UniqueFd> memory =
        node::knock(name, node::introduce(session_.identity().rank), deadline);
    if (!memory.ok()) return memory.status();
    return session_.gpus().connect(*made_.barrier, number, memory.value());
  }

  Session& session_;
  Group& group_;
  const Call call_;
  std::vector<std::uint8_t> alone_;  ///< by member
  std::vector<gpu::Circle> circles_;
  bool has_split_ = false;
  StreamBarrier::Made made_;
};

StreamBarriers::StreamBarriers(Session& session) : session_(session) {}
StreamBarriers::~StreamBarriers() = default;

Result<StreamBarrier*> StreamBarriers::prepare(Group& group, const Call& call) {
  Result<StreamBarrier::Made> made = Setup(session_, group, call).run();
  if (!made.ok()) return made.status();
  auto barrier = std::make_unique<StreamBarrier>(session_.gpus(), group, std::move(*made));
  // Nobody may wait for a barrier that another member was not able to make.
  if (Status status = agree(group, call, {}); !status.ok()) {
    end(std::move(barrier));
    return status;
  }
  std::lock_guard lock(mutex_);
  return (barriers_[&group] = std::move(barrier)).get();
}

StreamBarrier* StreamBarriers::find(const Group& group) {
  std::lock_guard lock(mutex_);
  const auto found = barriers_.find(&group);
  return found != barriers_.end() ? found->second.get() : nullptr;
}

void StreamBarriers::end(std::unique_ptr<StreamBarrier> barrier) {
  Group* const leaders = barrier->leaders();
  barrier.reset();
  if (leaders != nullptr) session_.free(leaders);
}

void StreamBarriers::forget(const Group* group) {
  std::unique_lock lock(mutex_);
  const auto found = barriers_.find(group);
  if (found == barriers_.end()) return;
  std::unique_ptr<StreamBarrier> barrier = std::move(found->second);
  barriers_.erase(found);
  lock.unlock();
  end(std::move(barrier));
}

void StreamBarriers::clear() {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (barriers_.empty()) return;
    const Group* const group = barriers_.begin()->first;
    lock.unlock();
    forget(group);
  }
}

}  // namespace lockstep
