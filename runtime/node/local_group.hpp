// A group's members on this node, as one of them sees them: arrive, gather, release.
//
// A round: each member writes its cell; the leader of each domain gathers its domain; the leader of
// the node gathers the domains (and, in a group on several nodes, asks the others); then one
// release line per domain is written. In a group of one node any member that is done waiting
// politely may finish a round whose leader has arrived but is away (between arrive and wait): the
// gate lets one in.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/node/page.hpp"
#include "runtime/node/poll_board.hpp"
#include "runtime/node/roll_board.hpp"
#include "runtime/node/section_ring.hpp"
#include "runtime/node/wait.hpp"

namespace lockstep::node {

/// What one member brings to a round, or what a round has combined.
struct Words {
  std::uint64_t word = 0;
  std::span<const std::byte> vector;
};

struct Arrival {
  Words words;
  std::uint32_t signature = 0;  ///< of the call, never 0
  std::uint32_t line = 0;
};

class LocalGroup {
 public:
  /// @param domain_of  Domain of each member, numbered from 0 in order of first appearance.
  LocalGroup(Block block, std::uint32_t self, std::vector<std::uint32_t> domain_of);

  std::uint32_t self() const noexcept { return self_; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(domain_of_.size()); }
  bool is_leader() const noexcept { return self_ == 0; }

  // -- this member's part
  /// Says where this member is. `key` stands for the text: the same call in a loop writes it once.
  bool is_announced(std::uint64_t key) const noexcept { return key == site_key_; }
  void announce(std::uint64_t key, std::string_view site) noexcept;
  void arrive(Epoch epoch, const Arrival& arrival) noexcept;
  // What visitors are told beyond that; all of it off the path of a quick round.
  /// Which member of the page this is.
  void introduce(std::uint32_t member) noexcept;
  /// A wait lasts (see Cell::waits_for), or has ended (0).
  void say_waiting(std::uint64_t waits_for, Nanos since) noexcept;
  void say_sections(std::size_t open) noexcept;
  /// Moves this member's share of the gathering on; cheap, called in every turn of a wait.
  void gather(Epoch epoch) noexcept;
  bool is_released(Epoch epoch) const noexcept {
    return release_line().epoch.load(std::memory_order_acquire) >= epoch;
  }
  Words result() const noexcept;
  /// The bell this member sleeps on while it waits for the release of a round.
  Bell& bell() noexcept;

  // -- the finisher's part
  bool is_gathered(Epoch epoch) noexcept;
  bool has_everybody(Epoch epoch) const noexcept;  ///< slow look at every cell
  /// ORs what everybody brought. Precondition: everybody has arrived, and nobody else does this
  /// (the epoch is claimed, or only the leader ends this group's rounds). Returns the first member
  /// whose signature differs from member 0's, if any. The vector is left in the block's combined
  /// area.
  std::optional<std::uint32_t> combine(Words& combined) noexcept;
  /// The right to end the epoch on this node, by release() or break_with(). One caller gets it.
  bool claim(Epoch epoch) noexcept;
  /// Lets everybody go. Precondition: the epoch was claimed.
  void release(Epoch epoch, const Words& result) noexcept;
  /// Tells everybody that the group is broken. Precondition: the epoch was claimed.
  void break_with(std::span<const std::byte> verdict) noexcept;

  // -- reports
  bool is_broken() const noexcept {
    return block_.fate->is_broken.load(std::memory_order_acquire) != 0;
  }
  std::span<const std::byte> verdict() const noexcept;
  Epoch entered(std::uint32_t member) const noexcept;
  /// A wait of another member that lasts, as it has said it.
  bool waits_for(std::uint32_t member, std::uint64_t what) const noexcept;
  bool has_left(std::uint32_t member) const noexcept;
  void leave() noexcept;
  std::uint32_t signature_of(std::uint32_t member) const noexcept;
  std::string site_of(std::uint32_t member) const;
  void expire(Epoch epoch) noexcept;  ///< tells the leader that a deadline for `epoch` has passed
  Epoch expired() const noexcept { return block_.fate->expired.load(std::memory_order_acquire); }

  PollBoard& polls() noexcept { return polls_; }
  RollBoard& rolls() noexcept { return rolls_; }

  // -- sections
  SectionRing& sections() noexcept { return sections_; }
  const SectionRing& sections() const noexcept { return sections_; }
  Bell& section_bell() noexcept { return block_.head->section_bell; }
  /// Wakes who waits for an outcome.
  void ring_sections() noexcept;
  /// What a member asks whoever speaks for this node: how did this attempt end?
  struct Inquiry {
    Attempt attempt;
    std::uint32_t signature = 0;  ///< of the section's call
    bool retries = false;         ///< the next member tries if the first is gone
    bool is_gone = false;         ///< and it is
    bool takes_turn = false;      ///< no: may the asker itself go first in it?
  };
  void ask(const Inquiry& inquiry) noexcept;
  std::optional<Inquiry> take_inquiry() noexcept;
  /// The answer to takes_turn.
  void grant_turn(Attempt attempt) noexcept;
  bool has_turn(Attempt attempt) const noexcept {
    return block_.fate->turn.load(std::memory_order_acquire) == attempt.packed();
  }
  /// The member that passes outcomes on between nodes: the leader, or who came after it.
  std::uint32_t speaker() const noexcept {
    return block_.fate->speaker.load(std::memory_order_acquire) % kMembersMax;
  }
  /// How many were the speaker before the present one.
  std::uint32_t succession() const noexcept {
    return block_.fate->speaker.load(std::memory_order_acquire) / kMembersMax;
  }
  /// Makes this member the speaker; false if there is another one by now.
  bool replace_speaker(std::uint32_t present) noexcept;
  /// Counts records that members other than the speaker have left in the ring to be sent.
  void note_published() noexcept;
  std::uint64_t published() const noexcept {
    return block_.fate->published.load(std::memory_order_acquire);
  }

 private:
  const ReleaseLine& release_line() const noexcept { return block_.releases[domain_]; }
  std::uint64_t word_of(std::uint32_t member) const noexcept {
    return block_.cells[member].word.load(std::memory_order_relaxed);
  }
  bool is_domain_leader() const noexcept { return domain_members_.front() == self_; }

  Block block_;
  SectionRing sections_;
  PollBoard polls_;
  RollBoard rolls_;
  std::uint32_t self_;
  std::uint32_t domain_;
  std::vector<std::uint32_t> domain_of_;
  std::vector<std::uint32_t> domain_members_;  ///< members of this one's domain, in order
  std::vector<std::uint32_t> domain_leaders_;  ///< per domain
  std::size_t cell_cursor_ = 0;                ///< cells of the domain seen so far
  std::size_t line_cursor_ = 0;                ///< other domains seen so far
  Epoch gathering_ = 0;
  std::uint64_t site_key_ = 0;
};

}  // namespace lockstep::node
