// A request goes once through the box, whoever dies on the way.
// Method: both sides in one process; a requester's death is a slot that is left as it was.
#include "runtime/request/box.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace lockstep::request {
namespace {

const Nanos kTime = now();  // the box takes the time itself, too

/// Takes, and keeps what it took until it tells.
struct Job {
  Inbox inbox;
  Taken taken = 0;

  bool take(std::string_view name) {
    const Taken now_taken = inbox.take(name, true);
    taken |= now_taken;
    return now_taken != 0;
  }
  void tell(std::uint64_t check) { inbox.tell(std::exchange(taken, 0), check); }
  std::string text() const { return inbox.text(taken); }
};

struct Pair {
  std::unique_ptr<Box> box = std::make_unique<Box>();
  Job inbox{Inbox(box.get())};
  std::uint64_t next = 1;

  Result<Ticket> ask(const Wish& wish, Nanos time = kTime) {
    return post(*box, wish, next += 2, time);
  }
};

/// What the first bits of a slot's state mean.
std::uint64_t phase(const Slot& slot) {
  return slot.state.load() & 7;
}

TEST(Box, AnInboxWithoutOneHasNothing) {
  Inbox none;
  EXPECT_TRUE(none.is_empty());
  EXPECT_EQ(none.take("stop", true), 0u);
  none.tell(0, 1);
}

TEST(Box, ARequestIsTakenToldAndFinished) {
  Pair pair;
  EXPECT_FALSE(pair.inbox.take("stop"));
  const Ticket ticket = *pair.ask({"", "alice@login1", "the disk is full"});
  EXPECT_EQ(look(*pair.box, ticket).progress, Progress::waits);
  ASSERT_TRUE(pair.inbox.take("stop"));
  EXPECT_EQ(pair.inbox.text(), "alice@login1: the disk is full");
  EXPECT_EQ(look(*pair.box, ticket).progress, Progress::waits);
  pair.inbox.tell(136);
  EXPECT_EQ(look(*pair.box, ticket).progress, Progress::told);
  EXPECT_EQ(look(*pair.box, ticket).check, 136u);
  EXPECT_FALSE(pair.inbox.take("stop")) << "once";
  finish(*pair.box, ticket);
  EXPECT_EQ(look(*pair.box, ticket).progress, Progress::lost);
  EXPECT_EQ(phase(pair.box->slots[0]), 0u);
}

TEST(Box, ANameIsForThatCheckOnly) {
  Pair pair;
  ASSERT_TRUE(pair.ask({"save", "alice@login1", ""}).ok());
  EXPECT_FALSE(pair.inbox.take("stop"));
  EXPECT_FALSE(pair.inbox.take(""));
  EXPECT_TRUE(pair.inbox.take("save"));
  EXPECT_EQ(pair.inbox.text(), "alice@login1");
}

TEST(Box, WhatNamesNobodyIsForWhoTakesAny) {
  Pair pair;
  const Ticket ticket = *pair.ask({"", "alice@login1", ""});
  EXPECT_EQ(pair.inbox.inbox.take("stop", false), 0u);
  const Taken taken = pair.inbox.inbox.take("stop", true);
  EXPECT_NE(taken, 0u);
  pair.inbox.inbox.tell(taken, 7);
  EXPECT_EQ(look(*pair.box, ticket).check, 7u);
}

TEST(Box, SeveralAreOneEventAndEachIsAnswered) {
  Pair pair;
  const Ticket late = *pair.ask({"", "late", ""}, kTime + 2);
  const Ticket early = *pair.ask({"", "early", ""}, kTime + 1);
  const Ticket other = *pair.ask({"save", "other", ""});
  ASSERT_TRUE(pair.inbox.take("stop"));
  EXPECT_EQ(pair.inbox.text(), "early (and 1 more)");
  pair.inbox.tell(5);
  EXPECT_EQ(look(*pair.box, late).check, 5u);
  EXPECT_EQ(look(*pair.box, early).check, 5u);
  EXPECT_EQ(look(*pair.box, other).progress, Progress::waits);
}

TEST(Box, IsFullWhenNobodyTakesAnything) {
  Pair pair;
  for (std::uint32_t i = 0; i < kSlots; ++i) ASSERT_TRUE(pair.ask({}).ok());
  EXPECT_TRUE(pair.ask({}, kTime + 3600 * kSecond).status().is(LOCKSTEP_E_LIMIT))
      << "what is posted is not thrown away, however old";
  ASSERT_TRUE(pair.inbox.take(""));
  pair.inbox.tell(1);
  EXPECT_FALSE(pair.ask({}).ok()) << "the requesters have not read their answers";
  EXPECT_TRUE(pair.ask({}, now() + 3600 * kSecond).ok()) << "they do not come for them";
}

TEST(Box, ANameThatIsTooLongIsRefused) {
  Pair pair;
  EXPECT_TRUE(pair.ask({std::string(kNameMax + 1, 'x'), "", ""}).status().is(LOCKSTEP_E_LIMIT));
  EXPECT_TRUE(pair.ask({std::string(kNameMax, 'x'), "", ""}).ok());
  EXPECT_TRUE(pair.inbox.take(std::string(kNameMax, 'x')));
}

TEST(Box, LongTextsAreCutAndControlCharactersAreNot) {
  Pair pair;
  ASSERT_TRUE(pair.ask({"", "a\033[2J\n", std::string(1000, 'r')}).ok());
  ASSERT_TRUE(pair.inbox.take(""));
  EXPECT_EQ(pair.inbox.text(), "a?[2J?: " + std::string(kReasonMax, 'r'));
}

TEST(Box, ARequesterThatDiesWhileWritingIsNotHeard) {
  Pair pair;
  const Ticket ticket = *pair.ask({"", "alice", ""});
  pair.box->slots[ticket.slot].state -= 1;  // posted becomes writing
  EXPECT_FALSE(pair.inbox.take(""));
  EXPECT_EQ(pair.box->posted.load(), 0u) << "one load per check from now on";
  const Ticket next = *pair.ask({}, kTime + kSecond);
  EXPECT_NE(next.slot, ticket.slot) << "it may still be writing";
  EXPECT_EQ(pair.ask({}, kTime + 11 * kSecond)->slot, ticket.slot);
}

TEST(Box, ARequesterThatDiesAfterPostingIsHeardAtTheNextRequest) {
  Pair pair;
  const Ticket ticket = *pair.ask({"", "alice", ""});
  pair.box->posted = 0;
  EXPECT_FALSE(pair.inbox.take(""));
  ASSERT_TRUE(pair.ask({"save", "bob", ""}).ok());
  ASSERT_TRUE(pair.inbox.take("stop"));
  pair.inbox.tell(3);
  EXPECT_EQ(look(*pair.box, ticket).check, 3u);
}

TEST(Box, TextsThatTwoHaveWrittenAreNotBelieved) {
  Pair pair;
  const Ticket ticket = *pair.ask({"", "alice", "one"});
  pair.box->slots[ticket.slot].reason[0] = 'x';  // by somebody who was given up
  EXPECT_FALSE(pair.inbox.take(""));
  EXPECT_EQ(look(*pair.box, ticket).progress, Progress::lost);
}

// Many requesters at once against a job that checks: every request is told once, by one check.
TEST(Box, EveryRequestIsToldOnce) {
  Pair pair;
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::atomic<int> finished{0};
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const Result<Ticket> ticket = post(*pair.box, {}, (thread << 32 | i) * 2 + 1, now());
        if (!ticket.ok()) {
          ++lost;
          continue;
        }
        Answer answer{Progress::waits};
        while (answer.progress == Progress::waits) {
          std::this_thread::yield();
          answer = look(*pair.box, ticket.value());
        }
        if (answer.progress == Progress::lost) ++lost;
        finish(*pair.box, ticket.value());
      }
      ++finished;
    });
  }
  std::uint64_t check = 0;
  while (finished < kThreads) {
    ++check;
    if (!pair.inbox.take("")) {
      std::this_thread::yield();
    } else {
      pair.inbox.tell(check);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
  EXPECT_FALSE(pair.inbox.take(""));
}

}  // namespace
}  // namespace lockstep::request
