// Addresses inside the page, and the life of its blocks.
#include "runtime/node/page.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

namespace lockstep::node {
namespace {

/// Hands out consecutive arrays of a block.
class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  template <class T>
  std::span<T> take(std::size_t count) noexcept {
    T* first = std::launder(reinterpret_cast<T*>(at_));
    at_ += count * sizeof(T);
    return {first, count};
  }

 private:
  std::byte* at_;
};

}  // namespace

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

std::size_t Page::block_size(std::uint32_t members, std::uint32_t domains) noexcept {
  return sizeof(BlockHead) + sizeof(Gate) + sizeof(Fate) + kVerdictRoom +
         domains * (sizeof(GatherLine) + sizeof(ReleaseLine)) +
         members * (sizeof(Cell) + sizeof(Site) + sizeof(VectorArea)) + sizeof(VectorArea) +
         kSectionSlots * sizeof(SectionSlot);
}

std::size_t Page::size_for(std::uint32_t members, std::uint32_t domains) noexcept {
  const std::size_t bytes =
      sizeof(PageHead) + members * sizeof(Member) + kBlocksMax * block_size(members, domains);
  constexpr std::size_t kPageBytes = 4096;
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

Page Page::create(void* memory, std::uint32_t members, std::uint32_t domains,
                  std::uint64_t session) noexcept {
  Page page;
  page.memory_ = static_cast<std::byte*>(memory);
  page.size_ = size_for(members, domains);
  PageHead& head = page.head();
  head.magic = kPageMagic;
  head.version = kPageVersion;
  head.members = members;
  head.session = session;
  head.size = page.size_;
  head.domains = domains;
  return page;
}

Page Page::adopt(void* memory, std::size_t size) noexcept {
  Page page;
  page.memory_ = static_cast<std::byte*>(memory);
  page.size_ = size;
  const PageHead& head = page.head();
  const bool fits = size >= sizeof(PageHead) && head.magic == kPageMagic &&
                    head.version == kPageVersion && head.members >= 1 &&
                    head.members <= kMembersMax && head.domains >= 1 &&
                    head.domains <= head.members && head.size == size &&
                    size_for(head.members, head.domains) == size;
  if (!fits) {
    munmap(page.memory_, size);
    page.memory_ = nullptr;
  }
  return page;
}

std::span<Member> Page::members() const noexcept {
  return {reinterpret_cast<Member*>(memory_ + sizeof(PageHead)), head().members};
}

Block Page::block(std::uint32_t index) const noexcept {
  const std::uint32_t members = head().members;
  const std::uint32_t domains = head().domains;
  Cursor cursor(memory_ + sizeof(PageHead) + members * sizeof(Member) +
                index * block_size(members, domains));
  Block block;
  block.head = cursor.take<BlockHead>(1).data();
  block.gate = cursor.take<Gate>(1).data();
  block.fate = cursor.take<Fate>(1).data();
  block.verdict = cursor.take<std::byte>(kVerdictRoom).data();
  block.gathers = cursor.take<GatherLine>(domains);
  block.releases = cursor.take<ReleaseLine>(domains);
  block.cells = cursor.take<Cell>(members);
  block.sites = cursor.take<Site>(members);
  block.vectors = cursor.take<VectorArea>(members);
  block.combined = cursor.take<VectorArea>(1).data();
  block.sections = cursor.take<SectionSlot>(kSectionSlots);
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
    std::memset(rest, 0, block_size(head().members, head().domains) - sizeof(BlockHead));
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

void Page::release_block(std::uint32_t index) const noexcept {
  BlockHead& head = *block(index).head;
  if (head.holders.fetch_sub(1) == 1) head.group.store(0, std::memory_order_release);
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
