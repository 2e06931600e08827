// The layout of a node's shared page: one block per group, one cache line per member and domain.
//
// Every line has one writer. Members write their cells, whoever finishes a round writes the release
// lines. Nothing in the page is a pointer; every field is read as untrusted only in so far as a
// member of the same job and user wrote it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lockstep/transport.h"
#include "runtime/base/ids.hpp"
#include "runtime/base/time.hpp"
#include "runtime/node/asymmetric_fence.hpp"
#include "runtime/request/box.hpp"

namespace lockstep::node {

inline constexpr std::uint64_t kPageMagic = 0x3130'6567'6170'4b4cu;  // "LKpage01" as bytes
inline constexpr std::uint32_t kPageVersion = 5;
inline constexpr std::size_t kLine = 64;
inline constexpr std::uint32_t kBlocksMax = 66;     ///< job, node, and 64 groups of splits
inline constexpr std::uint32_t kMembersMax = 4096;  ///< ranks of one job on one node
inline constexpr std::uint32_t kSectionSlots = 64;  ///< how far a first may run ahead
inline constexpr std::size_t kSiteMax = 184;        ///< bytes of a site's text
inline constexpr std::size_t kOutcomeMax = 1000;    ///< bytes of an outcome record
inline constexpr std::size_t kVerdictRoom = 1024;
inline constexpr std::size_t kRollRanges = 128;  ///< of members that are missing in a roll call

/// A number that a process sleeps on. Padded by its owner.
struct Bell {
  std::atomic<std::uint32_t> value;
  std::atomic<std::uint32_t> sleepers;
};

/// One member's arrival: written by the member, read by whoever gathers. Word and signature are
/// atomic because a domain's leader that is late may still look at a round that somebody else has
/// finished, while the member writes the next; what it reads then is not used.
struct alignas(kLine) Cell {
  std::atomic<Epoch> epoch;  ///< last epoch entered; written after the rest
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint32_t> signature;
  std::uint32_t length;                 ///< of the vector
  std::atomic<std::uint32_t> has_left;  ///< the member has left the session
  std::uint32_t line;                   ///< of the call
  // For visitors, who see this page and no more; nothing of it is written in a round that is quick.
  std::atomic<Nanos> since;  ///< of the wait below, or of a split arrival
  std::atomic<std::uint64_t>
      waits_for;  ///< an epoch, or a section with kWaitsForSection; 0: in no wait that lasts
  std::atomic<Nanos> section_since;     ///< when the outermost open section began
  std::atomic<std::uint32_t> member;    ///< 1 + its place in the page's list; 0: not here yet
  std::atomic<std::uint32_t> sections;  ///< open ones
};

/// What a member waits for: the end of a round, or of the first's section.
inline constexpr std::uint64_t kWaitsForSection = std::uint64_t{1} << 63;
/// With an epoch: this member has arrived in it by the first half of a split call.
inline constexpr std::uint64_t kHasArrived = std::uint64_t{1} << 62;
static_assert(sizeof(Cell) == kLine);

/// Where a member is, in words: read only for reports. Atomic bytes in words of eight, because the
/// reader may look while the member moves on; a torn text is acceptable, a data race is not.
struct alignas(kLine) Site {
  std::array<std::atomic<std::uint64_t>, kSiteMax / 8> text;
  std::atomic<Nanos> since;
};
static_assert(sizeof(Site) == 3 * kLine);

/// A domain's leader passes its members' combined arrival up here, and sleeps on the bell.
struct alignas(kLine) GatherLine {
  std::atomic<Epoch> epoch;
  std::uint64_t word;
  std::uint32_t signature;
  Bell bell;
  std::uint32_t reserved[9];
};
static_assert(sizeof(GatherLine) == kLine);

/// What the members of one domain wait for.
struct alignas(kLine) ReleaseLine {
  std::atomic<Epoch> epoch;
  std::uint64_t word;
  std::uint32_t length;  ///< of the combined vector
  Bell bell;
  std::uint32_t reserved[9];
};
static_assert(sizeof(ReleaseLine) == kLine);

/// How a section ended, in a ring of kSectionSlots; see section_ring.hpp.
struct alignas(kLine) SectionSlot {
  std::atomic<std::uint64_t> claim;     ///< who writes: attempt and member
  std::atomic<std::uint64_t> kept;      ///< attempt of the record; 0 while it is written
  std::atomic<std::uint64_t> released;  ///< the same, once members may read it
  std::atomic<std::uint64_t> length;
  std::array<std::atomic<std::uint64_t>, kOutcomeMax / 8> text;
};
static_assert(sizeof(SectionSlot) == 17 * kLine);

/// Where one member is in its polls: written by it at each.
struct alignas(kLine) PollLine {
  std::atomic<std::uint64_t> entered;  ///< number of the last poll that it has entered
};
static_assert(sizeof(PollLine) == kLine);

/// Read at every poll, written when something is set; see poll_board.hpp.
struct alignas(kLine) PollState {
  std::atomic<std::uint64_t> state;
  Bell bell;
  // Between nodes: what the node's speaker has promised and committed, for who comes after it.
  std::atomic<std::uint64_t> agreement;            ///< number of the last commit
  std::array<std::atomic<std::uint64_t>, 2> fire;  ///< of the last two, by their number's parity
  std::atomic<std::uint64_t> promise;
  Bell call;  ///< rings for the speaker's lookout when something is set
  std::uint64_t reserved;
};
static_assert(sizeof(PollState) == kLine);

/// Who is left; see roll_board.hpp.
struct alignas(kLine) RollState {
  std::atomic<std::uint64_t> hurried;  ///< number of a roll call that waits for nobody any more
  std::atomic<std::uint64_t> heir;     ///< number of a roll call, and the block of its group
  Bell bell;
  // Between nodes: what the node's speaker has promised and committed, for who comes after it.
  std::atomic<std::uint64_t> agreement;  ///< number of the last commit
  std::atomic<std::uint64_t> promise;
  std::array<std::atomic<std::uint64_t>, 2> count;  ///< of ranges, by the number's parity
  std::uint64_t reserved;
  std::array<std::array<std::atomic<std::uint64_t>, kRollRanges>, 2> missing;  ///< packed ranges
};
static_assert(sizeof(RollState) == kLine + 2 * kRollRanges * sizeof(std::uint64_t));

/// Written rarely, read at every call: has this group failed?
struct alignas(kLine) Fate {
  std::atomic<std::uint32_t> is_broken;  ///< set after the verdict below is complete
  std::uint32_t verdict_length;
  std::atomic<Epoch> expired;  ///< a member's deadline for this epoch has passed
  // What members ask the node's speaker to find out about a section: see LocalGroup::Inquiry.
  std::atomic<std::uint32_t> inquiry_signature;
  /// Member here that passes outcomes on between nodes, and in higher bits which one it is.
  std::atomic<std::uint32_t> speaker;
  std::atomic<std::uint64_t> inquiry;    ///< 0: nothing
  std::atomic<std::uint64_t> published;  ///< counts records that members here have left to be sent
  std::atomic<std::uint64_t> turn;       ///< the last attempt whose first here may begin
  std::uint64_t reserved2[2];
};
static_assert(sizeof(Fate) == kLine);

/// Decides who ends an epoch on this node, by completing or by breaking it: the one whose
/// compare-and-swap raises the claim to it.
struct alignas(kLine) Gate {
  std::atomic<Epoch> claim;
  std::uint64_t reserved[7];
};

/// Head of a group's block.
struct alignas(kLine) BlockHead {
  std::atomic<GroupId> group;          ///< 0: free; kClaimed while being set up
  std::atomic<std::uint32_t> holders;  ///< members here that have not freed the group
  std::uint32_t members;
  Bell section_bell;
  std::uint64_t reserved[5];
};
static_assert(sizeof(BlockHead) == kLine);

inline constexpr GroupId kClaimed = UINT64_MAX;
inline constexpr GroupId kJobGroup = 1;   ///< all ranks
inline constexpr GroupId kNodeGroup = 2;  ///< those of this node

struct alignas(kLine) VectorArea {
  std::array<std::byte, LOCKSTEP_VECTOR_MAX> bytes;
};

/// One process of the node, written by it when it joins.
struct alignas(kLine) Member {
  std::uint32_t rank;
  std::int32_t domain;  ///< index of its L3 or NUMA domain; -1: spans several
  std::uint64_t pid;    ///< in its own pid namespace
  std::uint64_t pid_namespace;
  std::uint64_t reserved[5];
};
static_assert(sizeof(Member) == kLine);

/// For visitors: which job this is. Written by the node's leader before it shares the page.
struct Card {
  std::atomic<std::uint32_t> is_written;  ///< set last
  std::uint32_t ranks;                    ///< of the job
  std::uint32_t node;                     ///< this one
  std::uint32_t nodes;
  std::int64_t started;  ///< seconds since 1970
  std::array<char, 104> job;
  std::array<char, 64> host;
  std::array<char, 32> slurm_job;   ///< empty outside Slurm
  std::array<char, 32> slurm_step;  ///< empty outside srun
};
static_assert(sizeof(Card) == 4 * kLine);

struct alignas(kLine) PageHead {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t members;
  std::uint64_t session;  ///< number of this incarnation of the job
  std::uint64_t size;
  std::uint32_t domains;
  std::uint32_t cores;        ///< usable by the ranks of this node together
  std::uint32_t host_ranks;   ///< ranks of the job on this machine, all emulated nodes together
  std::uint32_t can_publish;  ///< the transport carries frames (see Surroundings)
  std::uint64_t contacts;     ///< bytes of the list behind the blocks
  Barrier barrier;            ///< what all processes of the node can do
  std::uint8_t reserved[7];
  Card card;
  request::Box requests;  ///< used in the page of node 0
};
static_assert(sizeof(PageHead) == 5 * kLine + sizeof(request::Box));

/// Where the parts of a block begin, in bytes from its own beginning.
struct BlockOffsets {
  BlockOffsets(std::uint32_t members, std::uint32_t domains) noexcept;
  std::size_t gate, fate, verdict, gathers, releases, cells, sites, vectors, combined, sections;
  std::size_t poll, poll_lines, roll, roll_marks;
  std::size_t size;
};

/// One group's part of the page, as seen by one process.
struct Block {
  BlockHead* head = nullptr;
  Gate* gate = nullptr;
  Fate* fate = nullptr;
  std::byte* verdict = nullptr;  ///< kVerdictRoom bytes
  std::span<Cell> cells;
  std::span<Site> sites;
  std::span<GatherLine> gathers;    ///< one per domain
  std::span<ReleaseLine> releases;  ///< one per domain
  std::span<VectorArea> vectors;    ///< one per member
  VectorArea* combined = nullptr;
  std::span<SectionSlot> sections;
  PollState* poll = nullptr;
  std::span<PollLine> poll_lines;  ///< one per member
  RollState* roll = nullptr;
  std::span<std::atomic<std::uint64_t>> roll_marks;  ///< one per member
};

/// The mapping of a page. Move-only; unmaps when destroyed.
class Page {
 public:
  Page() = default;
  Page(Page&& other) noexcept;
  Page& operator=(Page&& other) noexcept;
  ~Page();

  static std::size_t size_for(std::uint32_t members, std::uint32_t domains,
                              std::size_t contacts) noexcept;
  /// Wraps memory of at least size_for(...) zero bytes and writes the head.
  static Page create(void* memory, std::uint32_t members, std::uint32_t domains,
                     std::size_t contacts, std::uint64_t session) noexcept;
  /// Wraps memory that another process created; an invalid page if the head does not fit.
  static Page adopt(void* memory, std::size_t size) noexcept;

  bool is_valid() const noexcept { return memory_ != nullptr; }
  PageHead& head() const noexcept { return *reinterpret_cast<PageHead*>(memory_); }
  std::span<Member> members() const noexcept;
  /// Where the leaders of all nodes can be reached (see contacts.hpp), for who follows this node's
  /// leader when it dies; empty in a job on one node.
  std::span<std::byte> contacts() const noexcept;
  Block block(std::uint32_t index) const noexcept;
  static std::size_t block_at(std::uint32_t index, std::uint32_t members,
                              std::uint32_t domains) noexcept;

  /// Takes a free block for `group`; nullopt when all are in use.
  std::optional<std::uint32_t> claim_block(GroupId group, std::uint32_t members) const noexcept;
  std::optional<std::uint32_t> find_block(GroupId group) const noexcept;
  /// One member gives the block up. True: it is the last one, and has to free it.
  bool leave_block(std::uint32_t index) const noexcept;
  void free_block(std::uint32_t index) const noexcept;
  /// Both.
  void release_block(std::uint32_t index) const noexcept {
    if (leave_block(index)) free_block(index);
  }

 private:
  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
};

/// Does it describe memory of `size` bytes that this version can read? Nothing else is believed.
bool fits(const PageHead& head, std::size_t size) noexcept;

/// Text in and out of a site's words.
void write_site(Site& site, std::string_view text, Nanos since) noexcept;
std::string read_site(const Site& site);

}  // namespace lockstep::node
