// A checkpoint in the making: each member's part, written now or behind its back, then the
// manifest.
#pragma once

#include <atomic>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/group.hpp"
#include "runtime/saving/background.hpp"
#include "runtime/saving/part.hpp"
#include "runtime/saving/retention.hpp"

namespace lockstep {

struct CheckpointWishes {
  saving::Retention retention;
  bool is_everywhere = false;  ///< returns when every node sees it
};

/// Bytes that somebody keeps until `owner` goes.
struct Bytes {
  std::string_view view;
  std::shared_ptr<const void> owner;
};

class Saving {
 public:
  Saving(Group& group, std::string store, std::uint64_t step, const CheckpointWishes& wishes);
  /// Waits for the thread that writes; a part that is not committed goes.
  ~Saving();
  Saving(const Saving&) = delete;
  Saving& operator=(const Saving&) = delete;

  void write(const saving::Writer& writer);
  void write_behind(saving::Background& background, Bytes bytes);

  /// Collective: one round, and the rest when all members have written. Status::again(): somebody
  /// has not. The same on all members.
  Status test(const Call& call);
  /// Collective: waits for this member's part, then for all.
  Status wait(const Call& call);

  const Group& group() const noexcept { return group_; }
  bool is_over() const noexcept { return outcome_.has_value(); }
  std::uint64_t done() const noexcept { return done_.load(); }
  std::uint64_t total() const noexcept { return total_; }
  std::string path() const;
  /// Time that this member has spent on writing and committing.
  Nanos took() const noexcept { return took_.load(); }

 private:
  struct Record;

  Status keep(const Result<saving::Digest>& digest, Nanos start);
  bool is_written() const;
  Status finish(const Call& call);
  Status try_finish(const Call& call, const Status& written);
  Result<std::vector<Record>> everybodys(const Call& call);
  Status check_sharing(const saving::Manifest& manifest);
  Result<saving::Manifest> make_manifest(const Call& call, const std::vector<Record>& records);
  Status write_manifest(const saving::Manifest& manifest, bool& is_there);
  Status commit(const Call& call, const saving::Manifest& manifest);
  Status give_up(const Call& call, Status verdict);
  void tidy_up(const saving::Manifest& manifest);

  Group& group_;
  CheckpointWishes wishes_;
  saving::PartWriter part_;
  std::optional<saving::Digest> digest_;
  std::optional<saving::Digest> manifest_digest_;
  std::future<Status> written_;
  std::atomic<std::uint64_t> done_{0};
  std::uint64_t total_ = 0;
  std::atomic<bool> is_unwanted_{false};
  std::atomic<Nanos> took_{0};
  std::optional<Status> outcome_;
};

/// The savings of a session that have not been given back, and the thread that writes for them.
class SavesInFlight {
 public:
  /// While the group has `limit` savings that are not over, or one of the same step: waits for the
  /// oldest, or, where `waits` is false, tests it and may return Status::again(). Collective then.
  Status make_room(const Saving& saving, const Call& call, std::size_t limit, bool waits);
  /// Starts one when there is room. @param hand_over  Called then.
  template <class HandOver>
  Result<Saving*> start(std::unique_ptr<Saving> saving, const Call& call, std::size_t limit,
                        bool waits, HandOver&& hand_over) {
    if (Status status = make_room(*saving, call, limit, waits); !status.ok()) return status;
    Bytes bytes = hand_over();
    std::lock_guard lock(mutex_);
    all_.push_back(std::move(saving));
    all_.back()->write_behind(background_, std::move(bytes));
    return all_.back().get();
  }
  void free(Saving* saving);
  /// Whether it has not been given back.
  bool has(const Saving* saving);

 private:
  std::mutex mutex_;
  saving::Background background_;
  std::list<std::unique_ptr<Saving>> all_;  ///< in the order of their start
};

}  // namespace lockstep
