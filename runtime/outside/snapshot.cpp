// Reads head, card, members, and of each used block the cells and sites.
#include "runtime/outside/snapshot.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "runtime/base/clean_text.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::outside {
namespace {

using node::Block;

template <class T>
bool read_all(const Read& read, std::size_t offset, std::vector<T>& to) {
  return read(offset, std::as_writable_bytes(std::span(to)));
}
template <class T>
bool read_one(const Read& read, std::size_t offset, T& to) {
  return read(offset, std::as_writable_bytes(std::span(&to, 1)));
}

template <std::size_t N>
std::string text_of(const std::array<char, N>& bytes) {
  return clean_text({bytes.data(), bytes.size()}, N);
}

Status cut_short() {
  return {LOCKSTEP_E_INVALID, "a page of lockstep that is cut short"};
}

/// The parts of one block that tell where members are.
struct BlockCopy {
  BlockCopy(std::uint32_t members, std::uint32_t domains)
      : releases(domains), cells(members), sites(members) {}

  /// Cells before releases: whoever seems to wait has waited at some moment in between.
  bool read_from(const Read& read, std::size_t begin, const node::BlockOffsets& at) {
    return read_one(read, begin, head) && read_one(read, begin + at.fate, fate) &&
           read_all(read, begin + at.cells, cells) && read_all(read, begin + at.sites, sites) &&
           read_all(read, begin + at.releases, releases);
  }
  Epoch released() const {
    Epoch most = 0;
    for (const node::ReleaseLine& line : releases) most = std::max(most, line.epoch.load());
    return most;
  }

  node::BlockHead head{};
  node::Fate fate{};
  std::vector<node::ReleaseLine> releases;
  std::vector<node::Cell> cells;
  std::vector<node::Site> sites;
};

Seat seat_of(const node::Cell& cell, const node::Site& site, Epoch released, Nanos time) {
  Seat seat;
  seat.round = cell.epoch.load();
  seat.site = clean_text(node::read_site(site), node::kSiteMax);
  seat.site_since = std::clamp<Nanos>(site.since.load(), 0, time);
  const std::uint64_t waits_for = cell.waits_for.load();
  Nanos since = cell.since.load();
  if (seat.round > released) {
    seat.doing = waits_for == seat.round ? Doing::waits : Doing::arrived;
    // Of an arrival that is not split nobody has taken the time yet.
    if (seat.doing == Doing::arrived && waits_for != (node::kHasArrived | seat.round)) since = 0;
  } else if ((waits_for & node::kWaitsForSection) != 0) {
    seat.doing = Doing::waits_for_first;
  } else if (cell.sections.load() != 0) {
    seat.doing = Doing::in_section;
    since = cell.section_since.load();
  } else {
    return seat;
  }
  if (since > 0 && since <= time) seat.since = since;
  return seat;
}

void add_block(Snapshot& snapshot, const BlockCopy& block, Nanos time) {
  const GroupId group = block.head.group.load();
  const Epoch released = block.released();
  snapshot.groups.push_back({group, block.fate.is_broken.load() != 0});
  for (std::size_t i = 0; i < block.cells.size(); ++i) {
    const std::uint32_t member = block.cells[i].member.load();
    if (member == 0 || member > snapshot.members.size()) continue;
    MemberView& view = snapshot.members[member - 1];
    // A member has one cell of a block; more are damage.
    if (!view.seats.empty() && view.seats.back().group == group) continue;
    Seat seat = seat_of(block.cells[i], block.sites[i], released, time);
    seat.group = group;
    if (group == node::kJobGroup) view.has_left = block.cells[i].has_left.load() != 0;
    view.seats.push_back(std::move(seat));
  }
}

}  // namespace

const char* doing_name(Doing doing) noexcept {
  switch (doing) {
    case Doing::waits:
      return "waits";
    case Doing::waits_for_first:
      return "waits for first";
    case Doing::arrived:
      return "arrived";
    case Doing::in_section:
      return "in section";
    case Doing::between:
      break;
  }
  return "between";
}

Result<Snapshot> look_at(const Read& read, std::size_t size, Nanos time) {
  struct Start {
    std::uint64_t magic;
    std::uint32_t version;
  } start{};
  if (!read_one(read, 0, start)) return cut_short();
  if (start.magic == 0) return Status(LOCKSTEP_AGAIN, "a page that is being made");
  if (start.magic != node::kPageMagic) return Status(LOCKSTEP_E_INVALID, "no page of lockstep");
  if (start.version != node::kPageVersion) {
    return Status(LOCKSTEP_E_UNSUPPORTED,
                  fmt::format("a page of another version of lockstep (layout {}, and this is {}); "
                              "use the lockstep command that the job was built with",
                              start.version, node::kPageVersion));
  }
  node::PageHead head{};
  if (!read_one(read, 0, head)) return cut_short();
  if (!node::fits(head, size)) return Status(LOCKSTEP_E_INVALID, "a damaged page of lockstep");
  const node::Card& card = head.card;
  if (card.is_written.load() == 0) return Status(LOCKSTEP_AGAIN, "a page that is being made");

  Snapshot snapshot;
  snapshot.session = head.session;
  snapshot.ranks = card.ranks;
  snapshot.node = card.node;
  snapshot.nodes = card.nodes;
  snapshot.started = card.started;
  snapshot.job = text_of(card.job);
  snapshot.host = text_of(card.host);
  snapshot.slurm_job = text_of(card.slurm_job);
  snapshot.slurm_step = text_of(card.slurm_step);
  std::vector<node::Member> members(head.members);
  if (!read_all(read, sizeof(node::PageHead), members)) return cut_short();
  for (const node::Member& member : members) {
    snapshot.members.push_back({member.rank, member.pid, member.pid_namespace, false, {}});
  }
  const node::BlockOffsets at(head.members, head.domains);
  for (std::uint32_t index = 0; index < node::kBlocksMax; ++index) {
    const std::size_t begin = node::Page::block_at(index, head.members, head.domains);
    node::BlockHead block_head{};
    if (!read_one(read, begin, block_head)) return cut_short();
    const GroupId group = block_head.group.load();
    if (group == 0 || group == node::kClaimed) continue;
    BlockCopy block(head.members, head.domains);
    if (!block.read_from(read, begin, at)) return cut_short();
    // Given up, or another group's, in the meantime.
    if (block.head.group.load() == group) add_block(snapshot, block, time);
  }
  return snapshot;
}

const Seat& main_seat(const MemberView& member) {
  return *std::min_element(member.seats.begin(), member.seats.end(),
                           [](const Seat& a, const Seat& b) {
                             if (a.doing != b.doing) return a.doing < b.doing;
                             return a.site_since > b.site_since;
                           });
}

std::string in_words(const MemberView& member, Nanos time) {
  if (member.has_left) return "has left";
  if (member.seats.empty()) return "is joining";
  const Seat& seat = main_seat(member);
  if (seat.site.empty()) return "has joined, no call yet";
  const std::string since =
      seat.since ? fmt::format(" since {:.1f} s", static_cast<double>(time - *seat.since) / kSecond)
                 : "";
  switch (seat.doing) {
    case Doing::waits:
      return fmt::format("waits{} at {}", since, seat.site);
    case Doing::waits_for_first:
      return fmt::format("waits{} for the first at {}", since, seat.site);
    case Doing::arrived:
      return fmt::format("has arrived{} at {}", since, seat.site);
    case Doing::in_section:
      return fmt::format("is in its section{}, {}", since, seat.site);
    case Doing::between:
      break;
  }
  return fmt::format("is in no call; last seen at {}", seat.site);
}

}  // namespace lockstep::outside
