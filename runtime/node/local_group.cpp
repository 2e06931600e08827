// Arrive, gather and release on the cache lines of one block.
#include "runtime/node/local_group.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace lockstep::node {

LocalGroup::LocalGroup(Block block, std::uint32_t self, std::vector<std::uint32_t> domain_of)
    : block_(block),
      sections_(block.sections, self),
      polls_(*block.poll, block.poll_lines, self),
      rolls_(*block.roll, block.roll_marks.first(domain_of.size()), self),
      self_(self),
      domain_(domain_of[self]),
      domain_of_(std::move(domain_of)) {
  for (std::uint32_t member = 0; member < size(); ++member) {
    if (domain_of_[member] == domain_leaders_.size()) domain_leaders_.push_back(member);
    if (domain_of_[member] == domain_) domain_members_.push_back(member);
  }
}

void LocalGroup::announce(std::uint64_t key, std::string_view site) noexcept {
  site_key_ = key;
  write_site(block_.sites[self_], site, now());
}

void LocalGroup::arrive(Epoch epoch, const Arrival& arrival) noexcept {
  Cell& cell = block_.cells[self_];
  cell.word.store(arrival.words.word, std::memory_order_relaxed);
  cell.signature.store(arrival.signature, std::memory_order_relaxed);
  cell.line = arrival.line;
  cell.length = static_cast<std::uint32_t>(arrival.words.vector.size());
  if (!arrival.words.vector.empty()) {
    std::memcpy(block_.vectors[self_].bytes.data(), arrival.words.vector.data(),
                arrival.words.vector.size());
  }
  cell.epoch.store(epoch, std::memory_order_release);
  if (!is_domain_leader()) ring(block_.gathers[domain_].bell);
  gather(epoch);
}

void LocalGroup::introduce(std::uint32_t member) noexcept {
  block_.cells[self_].member.store(member + 1, std::memory_order_release);
}

void LocalGroup::say_waiting(std::uint64_t waits_for, Nanos since) noexcept {
  Cell& cell = block_.cells[self_];
  if (waits_for != 0) cell.since.store(since, std::memory_order_relaxed);
  cell.waits_for.store(waits_for, std::memory_order_release);
}

void LocalGroup::say_sections(std::size_t open) noexcept {
  Cell& cell = block_.cells[self_];
  const bool is_first = open == 1 && cell.sections.load(std::memory_order_relaxed) == 0;
  if (is_first) cell.section_since.store(now(), std::memory_order_relaxed);
  cell.sections.store(static_cast<std::uint32_t>(open), std::memory_order_release);
}

bool LocalGroup::is_gathered(Epoch epoch) noexcept {
  if (gathering_ != epoch) {
    gathering_ = epoch;
    cell_cursor_ = 0;
    line_cursor_ = 1;  // the leader's own domain is line 0
  }
  for (; cell_cursor_ < domain_members_.size(); ++cell_cursor_) {
    const Cell& cell = block_.cells[domain_members_[cell_cursor_]];
    if (cell.epoch.load(std::memory_order_acquire) < epoch) return false;
  }
  if (!is_leader()) return true;
  for (; line_cursor_ < domain_leaders_.size(); ++line_cursor_) {
    const GatherLine& line = block_.gathers[line_cursor_];
    if (line.epoch.load(std::memory_order_acquire) < epoch) return false;
  }
  return true;
}

void LocalGroup::gather(Epoch epoch) noexcept {
  if (is_leader() || !is_domain_leader()) return;
  GatherLine& line = block_.gathers[domain_];
  if (line.epoch.load(std::memory_order_relaxed) >= epoch || !is_gathered(epoch)) return;
  line.word = 0;
  line.signature = signature_of(self_);
  for (const std::uint32_t member : domain_members_) {
    line.word |= word_of(member);
    // 0 stands for "my members are in different calls"; the leader then looks at every cell.
    if (signature_of(member) != line.signature) line.signature = 0;
  }
  line.epoch.store(epoch, std::memory_order_release);
  ring(block_.gathers[0].bell);
}

bool LocalGroup::has_everybody(Epoch epoch) const noexcept {
  return std::all_of(
      block_.cells.begin(), block_.cells.begin() + size(),
      [epoch](const Cell& cell) { return cell.epoch.load(std::memory_order_acquire) >= epoch; });
}

std::optional<std::uint32_t> LocalGroup::combine(Words& combined) noexcept {
  const std::uint32_t signature = signature_of(0);
  const std::uint32_t length = block_.cells[0].length;
  bool agrees = true;
  combined.word = 0;
  // Whoever finishes a round for a leader that is away may come before the domains' leaders have
  // passed anything on; then every cell is looked at.
  const Epoch epoch = block_.cells[self_].epoch.load(std::memory_order_relaxed);
  const auto has_line = [epoch](const GatherLine& line) {
    return line.epoch.load(std::memory_order_acquire) >= epoch;
  };
  const auto others = block_.gathers.subspan(1, domain_leaders_.size() - 1);
  if (is_leader() && length == 0 && !others.empty() &&
      std::all_of(others.begin(), others.end(), has_line)) {
    for (const std::uint32_t member : domain_members_) {
      combined.word |= word_of(member);
      agrees = agrees && signature_of(member) == signature;
    }
    for (std::size_t domain = 1; domain < domain_leaders_.size(); ++domain) {
      combined.word |= block_.gathers[domain].word;
      agrees = agrees && block_.gathers[domain].signature == signature;
    }
  } else {
    for (std::uint32_t member = 0; member < size(); ++member) {
      combined.word |= word_of(member);
      agrees = agrees && signature_of(member) == signature;
    }
  }
  if (!agrees) {
    for (std::uint32_t member = 1; member < size(); ++member) {
      if (signature_of(member) != signature) return member;
    }
  }
  if (length > 0) {
    std::array<std::byte, LOCKSTEP_VECTOR_MAX>& sum = block_.combined->bytes;
    std::memcpy(sum.data(), block_.vectors[0].bytes.data(), length);
    for (std::uint32_t member = 1; member < size(); ++member) {
      for (std::uint32_t i = 0; i < length; ++i) sum[i] |= block_.vectors[member].bytes[i];
    }
    combined.vector = std::span(sum).first(length);
  }
  return std::nullopt;
}

bool LocalGroup::claim(Epoch epoch) noexcept {
  Epoch expected = epoch - 1;
  return block_.gate->claim.compare_exchange_strong(expected, epoch, std::memory_order_acq_rel);
}

void LocalGroup::release(Epoch epoch, const Words& result) noexcept {
  if (!result.vector.empty() && result.vector.data() != block_.combined->bytes.data()) {
    std::memcpy(block_.combined->bytes.data(), result.vector.data(), result.vector.size());
  }
  for (std::size_t domain = 0; domain < domain_leaders_.size(); ++domain) {
    ReleaseLine& line = block_.releases[domain];
    line.word = result.word;
    line.length = static_cast<std::uint32_t>(result.vector.size());
    line.epoch.store(epoch, std::memory_order_release);
  }
  // One fence for all bells; ring() would pay for one each. Gatherers sleep on their own line, also
  // the leader of a round that its progress thread or another member has finished.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (std::size_t domain = 0; domain < domain_leaders_.size(); ++domain) {
    wake_sleepers(block_.releases[domain].bell);
    wake_sleepers(block_.gathers[domain].bell);
  }
}

void LocalGroup::break_with(std::span<const std::byte> verdict) noexcept {
  const std::size_t length = std::min(verdict.size(), kVerdictRoom);
  std::copy_n(verdict.data(), length, block_.verdict);
  block_.fate->verdict_length = static_cast<std::uint32_t>(length);
  block_.fate->is_broken.store(1, std::memory_order_release);
  for (std::size_t domain = 0; domain < domain_leaders_.size(); ++domain) {
    wake_all(block_.releases[domain].bell);
    wake_all(block_.gathers[domain].bell);
  }
  wake_all(section_bell());
  polls_.alert();
}

Words LocalGroup::result() const noexcept {
  return {release_line().word,
          std::span<const std::byte>(block_.combined->bytes).first(release_line().length)};
}

Bell& LocalGroup::bell() noexcept {
  return is_domain_leader() ? block_.gathers[domain_].bell : block_.releases[domain_].bell;
}

std::span<const std::byte> LocalGroup::verdict() const noexcept {
  return {block_.verdict, std::min<std::size_t>(block_.fate->verdict_length, kVerdictRoom)};
}

Epoch LocalGroup::entered(std::uint32_t member) const noexcept {
  return block_.cells[member].epoch.load(std::memory_order_acquire);
}

bool LocalGroup::waits_for(std::uint32_t member, std::uint64_t what) const noexcept {
  return block_.cells[member].waits_for.load(std::memory_order_acquire) == what;
}

bool LocalGroup::has_left(std::uint32_t member) const noexcept {
  return block_.cells[member].has_left.load(std::memory_order_acquire) != 0;
}

void LocalGroup::leave() noexcept {
  block_.cells[self_].has_left.store(1, std::memory_order_release);
  for (std::size_t domain = 0; domain < domain_leaders_.size(); ++domain) {
    ring(block_.releases[domain].bell);
    ring(block_.gathers[domain].bell);
  }
  ring(section_bell());
}

std::uint32_t LocalGroup::signature_of(std::uint32_t member) const noexcept {
  return block_.cells[member].signature.load(std::memory_order_relaxed);
}

std::string LocalGroup::site_of(std::uint32_t member) const {
  return read_site(block_.sites[member]);
}

void LocalGroup::expire(Epoch epoch) noexcept {
  block_.fate->expired.store(epoch, std::memory_order_release);
  ring(block_.gathers[0].bell);
}

void LocalGroup::ring_sections() noexcept {
  ring(section_bell());
}

namespace {
// Beside the attempt in one word.
constexpr std::uint64_t kIsGone = std::uint64_t{1} << 63;
constexpr std::uint64_t kRetries = std::uint64_t{1} << 62;
constexpr std::uint64_t kTakesTurn = std::uint64_t{1} << 61;
}  // namespace

void LocalGroup::ask(const Inquiry& inquiry) noexcept {
  // Members ask again while they wait: one that is overwritten is not lost for long.
  block_.fate->inquiry_signature.store(inquiry.signature, std::memory_order_relaxed);
  const std::uint64_t flags = (inquiry.is_gone ? kIsGone : 0) | (inquiry.retries ? kRetries : 0) |
                              (inquiry.takes_turn ? kTakesTurn : 0);
  block_.fate->inquiry.store(inquiry.attempt.packed() | flags, std::memory_order_release);
  ring(block_.gathers[0].bell);
  ring_sections();
}

std::optional<LocalGroup::Inquiry> LocalGroup::take_inquiry() noexcept {
  if (block_.fate->inquiry.load(std::memory_order_relaxed) == 0) return std::nullopt;
  const std::uint64_t word = block_.fate->inquiry.exchange(0, std::memory_order_acquire);
  if (word == 0) return std::nullopt;
  return Inquiry{Attempt::unpacked(word & ~(kIsGone | kRetries | kTakesTurn)),
                 block_.fate->inquiry_signature.load(std::memory_order_relaxed),
                 (word & kRetries) != 0, (word & kIsGone) != 0, (word & kTakesTurn) != 0};
}

void LocalGroup::grant_turn(Attempt attempt) noexcept {
  block_.fate->turn.store(attempt.packed(), std::memory_order_release);
  ring_sections();
}

bool LocalGroup::replace_speaker(std::uint32_t present) noexcept {
  std::uint32_t seen = block_.fate->speaker.load(std::memory_order_acquire);
  if (seen % kMembersMax != present) return false;
  const std::uint32_t next = (seen / kMembersMax + 1) * kMembersMax + self_;
  return block_.fate->speaker.compare_exchange_strong(seen, next, std::memory_order_acq_rel);
}

void LocalGroup::note_published() noexcept {
  block_.fate->published.fetch_add(1, std::memory_order_release);
  ring(block_.gathers[0].bell);
  ring_sections();
}

}  // namespace lockstep::node
