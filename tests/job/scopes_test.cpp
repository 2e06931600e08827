// Scopes and "at most k at a time" on every rank of a job: who is with whom, who goes first, how
// many at once, and what is left.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <set>

#include "tests/job/saving_fixture.hpp"

namespace {

using lockstep::Group;
using lockstep::Scope;

class Scopes : public SavingFixture {
 protected:
  static std::vector<std::uint32_t> members(const Group& group) {
    std::vector<std::uint32_t> ranks;
    for (std::uint32_t i = 0; i < group.size(); ++i) ranks.push_back(group.member(i));
    return ranks;
  }
  std::uint64_t rounds() const { return s.counter("rounds"); }
  std::uint64_t groups() const { return s.counter("groups"); }
  lockstep_status_t status_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const lockstep::Error& error) {
      text = error.what();
      return error.status();
    }
    text.clear();
    return LOCKSTEP_OK;
  }
  std::string text;
};
class AtMost : public Scopes {};

TEST_F(Scopes, TheJobAndItsNodesAreThoseOfTheSession) {
  EXPECT_EQ(s.group_of(Scope::job).handle(), s.job().handle());
  const std::uint64_t before = rounds();
  const Group node = s.group_of(Scope::node);
  EXPECT_EQ(node.handle(), s.node_count() == 1 ? s.job().handle() : s.local().handle());
  EXPECT_EQ(s.count_of(Scope::node), s.node_count());
  EXPECT_EQ(rounds(), before) << "everybody knows who is on which node";
}

TEST_F(Scopes, AGroupIsMadeOnceHoweverOftenItIsAskedFor) {
  s.group_of(Scope::numa);
  // Others by parity: a parent that is neither the job nor a node.
  auto half = *s.job().split(s.rank() % 2);
  half.group_of(Scope::node);
  const std::uint64_t before = groups();
  lockstep_group_t handle = nullptr;
  for (int i = 0; i < 200; ++i) {
    const Group group = half.group_of(Scope::node);
    if (handle != nullptr) {
      EXPECT_EQ(group.handle(), handle);
    }
    handle = group.handle();
    s.group_of(Scope::numa);
    s.group_of(Scope::file_system(folder));
  }
  EXPECT_EQ(groups(), before);
  for (const std::uint32_t rank : members(half.group_of(Scope::node))) {
    EXPECT_EQ(rank % 2, s.rank() % 2);
    EXPECT_STREQ(lockstep_session_host(s.handle(), rank), s.host().c_str());
  }
}

// 64 at a time: parents come and go, and what was made of them goes with them.
TEST_F(Scopes, GroupsEndWithTheirParentAndAreNotFreedByAnybodyElse) {
  const int parents = has_frames() ? 80 : 8;  // a round by pmix_fence takes that much longer
  for (int i = 0; i < parents; ++i) {
    auto half = *s.job().split(s.rank() % 2);
    Group node = half.group_of(Scope::node);
    node.group_of(Scope::numa);
    if (node.handle() != half.handle()) lockstep_group_free(node.handle());
    node.wait_for_everyone({.name = "it is still there"});
  }
}

TEST_F(Scopes, SomethingElseMayHappenInAGroupOfAScope) {
  Group node = s.group_of(Scope::node);
  EXPECT_EQ(node.broadcast("from " + std::to_string(node.member(0))),
            "from " + std::to_string(node.member(0)));
  EXPECT_EQ(everybodys(node, s.node()), std::vector<std::uint32_t>(node.size(), s.node()));
}

TEST_F(Scopes, DomainsAreWithinNodes) {
  const Group domain = s.group_of(Scope::numa);
  std::set<std::string> hosts;
  for (const std::uint32_t rank : members(domain)) {
    hosts.insert(lockstep_session_host(s.handle(), rank));
  }
  EXPECT_EQ(hosts, std::set<std::string>{s.host()});
  EXPECT_GE(s.count_of(Scope::numa), s.node_count());
}

/// The switches above this node as its environment names them; empty: it does not.
std::string switches_here() {
  if (const char* const mine = std::getenv("LOCKSTEP_SWITCHES")) return mine;
  const char* const address = std::getenv("SLURM_TOPOLOGY_ADDR");
  const std::string text = address != nullptr ? address : "";
  return text.substr(0, text.find('.') != std::string::npos ? text.rfind('.') : 0);
}

// Under `lockstep run --switches` and on the testbed they are known, otherwise not.
TEST_F(Scopes, SwitchesAreThoseOfTheLauncherOrAnErrorOnAll) {
  const std::string switches = switches_here();
  std::vector<std::uint32_t> mine;
  const auto status = status_of([&] { mine = members(s.group_of(Scope::leaf_switch)); });
  if (s.node_count() == 1) {
    EXPECT_EQ(status, LOCKSTEP_OK);
    EXPECT_EQ(mine.size(), s.size()) << "whatever is above the node, all share it";
  } else if (switches.empty()) {
    EXPECT_EQ(status, LOCKSTEP_E_UNSUPPORTED);
    EXPECT_NE(text.find("the switches above rank 0 on n0 are not known"), std::string::npos)
        << text;
    EXPECT_NE(text.find("LOCKSTEP_SWITCHES="), std::string::npos) << text;
  } else {
    EXPECT_EQ(status, LOCKSTEP_OK) << text;
    std::vector<std::uint32_t> wanted;
    const std::size_t own = std::hash<std::string>()(switches);
    const auto all = everybodys(s.job(), own);
    for (std::uint32_t rank = 0; rank < s.size(); ++rank) {
      if (all[rank] == own) wanted.push_back(rank);
    }
    EXPECT_EQ(mine, wanted);
    EXPECT_LT(mine.size(), s.size()) << "a test with one switch tests little";
  }
  s.wait_for_everyone({.name = "the job goes on"});
}

TEST_F(Scopes, BadArgumentsAreRefused) {
  lockstep_group_t group = nullptr;
  const auto job = s.job().handle();
  EXPECT_EQ(
      lockstep_group_of(job, static_cast<lockstep_scope_t>(6), nullptr, nullptr, &group, nullptr),
      LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_group_of(job, LOCKSTEP_PER_NODE, nullptr, nullptr, nullptr, nullptr),
            LOCKSTEP_E_INVALID);
  for (const char* path : {"", static_cast<const char*>(nullptr)}) {
    EXPECT_EQ(lockstep_group_of(job, LOCKSTEP_PER_FILE_SYSTEM, path, nullptr, &group, nullptr),
              LOCKSTEP_E_INVALID);
  }
  EXPECT_EQ(lockstep_group_of(nullptr, LOCKSTEP_PER_NODE, nullptr, nullptr, &group, nullptr),
            LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_print(s.handle(), LOCKSTEP_PER_NUMA, "x"), LOCKSTEP_E_INVALID);
  EXPECT_EQ(group, nullptr);
}

TEST_F(Scopes, OneFileSystemIsOneGroupAndOneGoesFirst) {
  const Scope shared = Scope::file_system(folder);
  EXPECT_EQ(s.group_of(shared).handle(), s.job().handle());
  EXPECT_EQ(s.count_of(shared), 1u);
  const std::uint64_t before = rounds();
  s.group_of(shared);
  EXPECT_EQ(rounds(), before + 1) << "known";
  const bool has_made = s.first(shared, [&] {
    if (std::filesystem::exists(folder / "made")) return false;
    std::ofstream(folder / "made") << s.rank();
    return true;
  });
  const auto makers = everybodys(s.job(), has_made);
  EXPECT_EQ(std::count(makers.begin(), makers.end(), true), 1);
  EXPECT_EQ(text_of(folder / "made"), "0");
  {
    const auto section = s.first(shared, {.name = "as a scope"});
    if (s.rank() == 0) std::filesystem::rename(folder / "made", folder / "renamed");
  }
  EXPECT_TRUE(std::filesystem::exists(folder / "renamed"));
  EXPECT_EQ(entries(), 1u) << "a probe leaves nothing";
}

TEST_F(Scopes, WhatIsNotThereYetIsInTheNearestFolder) {
  EXPECT_EQ(s.count_of(Scope::file_system(folder / "not" / "yet")), 1u);
  EXPECT_EQ(entries(), 0u) << "nothing is made";
}

// The path is each rank's own: a folder for each is a file system for each, as far as anybody who
// prepares files there can tell.
TEST_F(Scopes, LinksLeadEachWhereItLeads) {
  std::filesystem::create_directories(folder / "of" / std::to_string(s.rank()));
  std::filesystem::create_directory_symlink(folder / "of" / std::to_string(s.rank()),
                                            folder / ("link" + std::to_string(s.rank())));
  std::filesystem::create_directory_symlink(folder / "of",
                                            folder / ("all" + std::to_string(s.rank())));
  const auto mine = Scope::file_system(folder / ("link" + std::to_string(s.rank())));
  EXPECT_EQ(s.count_of(mine), s.size());
  EXPECT_EQ(s.group_of(mine).size(), 1u);
  const auto all = Scope::file_system(folder / ("all" + std::to_string(s.rank())));
  EXPECT_EQ(s.count_of(all), 1u);
  EXPECT_EQ(s.count_of(mine), s.size()) << "and again";
  s.wait_for_everyone();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    EXPECT_EQ(entry.path().string().find("probe"), std::string::npos) << entry.path();
  }
}

TEST_F(Scopes, AFolderThatSomeLackIsAnErrorThatNamesThem) {
  if (s.size() == 1) return;
  const auto path = folder / "there";
  if (s.is_last_process()) {
    // The last rank's own name for it leads nowhere; all others' is there.
    std::filesystem::create_directory(path);
  }
  s.wait_for_everyone({.name = "made"});
  const auto mine = s.is_last_process() ? folder / "elsewhere" / "there" : path;
  EXPECT_EQ(status_of([&] { s.group_of(Scope::file_system(mine)); }), LOCKSTEP_E_IO);
  const std::string who = "rank " + std::to_string(s.size() - 1) + " on " +
                          lockstep_session_host(s.handle(), s.size() - 1);
  EXPECT_NE(text.find("is there for some ranks, but not for " + who), std::string::npos) << text;
  EXPECT_EQ(s.count_of(Scope::file_system(path)), 1u) << "the job goes on";
}

TEST_F(Scopes, ALinkToNothingIsToldToAll) {
  const auto link = folder / "link";
  if (s.is_main_process()) std::filesystem::create_symlink("nowhere", link);
  s.wait_for_everyone({.name = "made"});
  const auto mine = s.is_last_process() ? link : folder;
  EXPECT_EQ(status_of([&] { s.group_of(Scope::file_system(mine)); }), LOCKSTEP_E_IO);
  expect_common(text);
  EXPECT_NE(text.find("link to something that is not there"), std::string::npos) << text;
}

TEST_F(Scopes, EachFileSystemHasOneSaver) {
  lockstep::save_together(s.job(), folder / "model", [&](std::ostream& out) { out << s.rank(); },
                          {.saver = lockstep::Saver::each_file_system, .visible_everywhere = true});
  EXPECT_EQ(text_of(folder / "model"), "0");
  EXPECT_EQ(entries(), 1u);
  // A folder for each rank is one for each.
  const auto own = folder / std::to_string(s.rank());
  std::filesystem::create_directory(own);
  int calls = 0;
  lockstep::save_together(s.job(), own / "model",
                          [&](std::ostream& out) { ++calls, out << s.rank(); },
                          {.saver = lockstep::Saver::each_file_system, .visible_everywhere = true});
  EXPECT_EQ(text_of(own / "model"), std::to_string(s.rank()));
  EXPECT_EQ(calls, 1);
  const bool last = s.is_last_process();
  EXPECT_EQ(status_of([&] {
              lockstep::save_together(s.job(), own / "model",
                                      [&](std::ostream& out) {
                                        if (last) out.setstate(std::ios::badbit);
                                      },
                                      {.saver = lockstep::Saver::each_file_system});
            }),
            LOCKSTEP_E_IO);
  expect_common(text);
  EXPECT_EQ(text_of(own / "model"), last ? std::to_string(s.rank()) : "");
}

/// Counts in memory that all ranks of the machine share: who is inside, and the most at a time.
class Inside {
 public:
  explicit Inside(const std::string& path) {
    const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(ftruncate(file, sizeof(Counts)), 0);
    void* const memory = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    EXPECT_NE(memory, MAP_FAILED);
    close(file);
    counts_ = static_cast<Counts*>(memory);
  }
  ~Inside() { munmap(counts_, sizeof(Counts)); }
  void enter() {
    const int now_inside = counts_->inside.fetch_add(1) + 1;
    int most = counts_->most.load();
    while (most < now_inside && !counts_->most.compare_exchange_weak(most, now_inside)) {
    }
    counts_->total.fetch_add(1);
    usleep(2000);  // so that those who may be inside at once are; nothing depends on it
    counts_->inside.fetch_sub(1);
  }
  int most() const { return counts_->most.load(); }
  int total() const { return counts_->total.load(); }

 private:
  struct Counts {
    std::atomic<int> inside;
    std::atomic<int> most;
    std::atomic<int> total;
  };
  Counts* counts_;
};

TEST_F(AtMost, NeverAreMoreThanKInside) {
  for (const std::uint32_t k : std::set{1u, 2u, 3u, s.size(), s.size() + 5}) {
    Inside inside(folder / ("k" + std::to_string(k)));
    const std::uint64_t before = rounds();
    const std::uint32_t value = s.job().at_most(k, [&] { return inside.enter(), s.rank(); });
    EXPECT_EQ(value, s.rank());
    EXPECT_EQ(inside.total(), static_cast<int>(s.size())) << "it returns when all have";
    EXPECT_LE(inside.most(), static_cast<int>(k));
    EXPECT_EQ(rounds() - before, (s.size() + k - 1) / k) << "a round for each wave";
    s.wait_for_everyone({.name = "next k"});
  }
}

TEST_F(AtMost, IsPerNodeOrPerFileSystem) {
  Inside node(folder / ("node" + std::to_string(s.node())));
  s.at_most(2, Scope::node, [&] { node.enter(); });
  EXPECT_LE(node.most(), 2);
  EXPECT_EQ(node.total(), static_cast<int>(s.local_size()));
  Inside shared(folder / "shared");
  s.at_most(1, Scope::file_system(folder), [&] { shared.enter(); });
  EXPECT_EQ(shared.most(), 1);
  EXPECT_EQ(shared.total(), static_cast<int>(s.size()));
}

TEST_F(AtMost, WhoFailsIsToldToAllAndLaterWavesDoNotRun) {
  const std::uint32_t bad = s.size() / 2;
  bool has_run = false;
  std::string own;
  const auto status = status_of([&] {
    try {
      s.job().at_most(1, [&] {
        has_run = true;
        if (s.rank() == bad) throw std::runtime_error("no room left");
      });
    } catch (const lockstep::Error&) {
      throw;
    } catch (const std::exception& error) {
      own = error.what();
    }
  });
  EXPECT_EQ(has_run, s.rank() <= bad);
  if (s.rank() == bad) {
    EXPECT_EQ(own, "no room left");
  } else {
    EXPECT_EQ(status, LOCKSTEP_E_FIRST_FAILED);
    EXPECT_NE(text.find("rank " + std::to_string(bad) + " on "), std::string::npos) << text;
    EXPECT_NE(text.find("no room left"), std::string::npos) << text;
  }
  s.job().at_most(2, [] {});  // the group goes on
}

TEST_F(AtMost, DifferentNumbersAreAnErrorOnAll) {
  if (s.size() == 1) return;
  const std::uint32_t k = s.is_last_process() ? 1 : 2;
  EXPECT_EQ(status_of([&] { s.job().at_most(k, [] {}); }), LOCKSTEP_E_INVALID) << text;
  EXPECT_NE(text.find("members name different numbers"), std::string::npos) << text;
  s.wait_for_everyone({.name = "the job goes on"});
}

TEST_F(AtMost, HasABeginForEachEnd) {
  const auto job = s.job().handle();
  EXPECT_EQ(lockstep_at_most_end(job, nullptr), LOCKSTEP_E_STATE);
  EXPECT_EQ(lockstep_at_most_begin(job, 0, nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_at_most_begin(job, s.size(), nullptr), LOCKSTEP_OK);
  EXPECT_EQ(lockstep_at_most_begin(job, s.size(), nullptr), LOCKSTEP_E_STATE);
  EXPECT_EQ(lockstep_at_most_end(job, nullptr), LOCKSTEP_OK);
}

}  // namespace
