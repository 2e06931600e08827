// The page's layout is the same for all processes, and its blocks come and go.
// Method: sizes and offsets are pinned; areas are filled and compared; blocks are exhausted and
// reused.
#include "runtime/node/page.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

// Processes of one job may run different builds of one version: whoever changes a number here
// changes kPageVersion as well.
TEST(Page, SizesArePinned) {
  EXPECT_EQ(sizeof(PageHead), 3456u);
  EXPECT_EQ(sizeof(Card), 256u);
  EXPECT_EQ(sizeof(Member), 64u);
  EXPECT_EQ(sizeof(BlockHead), 64u);
  EXPECT_EQ(sizeof(Gate), 64u);
  EXPECT_EQ(sizeof(Fate), 64u);
  EXPECT_EQ(sizeof(Cell), 64u);
  EXPECT_EQ(sizeof(Site), 192u);
  EXPECT_EQ(sizeof(GatherLine), 64u);
  EXPECT_EQ(sizeof(ReleaseLine), 64u);
  EXPECT_EQ(sizeof(SectionSlot), 1088u);
  EXPECT_EQ(sizeof(VectorArea), 1024u);
  EXPECT_EQ(sizeof(PollState), 64u);
  EXPECT_EQ(sizeof(PollLine), 64u);
  EXPECT_EQ(sizeof(RollState), 2112u);
  EXPECT_EQ(sizeof(Bell), 8u);
  EXPECT_EQ(kPageVersion, 5u);
}

TEST(Page, OffsetsArePinned) {
  EXPECT_EQ(offsetof(Cell, epoch), 0u);
  EXPECT_EQ(offsetof(Cell, word), 8u);
  EXPECT_EQ(offsetof(Cell, signature), 16u);
  EXPECT_EQ(offsetof(Cell, length), 20u);
  EXPECT_EQ(offsetof(Cell, has_left), 24u);
  EXPECT_EQ(offsetof(Cell, line), 28u);
  EXPECT_EQ(offsetof(Cell, since), 32u);
  EXPECT_EQ(offsetof(Cell, waits_for), 40u);
  EXPECT_EQ(offsetof(Cell, member), 56u);
  EXPECT_EQ(offsetof(GatherLine, bell), 20u);
  EXPECT_EQ(offsetof(ReleaseLine, bell), 20u);
  EXPECT_EQ(offsetof(Fate, expired), 8u);
  EXPECT_EQ(offsetof(Fate, inquiry), 24u);
  EXPECT_EQ(offsetof(SectionSlot, text), 32u);
  EXPECT_EQ(offsetof(BlockHead, section_bell), 16u);
  EXPECT_EQ(offsetof(PageHead, session), 16u);
  EXPECT_EQ(offsetof(PageHead, can_publish), 44u);
  EXPECT_EQ(offsetof(PageHead, card), 64u);
  EXPECT_EQ(offsetof(PageHead, requests), 320u);
  EXPECT_EQ(offsetof(Member, pid), 8u);
}

TEST(Page, AtomicsNeedNoLockAndHaveTheSizeOfTheirValue) {
  // A lock would live in one process; the page is shared by many.
  EXPECT_TRUE(std::atomic<Epoch>::is_always_lock_free);
  EXPECT_TRUE(std::atomic<std::uint32_t>::is_always_lock_free);
  EXPECT_EQ(sizeof(std::atomic<std::uint32_t>), 4u) << "a futex is 32 bits wide";
}

std::span<std::byte> whole_lines(std::span<std::byte> area) {
  return {area.data(), (area.size() + kLine - 1) / kLine * kLine};
}

/// All areas of a block as ranges of bytes.
std::vector<std::span<std::byte>> areas_of(const Block& block) {
  const auto bytes = [](auto& one) { return std::as_writable_bytes(std::span(&one, 1)); };
  return {bytes(*block.head),
          bytes(*block.gate),
          bytes(*block.fate),
          {block.verdict, kVerdictRoom},
          std::as_writable_bytes(block.gathers),
          std::as_writable_bytes(block.releases),
          std::as_writable_bytes(block.cells),
          std::as_writable_bytes(block.sites),
          std::as_writable_bytes(block.vectors),
          bytes(*block.combined),
          std::as_writable_bytes(block.sections),
          bytes(*block.poll),
          std::as_writable_bytes(block.poll_lines),
          bytes(*block.roll),
          whole_lines(std::as_writable_bytes(block.roll_marks))};
}

TEST(Page, AreasAreAlignedDisjointAndInside) {
  for (const auto& [members, domains] :
       {std::pair{1u, 1u}, {2u, 1u}, {7u, 3u}, {64u, 8u}, {9u, 9u}}) {
    SCOPED_TRACE(members);
    const Page page = make_page(members, domains);
    const auto* const begin = reinterpret_cast<const std::byte*>(&page.head());
    const auto* const end = begin + page.head().size;
    EXPECT_EQ(page.head().size, Page::size_for(members, domains, 0));
    EXPECT_EQ(page.members().size(), members);
    const std::byte* last = reinterpret_cast<const std::byte*>(page.members().data() + members);
    for (std::uint32_t index = 0; index < kBlocksMax; ++index) {
      for (const std::span<std::byte> area : areas_of(page.block(index))) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(area.data()) % kLine, 0u);
        EXPECT_EQ(area.data(), last) << "a gap or an overlap in block " << index;
        last = area.data() + area.size();
      }
    }
    EXPECT_LE(last, end);
  }
}

TEST(Page, IsAdoptedAsItWasMade) {
  const std::size_t size = Page::size_for(3, 2, 100);
  void* const memory = shared_memory(size);
  Page made = Page::create(memory, 3, 2, 100, 4711);
  const Page adopted = Page::adopt(memory, size);
  ASSERT_TRUE(adopted.is_valid());
  EXPECT_EQ(adopted.head().session, 4711u);
  EXPECT_EQ(adopted.members().size(), 3u);
  new (&made) Page;  // the mapping has one owner: the adopted page
}

TEST(Page, AForeignHeadIsNotAdopted) {
  const std::vector<void (*)(PageHead&)> damages = {
      [](PageHead& head) { head.magic ^= 1; },
      [](PageHead& head) { head.version += 1; },
      [](PageHead& head) { head.members = 0; },
      [](PageHead& head) { head.members = 4; },
      [](PageHead& head) { head.members = kMembersMax + 1; },
      [](PageHead& head) { head.domains = 0; },
      [](PageHead& head) { head.domains = 4; },
      [](PageHead& head) { head.size += 4096; },
      [](PageHead& head) { head.size = 0; }};
  const std::size_t size = Page::size_for(3, 2, 100);
  for (std::size_t i = 0; i < damages.size(); ++i) {
    void* const memory = shared_memory(size);
    Page made = Page::create(memory, 3, 2, 100, 1);
    damages[i](made.head());
    new (&made) Page;
    EXPECT_FALSE(Page::adopt(memory, size).is_valid()) << "damage " << i;
  }
}

TEST(Blocks, AreFoundByTheirGroup) {
  const Page page = make_page(2, 1);
  EXPECT_EQ(page.find_block(9), std::nullopt);
  const auto block = page.claim_block(9, 2);
  ASSERT_TRUE(block);
  EXPECT_EQ(page.find_block(9), block);
  EXPECT_EQ(page.find_block(8), std::nullopt);
}

TEST(Blocks, RunOutAndComeBack) {
  const Page page = make_page(2, 1);
  std::set<std::uint32_t> blocks;
  for (GroupId group = 1; group <= kBlocksMax; ++group) blocks.insert(*page.claim_block(group, 1));
  EXPECT_EQ(blocks.size(), kBlocksMax);
  EXPECT_EQ(page.claim_block(1000, 1), std::nullopt);
  const auto freed = page.find_block(33);
  page.release_block(*freed);
  EXPECT_EQ(page.find_block(33), std::nullopt);
  EXPECT_EQ(page.claim_block(1000, 1), freed);
}

TEST(Blocks, AreFreedByTheLastMember) {
  const Page page = make_page(3, 1);
  const auto block = page.claim_block(9, 3);
  page.release_block(*block);
  page.release_block(*block);
  EXPECT_EQ(page.find_block(9), block);
  page.release_block(*block);
  EXPECT_EQ(page.find_block(9), std::nullopt);
}

TEST(Blocks, AreBlankWhenUsedAgain) {
  const Page page = make_page(2, 2);
  const auto first = page.claim_block(9, 1);
  const std::vector<std::span<std::byte>> areas = areas_of(page.block(*first));
  for (std::size_t i = 1; i < areas.size(); ++i)
    std::memset(areas[i].data(), 0xee, areas[i].size());
  page.release_block(*first);
  ASSERT_EQ(page.claim_block(10, 1), first);
  for (std::size_t i = 1; i < areas.size(); ++i) {
    EXPECT_TRUE(std::all_of(areas[i].begin(), areas[i].end(),
                            [](std::byte byte) { return byte == std::byte{0}; }))
        << "area " << i;
  }
}

TEST(Blocks, AreGivenToOneGroupEach) {
  const Page page = make_page(2, 1);
  constexpr int kThreads = 4;
  std::array<std::vector<std::uint32_t>, kThreads> got;
  for (int turn = 0; turn < 50; ++turn) {
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&page, &got, t] {
        for (GroupId i = 0; i < kBlocksMax; ++i) {
          const auto block = page.claim_block(1 + t * 100 + i, 1);
          if (block) got[t].push_back(*block);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::multiset<std::uint32_t> all;
    for (auto& mine : got) {
      all.insert(mine.begin(), mine.end());
      mine.clear();
    }
    ASSERT_EQ(all.size(), kBlocksMax);
    ASSERT_EQ(std::set<std::uint32_t>(all.begin(), all.end()).size(), kBlocksMax);
    for (const std::uint32_t block : all) page.release_block(block);
  }
}

TEST(Sites, KeepTheirTextAndCutWhatIsTooLong) {
  Site site{};
  EXPECT_EQ(read_site(site), "");
  for (std::size_t length = 0; length < 2 * kSiteMax; ++length) {
    const std::string text(length, 'x');
    write_site(site, text, 42);
    EXPECT_EQ(read_site(site), text.substr(0, kSiteMax - 1));
    EXPECT_EQ(site.since.load(), 42);
  }
  write_site(site, "short", 43);
  EXPECT_EQ(read_site(site), "short") << "nothing of the longer text before it";
}

}  // namespace
}  // namespace lockstep::node
