// The contract of a group operation, run as one process per rank under a PMIx launcher.
//
// Method: every contribution follows from one seed, so each member computes the OR it must get.
// Usage: <launcher> -n N group_conformance PLUGIN.so [ROUNDS]
#include <dlfcn.h>
#include <pmix.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "lockstep/transport.h"

namespace {

constexpr std::uint32_t kSeed = 20240607;
constexpr unsigned kPatienceSeconds = 240;  // the alarm that ends a run which hangs

using Vector = std::vector<unsigned char>;
using Ranks = std::vector<std::uint32_t>;

std::uint32_t my_rank = 0;  // for messages; set once

[[noreturn]] void fail(int line, const char* what) {
  std::fprintf(stderr, "group_conformance: rank %u, line %d, seed %u: %s\n", my_rank, line, kSeed,
               what);
  // Not exit(): the others may be in the middle of a fence with this process.
  _exit(EXIT_FAILURE);
}

#define REQUIRE(condition)                        \
  do {                                            \
    if (!(condition)) fail(__LINE__, #condition); \
  } while (false)

// What `rank` contributes: few bits, so that a missing contribution shows in the OR.
Vector contribution(std::uint64_t group, std::uint64_t round, std::uint32_t rank) {
  std::seed_seq seed{kSeed, static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(round)};
  std::mt19937 shared(seed);
  const std::size_t length = 1 + shared() % (LOCKSTEP_VECTOR_MAX + 64);  // the same for everyone
  std::mt19937 own(shared() + rank);
  Vector vector(length);
  for (unsigned char& byte : vector) byte = static_cast<unsigned char>(own() & own() & own());
  return vector;
}

class Team {
 public:
  Team(const lockstep_group_operation_t& table, void* self, std::uint64_t group, Ranks ranks)
      : table_(table), self_(self), group_(group), ranks_(std::move(ranks)) {
    REQUIRE(table_.prepare(self_, group_, ranks_.data(), ranks_.size(), &team_) == LOCKSTEP_OK);
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() { table_.release(self_, team_); }

  void start(std::uint64_t round) {
    const Vector vector = contribution(group_, round, my_rank);
    expected_.assign(vector.size(), 0);
    for (const std::uint32_t rank : ranks_) {
      const Vector part = contribution(group_, round, rank);
      for (std::size_t i = 0; i < part.size(); ++i) {
        expected_[i] = static_cast<unsigned char>(expected_[i] | part[i]);
      }
    }
    REQUIRE(table_.start(self_, team_, vector.data(), vector.size()) == LOCKSTEP_OK);
  }

  // True when the operation has completed, and then correctly.
  bool test() {
    constexpr unsigned char kUntouched = 0x5a;
    Vector combined(expected_.size(), kUntouched);
    const lockstep_status_t status = table_.test(self_, team_, combined.data(), combined.size());
    if (status == LOCKSTEP_AGAIN) {
      REQUIRE(combined == Vector(expected_.size(), kUntouched));
      return false;
    }
    REQUIRE(status == LOCKSTEP_OK);
    REQUIRE(combined == expected_);
    return true;
  }

  void wait() {
    while (!test()) usleep(50);  // gives the core away; correctness does not depend on it
  }

  [[nodiscard]] void* handle() const { return team_; }

 private:
  const lockstep_group_operation_t& table_;
  void* self_;
  std::uint64_t group_;
  Ranks ranks_;
  void* team_ = nullptr;
  Vector expected_;
};

struct Job {
  const lockstep_group_operation_t& table;
  void* self;
  Ranks everyone;
  std::uint64_t rounds;
};

void test_misuse(const Job& job) {
  const Ranks& all = job.everyone;
  const Ranks twice(2, my_rank);
  const Ranks stranger{my_rank, static_cast<std::uint32_t>(all.size())};
  void* team = nullptr;
  const auto prepare = [&](const std::uint32_t* ranks, std::size_t count) {
    return job.table.prepare(job.self, 99, ranks, count, &team);
  };
  REQUIRE(prepare(nullptr, 1) == LOCKSTEP_E_INVALID);
  REQUIRE(prepare(all.data(), 0) == LOCKSTEP_E_INVALID);
  REQUIRE(prepare(twice.data(), 2) == LOCKSTEP_E_INVALID);
  REQUIRE(prepare(stranger.data(), 2) == LOCKSTEP_E_INVALID);
  REQUIRE(team == nullptr);

  const Team alone(job.table, job.self, 100, {my_rank});
  std::array<unsigned char, LOCKSTEP_VECTOR_MAX + 65> bytes{};
  const auto start = [&](const void* vector, std::size_t length) {
    return job.table.start(job.self, alone.handle(), vector, length);
  };
  REQUIRE(start(nullptr, 8) == LOCKSTEP_E_INVALID);
  REQUIRE(start(bytes.data(), 0) == LOCKSTEP_E_INVALID);
  REQUIRE(start(bytes.data(), bytes.size()) == LOCKSTEP_E_LIMIT);
  REQUIRE(job.table.test(job.self, alone.handle(), bytes.data(), 8) == LOCKSTEP_E_STATE);
  REQUIRE(start(bytes.data(), 8) == LOCKSTEP_OK);
  REQUIRE(start(bytes.data(), 8) == LOCKSTEP_E_BUSY);
  REQUIRE(job.table.test(job.self, alone.handle(), bytes.data(), 7) == LOCKSTEP_E_INVALID);
  REQUIRE(job.table.test(job.self, alone.handle(), bytes.data(), 8) == LOCKSTEP_OK);
}

void test_alone(const Job& job) {
  Team alone(job.table, job.self, 200 + my_rank, {my_rank});
  for (std::uint64_t round = 0; round < 20; ++round) {
    alone.start(round);
    REQUIRE(alone.test());
  }
}

void test_everyone(const Job& job) {
  Team world(job.table, job.self, 1, job.everyone);
  for (std::uint64_t round = 0; round < job.rounds; ++round) {
    world.start(round);
    world.wait();
  }
}

void test_halves(const Job& job) {
  Ranks half;
  for (const std::uint32_t rank : job.everyone) {
    if (rank % 2 == my_rank % 2) half.push_back(rank);
  }
  Team team(job.table, job.self, 2 + my_rank % 2, half);
  for (std::uint64_t round = 0; round < job.rounds / 5; ++round) {
    team.start(round);
    team.wait();
  }
}

// Two teams of the same ranks and one that overlaps, started in an order that differs by rank.
void test_interleaved(const Job& job) {
  const bool is_in_third = my_rank + 1 < job.everyone.size();
  Team first(job.table, job.self, 10, job.everyone);
  Team second(job.table, job.self, 11, job.everyone);
  std::unique_ptr<Team> third;
  if (is_in_third) {
    third = std::make_unique<Team>(job.table, job.self, 12,
                                   Ranks(job.everyone.begin(), job.everyone.end() - 1));
  }
  for (std::uint64_t round = 0; round < job.rounds / 5; ++round) {
    Team& early = (my_rank + round) % 2 == 0 ? first : second;
    Team& late = &early == &first ? second : first;
    early.start(round);
    if (third) third->start(round);
    if (round % 3 == 0) (void)sched_yield();
    late.start(round);
    late.wait();
    early.wait();
    if (third) third->wait();
  }
}

// The one legal order in which a team is waited for before the other has been started everywhere.
void test_one_after_the_other(const Job& job) {
  Team first(job.table, job.self, 20, job.everyone);
  Team second(job.table, job.self, 21, job.everyone);
  for (std::uint64_t round = 0; round < job.rounds / 10; ++round) {
    if (my_rank == 0) second.start(round);
    first.start(round);
    first.wait();
    if (my_rank != 0) second.start(round);
    second.wait();
  }
}

const lockstep_plugin_t& load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail(__LINE__, dlerror());
  const auto function =
      reinterpret_cast<lockstep_plugin_function_t>(dlsym(library, LOCKSTEP_PLUGIN_SYMBOL));
  REQUIRE(function != nullptr);
  const lockstep_plugin_t& plugin = *function();
  REQUIRE(plugin.abi == LOCKSTEP_PLUGIN_ABI);
  REQUIRE(plugin.size >= sizeof plugin);
  REQUIRE(plugin.group_operation != nullptr);
  REQUIRE(plugin.group_operation->size >= sizeof(lockstep_group_operation_t));
  return plugin;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: <PMIx launcher> -n N %s PLUGIN.so [ROUNDS]\n", argv[0]);
    return 2;
  }
  alarm(kPatienceSeconds);
  pmix_proc_t myself{};
  REQUIRE(PMIx_Init(&myself, nullptr, 0) == PMIX_SUCCESS);
  my_rank = myself.rank;
  pmix_proc_t wildcard{};
  PMIX_LOAD_PROCID(&wildcard, myself.nspace, PMIX_RANK_WILDCARD);
  pmix_value_t* size = nullptr;
  REQUIRE(PMIx_Get(&wildcard, PMIX_JOB_SIZE, nullptr, 0, &size) == PMIX_SUCCESS);
  Ranks everyone(size->data.uint32);
  PMIX_VALUE_RELEASE(size);
  std::iota(everyone.begin(), everyone.end(), 0u);

  const lockstep_plugin_t& plugin = load(argv[1]);
  const lockstep_group_operation_t& table = *plugin.group_operation;

  lockstep_environment_t environment{};
  environment.size = sizeof environment;
  environment.rank = my_rank;
  environment.ranks = static_cast<std::uint32_t>(everyone.size());
  environment.interface = "";
  environment.log = [](void*, int, const char* text) { std::fprintf(stderr, "%s\n", text); };
  std::array<char, 256> why{};
  void* self = nullptr;
  environment.rank = my_rank + 1;
  REQUIRE(table.open(&environment, &self, why.data(), why.size()) < 0);
  REQUIRE(self == nullptr && why[0] != '\0');
  environment.rank = my_rank;
  if (table.open(&environment, &self, why.data(), why.size()) != LOCKSTEP_OK) {
    fail(__LINE__, why.data());
  }
  // The runtime detaches from PMIx early; the plugin must not live on the runtime's session.
  REQUIRE(PMIx_Finalize(nullptr, 0) == PMIX_SUCCESS);

  const std::uint64_t rounds = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1000;
  const Job job{table, self, everyone, rounds};
  test_misuse(job);
  test_alone(job);
  test_everyone(job);
  test_halves(job);
  test_interleaved(job);
  test_one_after_the_other(job);

  // Left open on purpose: nobody may call back into what release and close have freed.
  {
    Team unfinished(table, self, 30, everyone);
    if (my_rank != 0) unfinished.start(0);
  }
  table.close(self);
  if (my_rank == 0) std::printf("group_conformance: %s is fine\n", plugin.version);
  return 0;
}
