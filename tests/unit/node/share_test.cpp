// How processes come to share a page: everybody expected gets it, nobody else does, nothing is
// left. Method: real processes by fork; a child's exit status says what it has seen.
#include "runtime/node/share.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <filesystem>
#include <functional>
#include <set>

#include "tests/unit/node/shared_page.hpp"

namespace lockstep::node {
namespace {

constexpr Nanos kPatience = 30 * kSecond;
constexpr std::size_t kSize = 8192;
constexpr int kGotPage = 40;
constexpr int kRefused = 41;

/// A forked process that runs `body` and exits with its result.
class Child {
 public:
  explicit Child(const std::function<int()>& body) : pid_(fork()) {
    if (pid_ == 0) _exit(body());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0 && !has_ended_) {
      kill(pid_, SIGKILL);
      result();
    }
  }
  int result() {
    int status = 0;
    waitpid(pid_, &status, 0);
    has_ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
  bool has_ended_ = false;
};

int knock_as(const DoorName& name, const Hello& hello) {
  return knock(name, hello, after(now(), kPatience)).ok() ? kGotPage : kRefused;
}

Door open_door() {
  Result<Door> door = Door::open();
  EXPECT_TRUE(door.ok()) << door.status().text();
  return std::move(*door);
}

UniqueFd memory_of(PageKind kind) {
  Result<UniqueFd> memory = make_memory(kind, kSize);
  EXPECT_TRUE(memory.ok()) << memory.status().text();
  return std::move(*memory);
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// Connects to the door without any of knock()'s manners; -1 if that fails.
int connect_raw(const DoorName& name) {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string text = "lockstep-";
  for (const std::uint8_t byte : name) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte / 16], kDigits[byte % 16]};
  }
  text.copy(address.sun_path + 1, text.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 ? fd : -1;
}

/// Names of ours that can be seen by other processes.
std::set<std::string> visible_names() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("lockstep")) names.insert(name);
  }
  return names;
}

// -- memory

TEST(Memory, OfAMemfdIsSealed) {
  const UniqueFd memory = memory_of(PageKind::memfd);
  const int seals = fcntl(memory.get(), F_GET_SEALS);
  EXPECT_EQ(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_NE(ftruncate(memory.get(), 0), 0) << "a shrunken page would kill its readers";
  EXPECT_NE(ftruncate(memory.get(), 2 * kSize), 0);
}

TEST(Memory, HasNoNameAnywhere) {
  const std::set<std::string> before = visible_names();
  const UniqueFd memory = memory_of(PageKind::shm);
  EXPECT_EQ(visible_names(), before);
  struct stat facts {};
  ASSERT_EQ(fstat(memory.get(), &facts), 0);
  EXPECT_EQ(facts.st_nlink, 0u);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_EQ(facts.st_size, static_cast<off_t>(kSize));
}

TEST(Memory, IsZeroWritableAndClosedOnExec) {
  for (const PageKind kind : {PageKind::memfd, PageKind::shm}) {
    const UniqueFd memory = memory_of(kind);
    EXPECT_NE(fcntl(memory.get(), F_GETFD) & FD_CLOEXEC, 0);
    Result<void*> mapped = map_memory(memory.get(), kSize);
    ASSERT_TRUE(mapped.ok());
    auto* const bytes = static_cast<unsigned char*>(*mapped);
    for (std::size_t i = 0; i < kSize; ++i) ASSERT_EQ(bytes[i], 0);
    bytes[kSize - 1] = 1;
    munmap(*mapped, kSize);
  }
}

TEST(Memory, ThatCannotBeMappedIsAnError) {
  const UniqueFd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Result<void*> mapped = map_memory(nothing.get(), kSize);
  ASSERT_FALSE(mapped.ok());
  EXPECT_TRUE(mapped.status().is(LOCKSTEP_E_RESOURCE));
}

// -- the door

TEST(Door, EverybodyGetsThePage) {
  for (const PageKind kind : {PageKind::memfd, PageKind::shm}) {
    Door door = open_door();
    const UniqueFd memory = memory_of(kind);
    std::vector<std::unique_ptr<Child>> children;
    for (const Rank rank : {3u, 5u, 9u}) {
      children.push_back(std::make_unique<Child>([&door, rank] {
        Result<UniqueFd> page = knock(door.name(), introduce(rank), after(now(), kPatience));
        if (!page.ok()) return kRefused;
        if ((fcntl(page->get(), F_GETFD) & FD_CLOEXEC) == 0) return 1;
        Result<void*> mapped = map_memory(page->get(), kSize);
        if (!mapped.ok()) return 2;
        static_cast<std::atomic<std::uint32_t>*>(*mapped)[rank].store(rank + 100);
        return kGotPage;
      }));
    }
    auto hellos = door.receive({3, 5, 9}, after(now(), kPatience));
    ASSERT_TRUE(hellos.ok()) << hellos.status().text();
    std::set<Rank> ranks;
    std::set<std::uint64_t> pids;
    for (const Hello& hello : *hellos) {
      ranks.insert(hello.rank);
      pids.insert(hello.pid);
    }
    EXPECT_EQ(ranks, (std::set<Rank>{3, 5, 9}));
    for (const auto& child : children)
      EXPECT_EQ(pids.count(static_cast<std::uint64_t>(child->pid())), 1u);
    EXPECT_TRUE(door.hand_out(memory.get()).ok());
    for (const auto& child : children) EXPECT_EQ(child->result(), kGotPage);
    Result<void*> mapped = map_memory(memory.get(), kSize);
    ASSERT_TRUE(mapped.ok());
    for (const Rank rank : ranks) {
      EXPECT_EQ(static_cast<std::atomic<std::uint32_t>*>(*mapped)[rank].load(), rank + 100);
    }
    munmap(*mapped, kSize);
  }
}

TEST(Door, NamesTheRanksThatNeverCome) {
  Door door = open_door();
  Child child([&door] { return knock_as(door.name(), introduce(3)); });
  auto hellos = door.receive({1, 2, 3, 7}, after(now(), kSecond));
  ASSERT_FALSE(hellos.ok());
  EXPECT_TRUE(hellos.status().is(LOCKSTEP_E_BOOTSTRAP));
  EXPECT_TRUE(contains(hellos.status().text(), "ranks 1-2,7 of this node"))
      << hellos.status().text();
  EXPECT_TRUE(contains(hellos.status().text(), "LOCKSTEP_JOIN_TIMEOUT")) << hellos.status().text();
}

TEST(Door, LetsNobodyInWhoDoesNotKnowTheHello) {
  const std::vector<void (*)(Hello&)> forgeries = {[](Hello& hello) { hello.magic ^= 1; },
                                                   [](Hello& hello) { hello.version += 1; },
                                                   [](Hello& hello) { hello.rank = 8; }};
  for (std::size_t i = 0; i < forgeries.size(); ++i) {
    SCOPED_TRACE(i);
    Door door = open_door();
    std::array<int, 2> has_connected{};
    ASSERT_EQ(pipe(has_connected.data()), 0);
    Child stranger([&] {
      Hello hello = introduce(2);
      forgeries[i](hello);
      const int fd = connect_raw(door.name());
      if (send(fd, &hello, sizeof hello, MSG_NOSIGNAL) < 0) return 2;
      if (write(has_connected[1], "x", 1) != 1) return 3;
      char byte = 0;
      return recv(fd, &byte, 1, 0) > 0 ? kGotPage : kRefused;
    });
    const UniqueFd memory = memory_of(PageKind::memfd);
    Child friendly([&] {
      // Knocks behind the stranger, so that the door has seen both.
      char byte = 0;
      if (read(has_connected[0], &byte, 1) != 1) return 3;
      return knock_as(door.name(), introduce(2));
    });
    auto hellos = door.receive({2}, after(now(), kPatience));
    ASSERT_TRUE(hellos.ok());
    ASSERT_EQ(hellos->size(), 1u);
    EXPECT_EQ(hellos->front().pid, static_cast<std::uint64_t>(friendly.pid()));
    EXPECT_TRUE(door.hand_out(memory.get()).ok());
    EXPECT_EQ(friendly.result(), kGotPage);
    EXPECT_EQ(stranger.result(), kRefused);
    close(has_connected[0]);
    close(has_connected[1]);
  }
}

TEST(Door, LetsNoOtherUserIn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  Door door = open_door();
  Child stranger([&door] {
    if (setuid(65534) != 0) return 1;
    return knock_as(door.name(), introduce(2));
  });
  EXPECT_EQ(stranger.result(), kRefused) << "the knocker checks who holds the door";
  // A stranger that checks nothing: connects, and says hello as well as anybody.
  Child rude([&door] {
    const Hello hello = introduce(2);
    if (setuid(65534) != 0) return 1;
    const int fd = connect_raw(door.name());
    if (fd < 0) return 2;
    send(fd, &hello, sizeof hello, MSG_NOSIGNAL);
    char byte = 0;
    return recv(fd, &byte, 1, 0) > 0 ? kGotPage : kRefused;
  });
  auto hellos = door.receive({2}, after(now(), kSecond));
  EXPECT_FALSE(hellos.ok()) << "another user passed for rank 2";
  door = Door();  // or somebody who was let in would wait for a page
  EXPECT_EQ(rude.result(), kRefused);
}

TEST(Door, IsShutWhenAllHaveCome) {
  Door door = open_door();
  const DoorName name = door.name();
  const auto nobody = door.receive({}, after(now(), kPatience));
  ASSERT_TRUE(nobody.ok());
  const auto page = knock(name, introduce(1), after(now(), kPatience));
  ASSERT_FALSE(page.ok());
  EXPECT_TRUE(page.status().is(LOCKSTEP_E_BOOTSTRAP));
}

TEST(Door, HasAnotherNameEachTime) {
  std::set<DoorName> names;
  for (int i = 0; i < 20; ++i) names.insert(open_door().name());
  EXPECT_EQ(names.size(), 20u);
}

TEST(Knock, SaysThatTheLeaderIsGone) {
  DoorName name{};
  {
    Door door = open_door();
    name = door.name();
    Child child([&name] {
      const auto page = knock(name, introduce(1), after(now(), kPatience));
      return !page.ok() && contains(page.status().text(), "leader ended") ? kRefused : 1;
    });
    ASSERT_TRUE(door.receive({1}, after(now(), kPatience)).ok());
    door = Door();
    EXPECT_EQ(child.result(), kRefused);
  }
  const auto page = knock(name, introduce(1), after(now(), kPatience));
  ASSERT_FALSE(page.ok());
  EXPECT_TRUE(page.status().is(LOCKSTEP_E_BOOTSTRAP));
}

TEST(Hello, SaysWhoAndWhere) {
  const Hello hello = introduce(17);
  EXPECT_EQ(hello.rank, 17u);
  EXPECT_EQ(hello.pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_NE(hello.pid_namespace, 0u);
  std::size_t cpus = 0;
  for (const std::uint64_t word : hello.cpus) cpus += static_cast<std::size_t>(std::popcount(word));
  EXPECT_GE(cpus, 1u);
}

// -- courses of events that a review of this code found

// A process that knocks twice takes the place of one that has not come yet.
TEST(Door, CountsARankOnce) {
  Door door = open_door();
  Child first([&door] { return knock_as(door.name(), introduce(1)); });
  Child again([&door] { return knock_as(door.name(), introduce(1)); });
  auto hellos = door.receive({1, 2}, after(now(), kSecond));
  ASSERT_FALSE(hellos.ok()) << "rank 2 has never come";
  EXPECT_TRUE(contains(hellos.status().text(), "2 of this node")) << hellos.status().text();
}

// Sockets with a time limit end a call on every signal, even with SA_RESTART: timers and suspension
// are not a reason to fail a start-up.
TEST(Knock, SurvivesSignals) {
  void* const memory = shared_memory(4096);
  auto* const signals = static_cast<std::atomic<int>*>(memory);
  static std::atomic<int>* counter = nullptr;
  counter = signals;
  Door door = open_door();
  Child child([&door] {
    struct sigaction action {};
    action.sa_handler = [](int) { counter->fetch_add(1); };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval timer{.it_interval = {.tv_sec = 0, .tv_usec = 2000},
                          .it_value = {.tv_sec = 0, .tv_usec = 2000}};
    setitimer(ITIMER_REAL, &timer, nullptr);
    return knock_as(door.name(), introduce(1));
  });
  ASSERT_TRUE(door.receive({1}, after(now(), kPatience)).ok());
  const int before = signals->load();
  const Nanos limit = after(now(), kSecond);  // a child that has given up gets no more signals
  while (signals->load() < before + 20 && now() < limit) usleep(1000);
  const UniqueFd page = memory_of(PageKind::memfd);
  EXPECT_TRUE(door.hand_out(page.get()).ok());
  EXPECT_EQ(child.result(), kGotPage);
  munmap(memory, 4096);
}

// Somebody who connects and says nothing must not keep the others out.
TEST(Door, DoesNotWaitForWhoSaysNothing) {
  Door door = open_door();
  std::array<int, 2> go{};
  ASSERT_EQ(pipe(go.data()), 0);
  Child silent([&] {
    const int fd = connect_raw(door.name());
    if (fd < 0) return 2;
    if (write(go[1], "x", 1) != 1) return 3;
    pause();
    return 0;
  });
  Child friendly([&] {
    char byte = 0;
    if (read(go[0], &byte, 1) != 1) return 3;
    return knock(door.name(), introduce(1), after(now(), kSecond)).ok() ? kGotPage : kRefused;
  });
  const UniqueFd memory = memory_of(PageKind::memfd);
  ASSERT_TRUE(door.receive({1}, after(now(), 3 * kSecond)).ok());
  (void)door.hand_out(memory.get()).ok();
  EXPECT_EQ(friendly.result(), kGotPage);
  close(go[0]);
  close(go[1]);
}

TEST(Memory, TooLittleRoomInSharedMemoryIsAnErrorAtOnce) {
  constexpr int kSkipped = 77;
  Child child([] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return kSkipped;
    if (mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4k") != 0) return kSkipped;
    const Result<UniqueFd> memory = make_memory(PageKind::shm, 1 << 20);
    if (memory.ok()) return 1;
    return memory.status().text().find("LOCKSTEP_PAGE=memfd") != std::string::npos ? 0 : 2;
  });
  const int result = child.result();
  if (result == kSkipped) GTEST_SKIP() << "no mount namespace of one's own here";
  EXPECT_EQ(result, 0) << "1: it was made all the same, 2: the text does not say what to do";
}

}  // namespace
}  // namespace lockstep::node
