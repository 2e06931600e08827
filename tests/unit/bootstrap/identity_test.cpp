// Who a process is without PMIx, and what contradicts PMIx: one row per environment.
// Method: environments as launchers make them, as tables with the expected end.
#include "runtime/bootstrap/identity.hpp"

#include <gtest/gtest.h>

#include <map>

namespace lockstep::bootstrap {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

const Values kSlurmStep = {{"SLURM_PROCID", "2"},         {"SLURM_NTASKS", "4"},
                           {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_STEP_ID", "0"},
                           {"SLURM_JOB_ID", "77"},        {"SLURM_LOCALID", "0"}};
const Values kBatchShell = {{"SLURM_PROCID", "0"},
                            {"SLURM_NTASKS", "4"},
                            {"SLURM_JOB_ID", "77"},
                            {"SLURM_STEP_ID", "4294967291"}};
const Values kTorch = {{"RANK", "1"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}};
const Values kPmi2 = {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"PMI_FD", "5"}};
const Values kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}};

Values with(Values values, const Values& more) {
  for (const auto& [name, value] : more) values[name] = value;
  return values;
}

Values without(Values values, const char* name) {
  values.erase(name);
  return values;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Row {
  const char* what;
  Values environment;
  std::optional<Claim> claim;  ///< rank and size; source is a part of the text
};

TEST(Claim, IsTheFirstThatIsThere) {
  const std::vector<Row> rows = {
      {"nothing", {}, std::nullopt},
      {"other variables", {{"PATH", "/bin"}, {"HOME", "/"}}, std::nullopt},
      {"a Slurm step", kSlurmStep, Claim{"Slurm", 2, 4}},
      {"an older Slurm without the step's size", without(kSlurmStep, "SLURM_STEP_NUM_TASKS"),
       Claim{"SLURM_NTASKS", 2, 4}},
      {"a step smaller than its allocation", with(kSlurmStep, {{"SLURM_NTASKS", "9"}}),
       Claim{"SLURM_STEP_NUM_TASKS", 2, 4}},
      {"a batch script", kBatchShell, std::nullopt},
      {"an interactive step", with(kBatchShell, {{"SLURM_STEP_ID", "4294967290"}}), std::nullopt},
      {"an allocation's shell", without(kBatchShell, "SLURM_STEP_ID"), std::nullopt},
      {"torchrun", kTorch, Claim{"torch", 1, 8}},
      {"torchrun in a batch script", with(kBatchShell, kTorch), Claim{"torch", 1, 8}},
      {"torchrun in a Slurm step", with(kSlurmStep, kTorch), Claim{"Slurm", 2, 4}},
      {"PMI2", kPmi2, Claim{"PMI_RANK", 3, 4}},
      {"PMI2 in a Slurm step", with(kSlurmStep, kPmi2), Claim{"PMI_RANK", 3, 4}},
      {"Open MPI", kOpenMpi, Claim{"Open MPI", 2, 4}},
      {"Open MPI's daemon is a Slurm task",
       with(kSlurmStep, with(kOpenMpi, {{"SLURM_PROCID", "0"}})), Claim{"Open MPI", 2, 4}},
      {"one of one", {{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}, Claim{"PMI_RANK", 0, 1}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const auto claim = claim_of(Environment(row.environment));
    ASSERT_TRUE(claim.ok()) << claim.status().text();
    ASSERT_EQ(claim.value().has_value(), row.claim.has_value());
    if (!row.claim) continue;
    EXPECT_EQ(claim.value()->rank, row.claim->rank);
    EXPECT_EQ(claim.value()->size, row.claim->size);
    EXPECT_TRUE(contains(claim.value()->source, row.claim->source)) << claim.value()->source;
  }
}

TEST(Claim, ThatMakesNoSenseIsRefused) {
  const std::vector<std::pair<const char*, Values>> rows = {
      {"PMI_RANK", {{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}},
      {"PMI_RANK", {{"PMI_RANK", "-1"}, {"PMI_SIZE", "4"}}},
      {"PMI_SIZE", {{"PMI_RANK", "0"}, {"PMI_SIZE", "0"}}},
      {"PMI_SIZE", {{"PMI_RANK", "0"}, {"PMI_SIZE", ""}}},
      {"WORLD_SIZE", {{"RANK", "0"}, {"WORLD_SIZE", "two"}}},
      {"WORLD_SIZE", {{"RANK", "0"}, {"WORLD_SIZE", "4294967296"}}},
      {"RANK", {{"RANK", "9"}, {"WORLD_SIZE", "8"}}},
      {"SLURM_PROCID", with(kSlurmStep, {{"SLURM_PROCID", "4"}})},
      {"SLURM_PROCID", with(kSlurmStep, {{"SLURM_PROCID", "2x"}})},
  };
  for (const auto& [name, environment] : rows) {
    SCOPED_TRACE(name);
    const auto claim = claim_of(Environment(environment));
    ASSERT_FALSE(claim.ok());
    EXPECT_TRUE(claim.status().is(LOCKSTEP_E_IDENTITY));
    EXPECT_TRUE(contains(claim.status().text(), std::string(name) + "=")) << claim.status().text();
    const auto identity = resolve_without_pmix(Environment(environment));
    ASSERT_FALSE(identity.ok());
    EXPECT_TRUE(identity.status().is(LOCKSTEP_E_IDENTITY));
  }
}

// The header: "LOCKSTEP_E_IDENTITY if one is there in part".
TEST(Claim, ThatIsThereInPartIsRefused) {
  for (const Values& environment : {Values{{"PMI_RANK", "0"}}, Values{{"PMI_SIZE", "4"}},
                                    Values{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}}}) {
    SCOPED_TRACE(environment.begin()->first);
    const auto claim = claim_of(Environment(environment));
    ASSERT_FALSE(claim.ok());
    EXPECT_TRUE(claim.status().is(LOCKSTEP_E_IDENTITY));
  }
}

TEST(Resolver, MakesAJobOfOneWhereNothingSpeaksAgainstIt) {
  const std::vector<Values> environments = {
      {},
      kBatchShell,
      without(kBatchShell, "SLURM_STEP_ID"),
      {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_STEP_ID", "3"}},
      {{"RANK", "0"}, {"WORLD_SIZE", "1"}}};
  for (const Values& environment : environments) {
    const auto identity = resolve_without_pmix(Environment(environment));
    ASSERT_TRUE(identity.ok()) << identity.status().text();
    EXPECT_EQ(identity->source, "single");
    EXPECT_EQ(identity->rank, 0u);
    EXPECT_EQ(identity->size, 1u);
    EXPECT_EQ(identity->node(), 0u);
    EXPECT_EQ(identity->members(0), std::vector<Rank>{0});
    ASSERT_EQ(identity->hosts.size(), 1u);
    EXPECT_NE(identity->hosts[0], "");
    EXPECT_TRUE(identity->job.starts_with("single."));
  }
}

TEST(Resolver, RefusesToBeOneOfManyOnItsOwn) {
  for (const Values& environment :
       {with(kSlurmStep, {{"SLURM_PROCID", "0"}}), with(kTorch, {{"RANK", "0"}}),
        with(kPmi2, {{"PMI_RANK", "0"}})}) {
    const auto identity = resolve_without_pmix(Environment(environment));
    ASSERT_FALSE(identity.ok());
    const std::string text = identity.status().text();
    EXPECT_TRUE(identity.status().is(LOCKSTEP_E_IDENTITY));
    EXPECT_TRUE(contains(text, "this is rank 0 of ")) << text;
    EXPECT_TRUE(contains(text, "srun --mpi=pmix")) << "says what to type: " << text;
    EXPECT_TRUE(contains(text, "lockstep run -n ")) << text;
    EXPECT_TRUE(contains(text, "LOCKSTEP_BOOTSTRAP=single")) << text;
  }
}

// Each of n processes prints its error: what to type is needed once, and not n times.
TEST(Resolver, LetsRankZeroSayWhatToType) {
  const auto identity = resolve_without_pmix(Environment(kSlurmStep));
  ASSERT_FALSE(identity.ok());
  EXPECT_TRUE(identity.status().is(LOCKSTEP_E_IDENTITY));
  const std::string text = identity.status().text();
  EXPECT_TRUE(contains(text, "rank 2 of 4 by Slurm (SLURM_PROCID, SLURM_STEP_NUM_TASKS)")) << text;
  EXPECT_TRUE(contains(text, "rank 0 says what to type")) << text;
  EXPECT_FALSE(contains(text, "srun")) << text;
}

TEST(Pmix, IsThereWhenItsServerSaysSo) {
  EXPECT_FALSE(has_pmix(Environment(Values{})));
  EXPECT_FALSE(has_pmix(Environment(Values{{"PMIX_RANK", "0"}})));
  EXPECT_FALSE(has_pmix(Environment(Values{{"PMIX_NAMESPACE", "n"}})));
  EXPECT_TRUE(has_pmix(Environment(Values{{"PMIX_NAMESPACE", "n"}, {"PMIX_RANK", "0"}})));
}

Identity pmix_identity(std::string job, Rank rank, std::uint32_t size) {
  Identity identity;
  identity.source = "pmix";
  identity.job = std::move(job);
  identity.rank = rank;
  identity.size = size;
  return identity;
}

struct Check {
  const char* what;
  Identity identity;
  Values environment;
  bool is_fine;
};

TEST(Pmix, IsContradictedLoudly) {
  const Identity slurm = pmix_identity("slurm.pmix.77.0", 2, 4);
  const Identity other = pmix_identity("prterun-host-1@1", 2, 4);
  const Values agreeing = {{"RANK", "2"}, {"WORLD_SIZE", "4"}};
  const std::vector<Check> checks = {
      {"nothing else speaks", slurm, {}, true},
      {"Slurm agrees", slurm, kSlurmStep, true},
      {"torch agrees", slurm, agreeing, true},
      {"another task of the step", slurm, with(kSlurmStep, {{"SLURM_PROCID", "3"}}), false},
      {"another size", slurm, with(kSlurmStep, {{"SLURM_STEP_NUM_TASKS", "8"}}), false},
      {"the allocation is larger", slurm, with(kSlurmStep, {{"SLURM_NTASKS", "64"}}), true},
      {"a part of a heterogeneous step", slurm,
       with(kSlurmStep, {{"SLURM_PROCID", "0"}, {"SLURM_HET_SIZE", "2"}}), true},
      {"mpirun's daemon is a Slurm task of its own", other,
       with(kSlurmStep, {{"SLURM_PROCID", "0"}}), true},
      {"torchrun's processes share one PMIx rank", slurm, with(kSlurmStep, kTorch), false},
      {"torch variables contradict another launcher", other, kTorch, false},
      {"half a torch claim", slurm, {{"RANK", "7"}}, true},
      {"not a number", slurm, {{"RANK", "seven"}, {"WORLD_SIZE", "8"}}, true},
  };
  for (const Check& check : checks) {
    SCOPED_TRACE(check.what);
    const Status status = check_claims(check.identity, Environment(check.environment));
    EXPECT_EQ(status.ok(), check.is_fine) << status.text();
    if (check.is_fine) continue;
    EXPECT_TRUE(status.is(LOCKSTEP_E_IDENTITY));
    EXPECT_TRUE(contains(status.text(), "PMIx says rank 2 of 4")) << status.text();
    EXPECT_TRUE(contains(status.text(), "unset ")) << "says what to do: " << status.text();
  }
}

TEST(Identity, ListsTheMembersOfANode) {
  Identity identity = pmix_identity("j", 4, 6);
  identity.node_of = {0, 1, 0, 1, 2, 0};
  EXPECT_EQ(identity.node(), 2u);
  EXPECT_EQ(identity.members(0), (std::vector<Rank>{0, 2, 5}));
  EXPECT_EQ(identity.members(1), (std::vector<Rank>{1, 3}));
  EXPECT_TRUE(identity.members(9).empty());
}

}  // namespace
}  // namespace lockstep::bootstrap
