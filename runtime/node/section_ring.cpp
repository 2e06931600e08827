// Claiming, writing and reading the slots of the ring.
#include "runtime/node/section_ring.hpp"

#include <algorithm>
#include <cstring>

namespace lockstep::node {
namespace {
constexpr unsigned kMemberBits = 16;
static_assert(kMembersMax < (1u << kMemberBits));
}  // namespace

bool SectionRing::claim(SectionSlot& slot, std::uint64_t word, bool replaces,
                        const IsGone& is_gone) {
  const std::uint64_t mine = word << kMemberBits | self_;
  std::uint64_t there = slot.claim.load(std::memory_order_acquire);
  for (;;) {
    const std::uint64_t its_word = there >> kMemberBits;
    if (its_word > word) return false;
    if (its_word == word) {
      const bool is_kept = slot.kept.load(std::memory_order_acquire) == word;
      if (is_kept && (!replaces || slot.released.load(std::memory_order_acquire) == word)) {
        return false;
      }
      const auto writer = static_cast<std::uint32_t>(there & ((1u << kMemberBits) - 1));
      if (!is_kept && writer != self_ && !is_gone(writer)) return false;
    }
    if (slot.claim.compare_exchange_weak(there, mine, std::memory_order_acq_rel)) return true;
  }
}

bool SectionRing::keep(Attempt attempt, std::string_view text, bool replaces,
                       const IsGone& is_gone) {
  SectionSlot& slot = this->slot(attempt);
  const std::uint64_t word = attempt.packed();
  if (!claim(slot, word, replaces, is_gone)) return false;
  slot.kept.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // who reads new text sees that it changes
  const std::size_t length = std::min(text.size(), kOutcomeMax);
  slot.length.store(length, std::memory_order_relaxed);
  for (std::size_t at = 0; at < length; at += 8) {
    std::uint64_t piece = 0;
    std::memcpy(&piece, text.data() + at, std::min<std::size_t>(8, length - at));
    slot.text[at / 8].store(piece, std::memory_order_relaxed);
  }
  slot.kept.store(word, std::memory_order_release);
  return true;
}

void SectionRing::release(Attempt attempt) noexcept {
  SectionSlot& slot = this->slot(attempt);
  const std::uint64_t word = attempt.packed();
  if (slot.kept.load(std::memory_order_acquire) != word) return;
  // Never back: a later attempt may be there already.
  std::uint64_t there = slot.released.load(std::memory_order_relaxed);
  while (there < word &&
         !slot.released.compare_exchange_weak(there, word, std::memory_order_release)) {
  }
}

bool SectionRing::read(const SectionSlot& slot, Record& record) {
  for (;;) {
    const std::uint64_t word = slot.kept.load(std::memory_order_acquire);
    if (word == 0) return false;
    const std::size_t length =
        std::min<std::size_t>(slot.length.load(std::memory_order_relaxed), kOutcomeMax);
    record.text.resize(length);
    for (std::size_t at = 0; at < length; at += 8) {
      const std::uint64_t piece = slot.text[at / 8].load(std::memory_order_relaxed);
      std::memcpy(record.text.data() + at, &piece, std::min<std::size_t>(8, length - at));
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (slot.kept.load(std::memory_order_relaxed) == word) {
      record.attempt = Attempt::unpacked(word);
      return true;
    }
  }
}

bool SectionRing::find(Attempt attempt, Record& record) const {
  return read(slot(attempt), record) && record.attempt.section == attempt.section &&
         record.attempt.number >= attempt.number;
}

std::optional<SectionRing::Record> SectionRing::find(Attempt attempt) const {
  Record record;
  if (!find(attempt, record)) return std::nullopt;
  return record;
}

std::optional<Attempt> SectionRing::begun_after(Attempt attempt) const noexcept {
  const std::uint64_t claim = slot(attempt).claim.load(std::memory_order_acquire);
  const Attempt begun = Attempt::unpacked(claim >> kMemberBits);
  if (begun.section != attempt.section || begun.number <= attempt.number) return std::nullopt;
  return begun;
}

std::vector<SectionRing::Record> SectionRing::all() const {
  std::vector<Record> records;
  for (const SectionSlot& slot : slots_) {
    if (Record record; read(slot, record)) records.push_back(std::move(record));
  }
  std::sort(records.begin(), records.end(),
            [](const Record& a, const Record& b) { return a.attempt < b.attempt; });
  return records;
}

}  // namespace lockstep::node
