// Where somebody outside the job leaves a request for its trigger: a few slots in the node's page.
//
// A slot goes round: free, writing, posted, taken, told, free. The requester moves it to posted and
// from told to free, the job's rank 0 in between. Every move is a compare-and-swap on one word that
// also holds the requester's ticket, so that whoever was overtaken notices. What is in a slot is
// believed only if its hash fits: a requester may die, or be stopped, in the middle of writing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"

namespace lockstep::request {

inline constexpr std::uint32_t kSlots = 8;
inline constexpr std::size_t kNameMax = 127;    ///< bytes of a trigger check's name
inline constexpr std::size_t kFromMax = 95;     ///< "user@host"
inline constexpr std::size_t kReasonMax = 127;  ///< free text

/// What is asked for. All of it is text of another process: clean_text() before it is shown.
struct Wish {
  std::string name;  ///< of the check that is meant; empty: any
  std::string from;
  std::string reason;
};

struct alignas(64) Slot {
  std::atomic<std::uint64_t> state;  ///< ticket and phase
  std::atomic<Nanos> since;          ///< when its requester claimed it
  std::atomic<std::uint64_t> check;  ///< the one that told it to the job
  std::uint64_t hash;
  std::array<char, kNameMax + 1> name;
  std::array<char, kFromMax + 1> from;
  std::array<char, kReasonMax + 1> reason;
};
static_assert(sizeof(Slot) == 384);

struct alignas(64) Box {
  std::atomic<std::uint32_t> posted;  ///< a bit for each slot that may be posted
  std::uint32_t reserved[15];
  std::array<Slot, kSlots> slots;
};
static_assert(sizeof(Box) == 64 + kSlots * sizeof(Slot));

/// A request that was left in a box.
struct Ticket {
  std::uint32_t slot;
  std::uint64_t number;
};

enum class Progress { waits, told, lost };

struct Answer {
  Progress progress;
  std::uint64_t check = 0;  ///< of Progress::told
};

/// The requester's side. `number`: random, so that no two requests have the same.
/// LOCKSTEP_E_LIMIT: all slots hold requests that the job has not noticed yet.
Result<Ticket> post(Box& box, const Wish& wish, std::uint64_t number, Nanos time);
Answer look(const Box& box, const Ticket& ticket) noexcept;
/// Frees the slot of a request that was told.
void finish(Box& box, const Ticket& ticket) noexcept;

/// Requests that were taken and not answered yet: a bit for each slot.
using Taken = std::uint32_t;

/// The job's side: one process, one thread at a time.
class Inbox {
 public:
  Inbox() = default;
  explicit Inbox(Box* box) noexcept : box_(box) {}
  void open(Box& box) noexcept { box_ = &box; }

  /// One load.
  bool is_empty() const noexcept {
    return box_ == nullptr || box_->posted.load(std::memory_order_relaxed) == 0;
  }
  /// Has something been posted since this was asked last? Takes nothing.
  bool has_new() noexcept {
    const std::uint32_t posted = box_ == nullptr ? 0 : box_->posted.load(std::memory_order_relaxed);
    return (posted & ~seen_.exchange(posted, std::memory_order_relaxed)) != 0;
  }
  /// Takes everything that is meant for this name and, with `takes_any`, what names nobody.
  Taken take(std::string_view name, bool takes_any) noexcept;
  /// All ranks know since this check.
  void tell(Taken taken, std::uint64_t check) noexcept;
  /// The oldest of what was taken, in words: "alice@login1: the disk is full". Before tell().
  std::string text(Taken taken) const;

 private:
  Box* box_ = nullptr;
  std::atomic<std::uint32_t> seen_{0};  ///< slots, by has_new()
};

}  // namespace lockstep::request
