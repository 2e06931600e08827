// Every item of the C++ interface (and through it the C one), run on all ranks of a job at once.
//
// Each test is collective: all ranks make the same calls. What one rank sees is compared with what
// the others see through broadcasts, so that a wrong rank cannot vouch for itself.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <thread>

#include "tests/job/everybody.hpp"
#include "tests/job/the_session.hpp"

namespace {

using namespace std::chrono_literals;
using lockstep::Session;

std::int64_t clock_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();  // one host, one clock
}

/// A folder that all ranks of this job share, and no other job.
std::filesystem::path shared_folder() {
  static const std::filesystem::path folder = [] {
    std::string name;
    if (the_session().is_main_process()) {
      std::string pattern =
          (std::filesystem::temp_directory_path() / "lockstep-test-XXXXXX").string();
      name = mkdtemp(pattern.data());
    }
    return the_session().job().broadcast(name);
  }();
  return folder;
}

void forget_shared_folder() {
  the_session().wait_for_everyone({.name = "files are done with"});
  if (the_session().is_main_process()) std::filesystem::remove_all(shared_folder());
}

TEST(Identity, RanksCountOffAndNodesAddUp) {
  Session& s = the_session();
  struct Place {
    std::uint32_t rank, size, local_rank, local_size, node, nodes, main, local_main, last;
  };
  const Place mine{
      s.rank(),           s.size(),       s.local_rank(),      s.local_size(),
      s.node(),           s.node_count(), s.is_main_process(), s.is_local_main_process(),
      s.is_last_process()};
  const std::vector<Place> all = everybodys(s.job(), mine);
  std::vector<std::uint32_t> seen_on_node(s.node_count(), 0);
  for (std::uint32_t r = 0; r < s.size(); ++r) {
    EXPECT_EQ(all[r].rank, r);
    EXPECT_EQ(all[r].size, s.size());
    EXPECT_EQ(all[r].nodes, s.node_count());
    ASSERT_LT(all[r].node, s.node_count());
    EXPECT_EQ(all[r].local_rank, seen_on_node[all[r].node]++) << "rank " << r;
    EXPECT_EQ(all[r].main, r == 0);
    EXPECT_EQ(all[r].local_main, all[r].local_rank == 0);
    EXPECT_EQ(all[r].last, r + 1 == s.size());
  }
  for (const Place& place : all) EXPECT_EQ(place.local_size, seen_on_node[place.node]);
  EXPECT_EQ(lockstep_session_host(s.handle(), s.size()), nullptr);
  EXPECT_EQ(s.host(), lockstep_session_host(s.handle(), s.rank()));
  EXPECT_EQ(s.local().size(), s.local_size());
  EXPECT_EQ(s.local().rank(), s.local_rank());
  EXPECT_EQ(s.local().member(s.local_rank()), s.rank());
  EXPECT_EQ(s.job().member(s.size()), UINT32_MAX);
}

TEST(WaitForEveryone, NobodyLeavesBeforeEverybodyHasEntered) {
  constexpr std::size_t kRounds = 200;
  Session& s = the_session();
  std::mt19937 random(s.rank() + 1);
  struct Times {
    std::array<std::int64_t, kRounds> entry, exit;
  };
  Times mine{};
  for (std::size_t i = 0; i < kRounds; ++i) {
    if (random() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    mine.entry[i] = clock_ns();
    s.wait_for_everyone({.name = "round"});
    mine.exit[i] = clock_ns();
  }
  const std::vector<Times> all = everybodys(s.job(), mine);
  for (std::size_t i = 0; i < kRounds; ++i) {
    std::int64_t last_entry = INT64_MIN;
    std::int64_t first_exit = INT64_MAX;
    for (const Times& times : all) {
      last_entry = std::max(last_entry, times.entry[i]);
      first_exit = std::min(first_exit, times.exit[i]);
    }
    ASSERT_GE(first_exit, last_entry) << "round " << i;
  }
}

TEST(WaitForEveryone, LocalGroupWaitsForItsNodeOnly) {
  Session& s = the_session();
  // Node 0 makes more local rounds than the others: nobody else may be needed.
  const int rounds = s.node() == 0 ? 50 : 5;
  for (int i = 0; i < rounds; ++i) s.local().wait_for_everyone();
  s.wait_for_everyone();
}

TEST(SplitPhase, ArriveLetsWorkGoOnAndWaitEndsIt) {
  Session& s = the_session();
  for (int i = 0; i < 20; ++i) {
    lockstep::Arrival arrival = s.job().arrive({.name = "split phase"});
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100 * (s.rank() % 4)));
    if (i % 2 == 0) {
      while (!arrival.test()) std::this_thread::yield();
    } else {
      arrival.wait();
    }
  }
}

TEST(SplitPhase, ALeaderThatComputesBetweenItsHalvesHoldsNobodyUp) {
  Session& s = the_session();
  const std::filesystem::path flag = shared_folder() / "through";
  const std::int64_t start = clock_ns();
  lockstep::Arrival arrival = s.job().arrive();
  if (s.is_main_process()) {
    // The others get through while rank 0, everybody's leader, has not come back.
    while (s.size() > 1 && !std::filesystem::exists(flag)) {
      ASSERT_LT(clock_ns() - start, std::int64_t{30} * 1'000'000'000) << "nobody got through";
      std::this_thread::sleep_for(1ms);
    }
    arrival.wait();
  } else {
    arrival.wait();
    std::ofstream(flag) << s.rank();
  }
  s.wait_for_everyone();
}

TEST(SplitPhase, MisuseIsAnErrorThatChangesNothing) {
  Session& s = the_session();
  EXPECT_EQ(lockstep_wait(s.job().handle()), LOCKSTEP_E_STATE);
  EXPECT_EQ(lockstep_test(s.job().handle()), LOCKSTEP_E_STATE);
  lockstep::Arrival arrival = s.job().arrive();
  EXPECT_EQ(lockstep_arrive(s.job().handle(), nullptr), LOCKSTEP_E_BUSY);
  EXPECT_EQ(lockstep_wait_for_everyone(s.job().handle(), nullptr), LOCKSTEP_E_BUSY);
  EXPECT_NE(std::string(lockstep_last_error()).find("arrived at"), std::string::npos);
  arrival.wait();
  s.wait_for_everyone();
}

TEST(Split, ColoursMakeGroupsInRankOrder) {
  Session& s = the_session();
  auto group = s.job().split(s.rank() % 3);
  ASSERT_TRUE(group.has_value());
  std::uint32_t expected = 0;
  for (std::uint32_t r = s.rank() % 3; r < s.size(); r += 3, ++expected) {
    EXPECT_EQ(group->member(expected), r);
    if (r == s.rank()) {
      EXPECT_EQ(group->rank(), expected);
    }
  }
  EXPECT_EQ(group->size(), expected);
  for (int i = 0; i < 20; ++i) group->wait_for_everyone({.name = "third"});
  const auto ranks = everybodys(*group, s.rank());
  for (std::uint32_t i = 0; i < group->size(); ++i) EXPECT_EQ(ranks[i], group->member(i));
  // Groups of groups, and rounds on several groups in turn.
  auto half = group->split(group->rank() < group->size() / 2 ? 0 : 1);
  for (int i = 0; i < 10; ++i) {
    half->wait_for_everyone();
    group->wait_for_everyone();
    s.wait_for_everyone();
  }
}

TEST(Split, AMemberWithoutColourGetsNoGroup) {
  Session& s = the_session();
  auto group = s.job().split(s.is_last_process() && s.size() > 1 ? std::nullopt
                                                                 : std::optional<std::uint32_t>(7));
  EXPECT_EQ(group.has_value(), !(s.is_last_process() && s.size() > 1));
  if (group) {
    group->wait_for_everyone();
  }
  s.wait_for_everyone();
}

TEST(Split, GroupsAreLimitedAndGivenBack) {
  Session& s = the_session();
  std::vector<lockstep::Group> groups;
  for (int i = 0; i < 64; ++i) {
    auto group = s.local().split(0);
    ASSERT_TRUE(group.has_value());
    groups.push_back(std::move(*group));
  }
  EXPECT_THROW((void)s.local().split(0), lockstep::UsageError);
  groups.clear();
  s.local().wait_for_everyone();
  auto again = s.local().split(0);
  ASSERT_TRUE(again.has_value());
  again->wait_for_everyone();
}

TEST(First, TheMainProcessIsDoneBeforeTheOthersBegin) {
  Session& s = the_session();
  const std::filesystem::path file = shared_folder() / "first";
  s.main_process_first([&] {
    if (s.is_main_process()) {
      std::this_thread::sleep_for(20ms);
      std::ofstream(file) << "prepared";
    } else {
      std::string word;
      std::ifstream(file) >> word;
      EXPECT_EQ(word, "prepared");
    }
  });
  const int seven = s.main_process_first([] { return 7; }, {.name = "a value"});
  EXPECT_EQ(seven, 7);
}

TEST(First, EachNodesMainIsFirstOnItsNode) {
  Session& s = the_session();
  const std::filesystem::path file = shared_folder() / ("node" + std::to_string(s.node()));
  {
    auto scope = s.local_main_process_first();
    if (s.is_local_main_process()) {
      std::ofstream(file) << s.rank();
    } else {
      std::uint32_t main = UINT32_MAX;
      std::ifstream(file) >> main;
      EXPECT_EQ(main, s.local().member(0));
    }
  }
  s.wait_for_everyone();
}

TEST(First, AFailureReachesEverybodyWithItsTextRankAndHost) {
  Session& s = the_session();
  bool ran = false;
  const auto body = [&] {
    ran = true;
    throw std::runtime_error("the disk is full");
  };
  if (s.is_main_process()) {
    EXPECT_THROW(s.main_process_first(body), std::runtime_error);
    EXPECT_TRUE(ran);
  } else {
    try {
      s.main_process_first(body);
      FAIL() << "the failure was not passed on";
    } catch (const lockstep::FirstFailed& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("the disk is full"), std::string::npos) << text;
      EXPECT_NE(text.find("rank 0 on " + std::string(lockstep_session_host(s.handle(), 0))),
                std::string::npos)
          << text;
    }
    EXPECT_FALSE(ran);
  }
  s.main_process_first([] {});  // and the group goes on
  s.wait_for_everyone();
}

TEST(First, SectionsNestInAnyOrder) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) {
    GTEST_SKIP() << "without frames a section on several nodes is a round of all its members, and "
                    "who waits in one cannot take part in another";
  }
  int count = 0;
  for (int i = 0; i < 5; ++i) {
    s.main_process_first([&] {
      for (int k = 0; k < 4; ++k) s.local_main_process_first([&] { ++count; });
      s.main_process_first([&] { ++count; });
    });
    s.local_main_process_first([&] { s.main_process_first([&] { ++count; }); });
  }
  EXPECT_EQ(count, 5 * 6);
}

TEST(First, ManySectionsInARowNeedNoOtherRound) {
  Session& s = the_session();
  const int sections = has_frames() ? 300 : 35;  // a round of pmix_fence is slower than the last
  int count = 0;
  for (int i = 0; i < sections; ++i) {
    s.main_process_first([&] { ++count; });
    if (i % 7 == 0) s.local_main_process_first([&] { ++count; });
  }
  EXPECT_EQ(count, sections + (sections + 6) / 7);
}

TEST(First, ASectionOfAnotherNameIsRefusedAndNotEntered) {
  Session& s = the_session();
  if (!has_frames() && s.node_count() > 1) GTEST_SKIP() << "a section is a round there, and breaks";
  lockstep_call_t call{};
  {
    // The name need not outlive the call.
    const std::string name = s.is_main_process() ? "alpha" : "beta";
    call.name = name.c_str();
    const lockstep_status_t status = lockstep_first_begin(s.job().handle(), nullptr, &call);
    EXPECT_EQ(status, s.is_main_process() ? LOCKSTEP_OK : LOCKSTEP_E_INVALID);
    if (!s.is_main_process()) {
      const std::string text = lockstep_last_error();
      EXPECT_NE(text.find("'beta'"), std::string::npos) << text;
      EXPECT_NE(text.find("'alpha'"), std::string::npos) << text;
    }
  }
  if (s.is_main_process()) {
    EXPECT_EQ(lockstep_first_end(s.job().handle()), LOCKSTEP_OK);
  }
  s.main_process_first([] {});  // and the group goes on
  s.wait_for_everyone();
}

TEST(First, EndWithoutBeginIsAnError) {
  EXPECT_EQ(lockstep_first_end(the_session().job().handle()), LOCKSTEP_E_STATE);
}

TEST(OnProcess, RunsThereAndNowhereElse) {
  Session& s = the_session();
  EXPECT_EQ(s.on_main_process([] { return 1; }).has_value(), s.rank() == 0);
  EXPECT_EQ(s.on_local_main_process([] { return 1; }).has_value(), s.local_rank() == 0);
  EXPECT_EQ(s.on_last_process([] { return 1; }).has_value(), s.rank() + 1 == s.size());
  for (std::uint32_t r = 0; r < s.size(); ++r) {
    EXPECT_EQ(s.on_process(r, [&] { return s.rank(); }),
              s.rank() == r ? std::optional(r) : std::nullopt);
  }
  EXPECT_EQ(s.on_local_process(1, [] {}).has_value(), s.local_rank() == 1);
  EXPECT_FALSE(s.on_process(s.size(), [] {}).has_value());
}

TEST(SplitBetweenProcesses, SharesAreContiguousAndEven) {
  Session& s = the_session();
  for (std::uint32_t total : {0u, 1u, 2u, 3u, 7u, 64u, 100u, 1000u}) {
    std::vector<std::uint32_t> inputs(total);
    std::iota(inputs.begin(), inputs.end(), 100u);
    const std::vector<std::uint32_t> share = s.split_between_processes(inputs);
    const std::uint32_t q = total / s.size();
    const std::uint32_t r = total % s.size();
    const std::uint32_t start = s.rank() * q + std::min(s.rank(), r);
    ASSERT_EQ(share.size(), q + (s.rank() < r ? 1 : 0)) << total;
    for (std::uint32_t i = 0; i < share.size(); ++i) EXPECT_EQ(share[i], inputs[start + i]);

    const std::vector<std::uint32_t> padded = s.split_between_processes(inputs, true);
    ASSERT_EQ(padded.size(), (total + s.size() - 1) / s.size());
    for (std::uint32_t i = 0; i < padded.size(); ++i) {
      EXPECT_EQ(padded[i], i < share.size() ? share[i] : inputs.back());
    }
  }
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  EXPECT_EQ(lockstep_split_range(10, 3, 3, &begin, &end), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_split_range(UINT64_MAX, 2, 3, &begin, &end), LOCKSTEP_OK);
  EXPECT_EQ(end, UINT64_MAX);
}

TEST(Broadcast, BytesArriveWholeFromEveryRoot) {
  Session& s = the_session();
  const std::size_t most = has_frames() ? 100'000 : 10'000;  // a round of its own for each 1016
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{1015},
                                   std::size_t{1016}, std::size_t{1017}, std::size_t{5000}, most}) {
    const std::uint32_t root = static_cast<std::uint32_t>(length) % s.size();
    std::string expected(length, '\0');
    for (std::size_t i = 0; i < length; ++i)
      expected[i] = static_cast<char>((i * 131 + length) >> 3);
    const std::string got =
        s.job().broadcast(s.rank() == root ? expected : std::string("not mine"), root);
    EXPECT_EQ(got, expected) << length;
  }
}

TEST(Broadcast, TooLongIsAnErrorOnEveryMember) {
  Session& s = the_session();
  const std::string much(s.is_main_process() ? LOCKSTEP_BYTES_MAX + 1 : 0, 'x');
  EXPECT_THROW((void)s.job().broadcast(much), lockstep::UsageError);
  s.wait_for_everyone();
}

TEST(Broadcast, DifferentRootsAreAnErrorOnEveryMemberAndTheGroupGoesOn) {
  Session& s = the_session();
  if (s.size() == 1) return;
  void* bytes = nullptr;
  std::size_t length = 0;
  EXPECT_EQ(lockstep_broadcast(s.job().handle(), s.rank() % 2, "mine", 4, nullptr, &bytes, &length),
            LOCKSTEP_E_INVALID);
  EXPECT_EQ(bytes, nullptr);
  EXPECT_NE(std::string(lockstep_last_error()).find("root"), std::string::npos)
      << lockstep_last_error();
  EXPECT_EQ(s.job().broadcast("ours"), "ours");
}

TEST(Save, ReplacesTheWholeFileOnTheMainProcessOnly) {
  Session& s = the_session();
  const std::filesystem::path file = shared_folder() / "model";
  s.save(file.string(), [](std::ostream& out) { out << "version 1"; });
  s.wait_for_everyone();
  if (s.is_main_process()) {
    chmod(file.c_str(), 0640);
    EXPECT_THROW(s.save(file.string(),
                        [](std::ostream& out) {
                          out << "half a ver";
                          throw std::runtime_error("out of ideas");
                        }),
                 std::runtime_error);
  }
  s.wait_for_everyone();
  std::string text;
  std::getline(std::ifstream(file), text);
  EXPECT_EQ(text, "version 1") << "a failed writer must leave the old file alone";
  s.wait_for_everyone();
  const std::string big(300'000, 'b');
  s.save(file.string(), [&](std::ostream& out) { out << big; });
  s.wait_for_everyone();
  EXPECT_EQ(std::filesystem::file_size(file), big.size());
  struct stat status {};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u) << "a replaced file keeps its permissions";
  for (const auto& entry : std::filesystem::directory_iterator(shared_folder())) {
    EXPECT_EQ(entry.path().filename().string().find(".tmp"), std::string::npos);
  }
  s.wait_for_everyone();
}

TEST(Save, TakesEveryNameThatTheFileSystemTakes) {
  Session& s = the_session();
  const std::filesystem::path file = shared_folder() / std::string(255, 'n');
  s.save(file.string(), [](std::ostream& out) { out << "whole"; });
  s.wait_for_everyone();
  EXPECT_EQ(std::filesystem::file_size(file), 5u);
  s.wait_for_everyone();
}

TEST(Save, SaysWhyTheWriterGaveUp) {
  Session& s = the_session();
  if (!s.is_main_process()) return;
  const auto fails_with = [](int why) {
    const auto writer = [](int, void* context) {
      errno = *static_cast<int*>(context);
      return 1;
    };
    const std::string file = (shared_folder() / "never").string();
    EXPECT_EQ(lockstep_save(the_session().handle(), file.c_str(), writer, &why), LOCKSTEP_E_IO);
    return std::string(lockstep_last_error());
  };
  EXPECT_NE(fails_with(ENOSPC).find("No space left"), std::string::npos) << lockstep_last_error();
  EXPECT_EQ(fails_with(0).find("Success"), std::string::npos) << lockstep_last_error();
}

TEST(Save, AMissingFolderIsAnErrorThatNamesIt) {
  Session& s = the_session();
  if (!s.is_main_process()) return;
  try {
    s.save("/nonexistent/folder/model", [](std::ostream& out) { out << 1; });
    FAIL();
  } catch (const lockstep::ResourceError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/folder"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("No such file"), std::string::npos) << error.what();
  }
}

TEST(Arguments, NonsenseIsRefused) {
  Session& s = the_session();
  lockstep_session_t second = nullptr;
  EXPECT_EQ(lockstep_session_join(nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_session_join(&second), LOCKSTEP_E_STATE);
  EXPECT_EQ(lockstep_session_rank(nullptr), UINT32_MAX);
  EXPECT_EQ(lockstep_group_size(nullptr), UINT32_MAX);
  EXPECT_EQ(lockstep_session_host(nullptr, 0), nullptr);
  EXPECT_EQ(lockstep_is_main_process(nullptr), 0);
  EXPECT_EQ(lockstep_wait_for_everyone(nullptr, nullptr), LOCKSTEP_E_INVALID);
  const lockstep_call_t negative{nullptr, nullptr, 0, -5};
  EXPECT_EQ(lockstep_wait_for_everyone(s.job().handle(), &negative), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_check_trigger(s.handle(), nullptr, nullptr), LOCKSTEP_E_INVALID);
  void* bytes = nullptr;
  std::size_t length = 0;
  EXPECT_EQ(lockstep_broadcast(s.job().handle(), s.size(), "x", 1, nullptr, &bytes, &length),
            LOCKSTEP_E_INVALID);
  std::uint64_t value = 0;
  EXPECT_EQ(lockstep_session_counter(s.handle(), "no such", &value), LOCKSTEP_E_INVALID);
  EXPECT_STREQ(lockstep_status_name(LOCKSTEP_E_MISMATCH), "mismatch");
}

TEST(Counters, ATreeSendsTwoFramesPerEdge) {
  Session& s = the_session();
  constexpr std::uint64_t kRounds = 10;
  s.wait_for_everyone();
  const std::uint64_t before = s.counter("frames_sent");
  for (std::uint64_t i = 0; i < kRounds; ++i) s.wait_for_everyone();
  const std::uint64_t mine = s.counter("frames_sent") - before;
  std::uint64_t sum = 0;
  for (const std::uint64_t sent : everybodys(s.job(), mine)) sum += sent;
  const char* const plan = std::getenv("LOCKSTEP_PLAN");
  if (plan == nullptr || std::string(plan).starts_with("tree")) {
    // All emulated nodes share this machine, so the automatic plan is the tree.
    EXPECT_EQ(sum, has_frames() ? 2 * (s.node_count() - 1) * kRounds : 0);
  }
}

// The leader of the second switch's first node speaks for its switch: it alone sends both up and
// down.
TEST(Counters, TheTreeFollowsTheSwitches) {
  Session& s = the_session();
  const char* const mine = std::getenv("LOCKSTEP_SWITCHES");
  const std::vector<char> on_second =
      everybodys(s.job(), static_cast<char>(mine != nullptr && std::string(mine) == "s1"));
  if (s.node_count() != 4 || std::count(on_second.begin(), on_second.end(), 1) != s.size() / 2) {
    GTEST_SKIP() << "needs 4 nodes on 2 switches: lockstep run -n 8 --nodes 4 --switches 2,2";
  }
  constexpr std::uint64_t kRounds = 10;
  const std::uint64_t before = s.counter("frames_sent");
  for (std::uint64_t i = 0; i < kRounds; ++i) s.wait_for_everyone();
  const std::uint64_t sent = s.counter("frames_sent") - before;
  const std::vector<std::uint64_t> by_node = {2, 1, 2, 1};  // without switches node 0 would send 3
  EXPECT_EQ(sent, s.is_local_main_process() ? by_node[s.node()] * kRounds : 0);
}

TEST(ZLast, FilesAreRemoved) {
  forget_shared_folder();
}

}  // namespace
