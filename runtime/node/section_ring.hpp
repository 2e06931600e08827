// How the last sections of a group ended: a ring of records in the page, one slot per section.
//
// A slot has one writer at a time: the one whose compare-and-swap claims it for an attempt. Who
// dies while it writes is replaced. A record is kept first and released later where members may not
// read it yet (see engine/outcomes.hpp).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/attempt.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::node {

class SectionRing {
 public:
  struct Record {
    Attempt attempt;
    std::string text;
  };
  /// Has this member of the group on this node ended?
  using IsGone = std::function<bool(std::uint32_t member)>;

  SectionRing(std::span<SectionSlot> slots, std::uint32_t self) noexcept
      : slots_(slots), self_(self) {}

  /// Writes a record, unless one of this or of a later attempt is there. `replaces`: also over one
  /// of this attempt that is not released. False: another's stands, or is being written.
  bool keep(Attempt attempt, std::string_view text, bool replaces, const IsGone& is_gone);
  /// Lets members read what is kept of this attempt.
  void release(Attempt attempt) noexcept;

  /// Of this attempt, or of a later one of its section; released or not.
  std::optional<Record> find(Attempt attempt) const;
  /// The same into memory that is used again.
  bool find(Attempt attempt, Record& record) const;
  bool is_released(Attempt attempt) const noexcept {
    return covers(slot(attempt).released.load(std::memory_order_acquire), attempt);
  }
  /// The attempt of this section that somebody has begun to write last, if it is not this one.
  std::optional<Attempt> begun_after(Attempt attempt) const noexcept;
  /// All that are kept, the oldest section first.
  std::vector<Record> all() const;

 private:
  static bool covers(std::uint64_t word, Attempt attempt) noexcept {
    const Attempt there = Attempt::unpacked(word);
    return there.section == attempt.section && there.number >= attempt.number;
  }
  SectionSlot& slot(Attempt attempt) const noexcept {
    return slots_[attempt.section % slots_.size()];
  }
  bool claim(SectionSlot& slot, std::uint64_t word, bool replaces, const IsGone& is_gone);
  static bool read(const SectionSlot& slot, Record& record);

  std::span<SectionSlot> slots_;
  std::uint32_t self_;
};

}  // namespace lockstep::node
