// A visitor sees where members are, and believes nothing that does not fit.
// Method: pages that members fill through the runtime's own calls; then damaged, cut and random
// ones.
#include "runtime/outside/snapshot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::outside {
namespace {

using node::Cell;
using node::LocalGroup;
using node::Page;
using node::PageHead;

template <std::size_t N>
void set(std::array<char, N>& to, std::string_view text) {
  std::copy(text.begin(), text.end(), to.begin());
}

/// A page of a job, with a member's view of the job's group each.
struct Job {
  explicit Job(std::uint32_t members, std::uint32_t domains = 1)
      : page(node::make_page(members, domains)) {
    PageHead& head = page.head();
    head.card.ranks = members + 2;
    head.card.node = 1;
    head.card.nodes = 2;
    head.card.started = 1700000000;
    set(head.card.job, "slurm.pmix.7.0");
    set(head.card.host, "n1");
    set(head.card.slurm_job, "7");
    set(head.card.slurm_step, "0");
    const auto block = page.claim_block(node::kJobGroup, members);
    for (std::uint32_t member = 0; member < members; ++member) {
      page.members()[member].rank = member + 2;
      page.members()[member].pid = 100 + member;
      groups.push_back(
          std::make_unique<LocalGroup>(page.block(*block), member, node::dealt(members, domains)));
      groups.back()->introduce(member);
    }
    head.card.is_written = 1;
  }
  std::span<std::byte> bytes() const {
    return {reinterpret_cast<std::byte*>(&page.head()), page.head().size};
  }
  /// The member calls something that is not over.
  void call(std::uint32_t member, Epoch epoch, const char* site) {
    groups[member]->announce(hash_of(site), site);
    groups[member]->arrive(epoch, {{}, 1, 1});
  }
  static std::uint64_t hash_of(const char* text) { return std::hash<std::string_view>()(text) | 1; }

  Page page;
  std::vector<std::unique_ptr<LocalGroup>> groups;
};

Read reader_of(std::span<const std::byte> bytes) {
  return [bytes](std::size_t offset, std::span<std::byte> to) {
    if (offset > bytes.size() || to.size() > bytes.size() - offset) return false;
    std::memcpy(to.data(), bytes.data() + offset, to.size());
    return true;
  };
}

Result<Snapshot> look_at(std::span<const std::byte> bytes, Nanos time = now()) {
  return outside::look_at(reader_of(bytes), bytes.size(), time);
}

TEST(Snapshot, KnowsTheJobAndItsMembers) {
  const Job job(3, 2);
  const Result<Snapshot> seen = look_at(job.bytes());
  ASSERT_TRUE(seen.ok()) << seen.status().text();
  EXPECT_EQ(seen.value().session, 77u);
  EXPECT_EQ(seen.value().ranks, 5u);
  EXPECT_EQ(seen.value().node, 1u);
  EXPECT_EQ(seen.value().nodes, 2u);
  EXPECT_EQ(seen.value().started, 1700000000);
  EXPECT_EQ(seen.value().job, "slurm.pmix.7.0");
  EXPECT_EQ(seen.value().host, "n1");
  EXPECT_EQ(seen.value().slurm_job, "7");
  EXPECT_EQ(seen.value().slurm_step, "0");
  ASSERT_EQ(seen.value().members.size(), 3u);
  EXPECT_EQ(seen.value().members[2].rank, 4u);
  EXPECT_EQ(seen.value().members[2].pid, 102u);
  EXPECT_EQ(in_words(seen.value().members[2], now()), "has joined, no call yet");
}

TEST(Snapshot, TellsWhoWaitsSinceWhenAndWhoDoesNot) {
  Job job(4);
  const Nanos time = 5000 * kSecond;
  for (const std::uint32_t member : {0u, 1u, 2u}) job.call(member, 1, "a.cpp:1 wait_for_everyone");
  job.groups[0]->say_waiting(1, time - 12 * kSecond);
  job.groups[2]->say_waiting(node::kHasArrived | 1, time - 3 * kSecond);
  const Snapshot seen = *look_at(job.bytes(), time);
  const auto words = [&](std::size_t member) { return in_words(seen.members[member], time); };
  EXPECT_EQ(words(0), "waits since 12.0 s at a.cpp:1 wait_for_everyone");
  EXPECT_EQ(words(1), "has arrived at a.cpp:1 wait_for_everyone");
  EXPECT_EQ(words(2), "has arrived since 3.0 s at a.cpp:1 wait_for_everyone");
  EXPECT_EQ(words(3), "has joined, no call yet");
  EXPECT_EQ(main_seat(seen.members[0]).round, 1u);
}

TEST(Snapshot, AnEndedRoundIsNoWaitAndItsTimeIsForgotten) {
  Job job(2);
  for (const std::uint32_t member : {0u, 1u}) job.call(member, 1, "a.cpp:1 check_trigger");
  job.groups[0]->say_waiting(1, now() - kSecond);
  ASSERT_TRUE(job.groups[0]->claim(1));
  job.groups[0]->release(1, {});
  EXPECT_EQ(in_words(look_at(job.bytes())->members[0], now()),
            "is in no call; last seen at a.cpp:1 check_trigger");
  // The next round: what is left of the last wait is not about it.
  job.call(0, 2, "a.cpp:1 check_trigger");
  EXPECT_EQ(in_words(look_at(job.bytes())->members[0], now()),
            "has arrived at a.cpp:1 check_trigger");
}

TEST(Snapshot, KnowsSectionsAndLeaving) {
  Job job(3);
  const Nanos time = now() + kSecond;
  for (const std::uint32_t member : {0u, 1u, 2u}) {
    job.groups[member]->announce(1, "a.cpp:3 process_first");
  }
  job.groups[0]->say_sections(1);
  job.groups[1]->say_waiting(node::kWaitsForSection | 1, time - 7 * kSecond);
  job.groups[2]->leave();
  const Snapshot seen = *look_at(job.bytes(), time);
  EXPECT_EQ(main_seat(seen.members[0]).doing, Doing::in_section);
  EXPECT_TRUE(main_seat(seen.members[0]).since);
  EXPECT_EQ(in_words(seen.members[1], time),
            "waits since 7.0 s for the first at a.cpp:3 process_first");
  EXPECT_EQ(in_words(seen.members[2], time), "has left");
  job.groups[0]->say_sections(0);
  EXPECT_EQ(main_seat(look_at(job.bytes())->members[0]).doing, Doing::between);
}

TEST(Snapshot, AWaitInAnyGroupIsWhereTheMemberIs) {
  Job job(2);
  job.call(0, 1, "job.cpp:1 arrive");
  const auto block = job.page.claim_block(99, 1);
  LocalGroup split(job.page.block(*block), 0, {0});
  split.introduce(0);
  split.announce(1, "split.cpp:2 wait_for_everyone");
  split.arrive(1, {{}, 1, 1});
  split.say_waiting(1, now());
  const Snapshot seen = *look_at(job.bytes());
  ASSERT_EQ(seen.members[0].seats.size(), 2u);
  EXPECT_EQ(main_seat(seen.members[0]).group, 99u);
  EXPECT_EQ(seen.members[1].seats.size(), 1u);
}

TEST(Snapshot, ABrokenGroupIsSeen) {
  Job job(2);
  EXPECT_FALSE(look_at(job.bytes())->groups[0].is_broken);
  const std::byte verdict{1};
  job.groups[0]->break_with({&verdict, 1});
  EXPECT_TRUE(look_at(job.bytes())->groups[0].is_broken);
}

TEST(Snapshot, WhatDoesNotFitIsRefusedWithAReason) {
  const auto refusal = [](void (*damage)(PageHead&)) {
    const Job job(3, 2);
    damage(job.page.head());
    return look_at({reinterpret_cast<const std::byte*>(&job.page.head()), Page::size_for(3, 2, 0)})
        .status();
  };
  EXPECT_TRUE(refusal([](PageHead& head) { head.magic ^= 1; }).is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(refusal([](PageHead& head) { head.version = 1; }).is(LOCKSTEP_E_UNSUPPORTED));
  EXPECT_TRUE(refusal([](PageHead& head) { head.members = 4096; }).is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(refusal([](PageHead& head) { head.domains = 0; }).is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(refusal([](PageHead& head) { head.size = 1; }).is(LOCKSTEP_E_INVALID));
  EXPECT_TRUE(refusal([](PageHead& head) { head.card.is_written = 0; }).is(LOCKSTEP_AGAIN));
  EXPECT_TRUE(refusal([](PageHead& head) { head.magic = 0; }).is(LOCKSTEP_AGAIN));
}

TEST(Snapshot, APageThatIsCutShortIsRefused) {
  const Job job(2);
  const std::span<std::byte> all = job.bytes();
  for (const std::size_t size : {std::size_t{0}, std::size_t{11}, sizeof(PageHead) - 1,
                                 sizeof(PageHead), sizeof(PageHead) + 100, all.size() / 2}) {
    EXPECT_FALSE(look_at(all.first(size)).ok()) << size;
    // Also one that shrinks between being measured and being read.
    EXPECT_FALSE(outside::look_at(reader_of(all.first(size)), all.size(), now()).ok()) << size;
  }
}

TEST(Snapshot, TextsOfAnybodyAreClean) {
  Job job(1);
  std::memset(job.page.head().card.job.data(), '\033', job.page.head().card.job.size());
  job.groups[0]->announce(1, "\033]0;gotcha\007");
  const Snapshot seen = *look_at(job.bytes());
  EXPECT_EQ(seen.job, std::string(job.page.head().card.job.size(), '?'));
  EXPECT_EQ(main_seat(seen.members[0]).site, "?]0;gotcha?");
}

// A head that fits, and anything behind it: never a crash, never a text that is not clean.
TEST(Snapshot, RandomBytesAreSurvived) {
  std::mt19937_64 random(20261126);
  const Job job(3, 2);
  std::vector<std::byte> bytes(job.bytes().size());
  for (int turn = 0; turn < 60; ++turn) {
    std::memcpy(bytes.data(), job.bytes().data(), bytes.size());
    // From a few flipped bytes to nothing but noise behind the head's first line.
    const std::size_t changes = turn < 40 ? 1u << (turn % 12) : bytes.size() - 64;
    for (std::size_t i = 0; i < changes; ++i) {
      const std::size_t at = turn < 40 ? random() % bytes.size() : 64 + i;
      bytes[at] = static_cast<std::byte>(random());
    }
    const Nanos time = turn % 2 == 0 ? now() : static_cast<Nanos>(random() >> 1);
    const Result<Snapshot> seen = look_at(bytes, time);
    if (!seen.ok()) continue;
    EXPECT_EQ(seen.value().members.size(), 3u);
    for (const MemberView& member : seen.value().members) {
      for (const char c : in_words(member, time)) {
        ASSERT_GE(static_cast<unsigned char>(c), 0x20) << turn;
      }
    }
  }
  for (int turn = 0; turn < 200; ++turn) {
    std::vector<std::byte> noise(random() % 10000);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
    EXPECT_FALSE(look_at(noise).ok());
  }
}

}  // namespace
}  // namespace lockstep::outside
