// Addresses inside the page, and the life of its blocks.
#include "runtime/node/page.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

namespace lockstep::node {

Page::Page(Page&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Page& Page::operator=(Page&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  return *this;
}

Page::~Page() {
  if (memory_ != nullptr) munmap(memory_, size_);
}

BlockOffsets::BlockOffsets(std::uint32_t members, std::uint32_t domains) noexcept {
  gate = sizeof(BlockHead);
  fate = gate + sizeof(Gate);
  verdict = fate + sizeof(Fate);
  gathers = verdict + kVerdictRoom;
  releases = gathers + domains * sizeof(GatherLine);
  cells = releases + domains * sizeof(ReleaseLine);
  sites = cells + members * sizeof(Cell);
  vectors = sites + members * sizeof(Site);
  combined = vectors + members * sizeof(VectorArea);
  sections = combined + sizeof(VectorArea);
  poll = sections + kSectionSlots * sizeof(SectionSlot);
  poll_lines = poll + sizeof(PollState);
  roll = poll_lines + members * sizeof(PollLine);
  roll_marks = roll + sizeof(RollState);
  constexpr std::size_t kMarksPerLine = kLine / sizeof(std::uint64_t);
  size = roll_marks + (members + kMarksPerLine - 1) / kMarksPerLine * kLine;
}

std::size_t Page::block_at(std::uint32_t index, std::uint32_t members,
                           std::uint32_t domains) noexcept {
  return sizeof(PageHead) + members * sizeof(Member) + index * BlockOffsets(members, domains).size;
}

std::size_t Page::size_for(std::uint32_t members, std::uint32_t domains,
                           std::size_t contacts) noexcept {
  const std::size_t bytes = block_at(kBlocksMax, members, domains) + contacts;
  constexpr std::size_t kPageBytes = 4096;
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

Page Page::create(void* memory, std::uint32_t members, std::uint32_t domains, std::size_t contacts,
                  std::uint64_t session) noexcept {
  Page page;
  page.memory_ = static_cast<std::byte*>(memory);
  page.size_ = size_for(members, domains, contacts);
  PageHead& head = page.head();
  head.magic = kPageMagic;
  head.version = kPageVersion;
  head.members = members;
  head.session = session;
  head.size = page.size_;
  head.domains = domains;
  head.contacts = contacts;
  return page;
}

Page Page::adopt(void* memory, std::size_t size) noexcept {
  Page page;
  page.memory_ = static_cast<std::byte*>(memory);
  page.size_ = size;
  if (size < sizeof(PageHead) || !fits(page.head(), size)) {
    munmap(page.memory_, size);
    page.memory_ = nullptr;
  }
  return page;
}

bool fits(const PageHead& head, std::size_t size) noexcept {
  return head.magic == kPageMagic && head.version == kPageVersion && head.members >= 1 &&
         head.members <= kMembersMax && head.domains >= 1 && head.domains <= head.members &&
         head.size == size && head.contacts < size &&
         Page::size_for(head.members, head.domains, head.contacts) == size;
}

std::span<Member> Page::members() const noexcept {
  return {reinterpret_cast<Member*>(memory_ + sizeof(PageHead)), head().members};
}

std::span<std::byte> Page::contacts() const noexcept {
  return {memory_ + block_at(kBlocksMax, head().members, head().domains), head().contacts};
}

Block Page::block(std::uint32_t index) const noexcept {
  const std::uint32_t members = head().members;
  const std::uint32_t domains = head().domains;
  const BlockOffsets at(members, domains);
  std::byte* const begin = memory_ + block_at(index, members, domains);
  const auto take = [begin]<class T>(std::span<T>& part, std::size_t offset, std::size_t count) {
    part = {std::launder(reinterpret_cast<T*>(begin + offset)), count};
  };
  const auto take_one = [begin]<class T>(T*& part, std::size_t offset) {
    part = std::launder(reinterpret_cast<T*>(begin + offset));
  };
  Block block;
  take_one(block.head, 0);
  take_one(block.gate, at.gate);
  take_one(block.fate, at.fate);
  block.verdict = begin + at.verdict;
  take(block.gathers, at.gathers, domains);
  take(block.releases, at.releases, domains);
  take(block.cells, at.cells, members);
  take(block.sites, at.sites, members);
  take(block.vectors, at.vectors, members);
  take_one(block.combined, at.combined);
  take(block.sections, at.sections, kSectionSlots);
  take_one(block.poll, at.poll);
  take(block.poll_lines, at.poll_lines, members);
  take_one(block.roll, at.roll);
  take(block.roll_marks, at.roll_marks, members);
  return block;
}

std::optional<std::uint32_t> Page::claim_block(GroupId group,
                                               std::uint32_t members) const noexcept {
  for (std::uint32_t index = 0; index < kBlocksMax; ++index) {
    Block candidate = block(index);
    GroupId expected = 0;
    if (!candidate.head->group.compare_exchange_strong(expected, kClaimed)) continue;
    // Everything behind the head may be left over from an earlier group.
    auto* const rest = reinterpret_cast<std::byte*>(candidate.gate);
    std::memset(rest, 0, BlockOffsets(head().members, head().domains).size - sizeof(BlockHead));
    candidate.head->members = members;
    candidate.head->holders.store(members, std::memory_order_relaxed);
    candidate.head->group.store(group, std::memory_order_release);
    return index;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Page::find_block(GroupId group) const noexcept {
  for (std::uint32_t index = 0; index < kBlocksMax; ++index) {
    if (block(index).head->group.load(std::memory_order_acquire) == group) return index;
  }
  return std::nullopt;
}

bool Page::leave_block(std::uint32_t index) const noexcept {
  return block(index).head->holders.fetch_sub(1) == 1;
}

void Page::free_block(std::uint32_t index) const noexcept {
  block(index).head->group.store(0, std::memory_order_release);
}

void write_site(Site& site, std::string_view text, Nanos since) noexcept {
  std::array<char, kSiteMax> padded{};
  std::memcpy(padded.data(), text.data(), std::min(text.size(), kSiteMax - 1));
  for (std::size_t i = 0; i < site.text.size(); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, padded.data() + 8 * i, 8);
    site.text[i].store(word, std::memory_order_relaxed);
  }
  site.since.store(since, std::memory_order_relaxed);
}

std::string read_site(const Site& site) {
  std::array<char, kSiteMax> padded{};
  for (std::size_t i = 0; i < site.text.size(); ++i) {
    const std::uint64_t word = site.text[i].load(std::memory_order_relaxed);
    std::memcpy(padded.data() + 8 * i, &word, 8);
  }
  padded.back() = '\0';
  return std::string(padded.data());
}

}  // namespace lockstep::node
