// A visitor finds pages by the processes that hold them, and knows who of them still lives.
// Method: real processes by fork; a page in this process's own memory, found through /proc.
#include "runtime/outside/find.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "runtime/node/page.hpp"
#include "runtime/node/share.hpp"
#include "runtime/outside/ask.hpp"

namespace lockstep::outside {
namespace {

/// A page as node leaders make it, with this process and a child as members.
class Shared {
 public:
  explicit Shared(PageKind kind) {
    const std::size_t size = node::Page::size_for(2, 1, 0);
    memory = std::move(*node::make_memory(kind, size));
    page = node::Page::create(*node::map_memory(memory.get(), size), 2, 1, 0, kSession);
    page.claim_block(node::kJobGroup, 2);
    page.head().card.is_written = 1;
    child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      const node::Hello hello = node::introduce(rank);
      page.members()[rank].rank = rank;
      page.members()[rank].pid = rank == 0 ? hello.pid : static_cast<std::uint64_t>(child);
      page.members()[rank].pid_namespace = hello.pid_namespace;
    }
  }
  ~Shared() { end_child(); }
  void end_child() {
    if (child <= 0) return;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    child = -1;
  }

  /// This process's own: other tests may run on this machine at the same time.
  static inline const std::uint64_t kSession =
      0xfeed'0000'0000'0001u + (static_cast<std::uint64_t>(getpid()) << 8);
  UniqueFd memory;
  node::Page page;
  pid_t child = -1;
};

/// This test's page among whatever runs here.
std::optional<Part> find(std::uint64_t session = Shared::kSession) {
  Result<Visit> visited = visit(now());
  if (!visited.ok()) return std::nullopt;
  for (Part& part : visited->parts) {
    if (part.seen.session == session) return std::move(part);
  }
  return std::nullopt;
}

class Find : public testing::TestWithParam<PageKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Find, testing::Values(PageKind::memfd, PageKind::shm));

TEST_P(Find, APageIsFoundThroughItsProcessesAndOnce) {
  Shared shared(GetParam());
  const auto part = find();
  ASSERT_TRUE(part);
  EXPECT_EQ(part->page.owner, geteuid());
  EXPECT_EQ(part->page.holders.size(), 2u);
  EXPECT_EQ(part->page.process_of(part->seen.members[0]), Process::runs);
  EXPECT_EQ(part->page.process_of(part->seen.members[1]), Process::runs);
}

TEST_P(Find, WhoIsStoppedOrGoneIsKnown) {
  Shared shared(GetParam());
  kill(shared.child, SIGSTOP);
  waitpid(shared.child, nullptr, WUNTRACED);
  auto part = find();
  EXPECT_EQ(part->page.process_of(part->seen.members[1]), Process::stopped);
  shared.end_child();
  part = find();
  EXPECT_EQ(part->page.process_of(part->seen.members[0]), Process::runs);
  EXPECT_EQ(part->page.process_of(part->seen.members[1]), Process::gone);
  // Another process of that number, say: it does not hold the page.
  shared.page.members()[1].pid = static_cast<std::uint64_t>(getppid());
  part = find();
  EXPECT_EQ(part->page.process_of(part->seen.members[1]), Process::gone);
}

// What the owner wrote stays as long as anybody holds the page, and no longer.
TEST_P(Find, APageOutlivesItsOwnerAndNotItsLastHolder) {
  Shared shared(GetParam());
  shared.page = node::Page();
  shared.memory.reset();
  const auto part = find();
  ASSERT_TRUE(part) << "the child has it";
  EXPECT_EQ(part->page.process_of(part->seen.members[0]), Process::gone);
  EXPECT_EQ(part->page.process_of(part->seen.members[1]), Process::runs);
}

TEST_P(Find, APageThatNobodyHoldsIsNotFound) {
  Shared shared(GetParam());
  shared.end_child();
  shared.memory.reset();
  EXPECT_FALSE(find());
}

TEST(FindFiles, ThatOnlyHaveTheNameAreNotRead) {
  std::string path = testing::TempDir() + "lockstep-page-XXXXXX";
  const UniqueFd file(mkstemp(path.data()));
  ASSERT_TRUE(file);
  std::string fifo = path + "-fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd pipe(open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd noise(memfd_create("lockstep-page", MFD_CLOEXEC));
  ASSERT_EQ(write(noise.get(), "garbage that is longer than a magic number", 42), 42);
  const Result<Visit> visited = visit(now());
  unlink(path.c_str());
  unlink(fifo.c_str());
  ASSERT_TRUE(visited.ok());
  const auto names_this = [](const std::string& text) {
    return text.starts_with("process " + std::to_string(getpid()) + ":");
  };
  EXPECT_EQ(
      std::count_if(visited.value().refused.begin(), visited.value().refused.end(), names_this), 1)
      << "the noise, once";
}

TEST(Ask, TheAnswerIsWhatTheJobSays) {
  Shared shared(PageKind::memfd);
  const std::string id = session_id(Shared::kSession);
  const Result<std::uint64_t> early = ask(id, {"", "alice", ""}, 0);
  EXPECT_TRUE(early.status().is(LOCKSTEP_AGAIN)) << early.status().text();
  EXPECT_NE(early.status().text().find("rank 0"), std::string::npos);
  request::Inbox inbox(&shared.page.head().requests);
  const request::Taken taken = inbox.take("stop", true);
  EXPECT_NE(taken, 0u) << "it stands";
  inbox.tell(taken, 4);
}

TEST(Ask, AJobThatHasLeftOrIsElsewhereSaysSo) {
  EXPECT_TRUE(ask("0123456789abcdef", {}, 0).status().is(LOCKSTEP_E_PEER));
  Shared shared(PageKind::memfd);
  const std::string id = session_id(Shared::kSession);
  shared.page.block(0).cells[0].member = 1;
  shared.page.block(0).cells[0].has_left = 1;
  const Status left = ask(id, {}, kNever).status();
  EXPECT_TRUE(left.is(LOCKSTEP_E_PEER));
  EXPECT_EQ(left.text(), "asked too late: rank 0 has left");
  shared.page.head().card.node = 1;
  EXPECT_NE(ask(id, {}, 0).status().text().find("another machine"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::outside
