// What `lockstep info` says a process would get: one row per launcher and surroundings.
// Method: environments as launchers make them and facts as they are found there; and real memory,
// sealed and not, for what is looked at.
#include "runtime/capabilities.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <map>

namespace lockstep {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

const Values kSrun = {{"PMIX_NAMESPACE", "slurm.pmix.7.0"},
                      {"PMIX_RANK", "3"},
                      {"PMIX_VERSION", "4.2.2"},
                      {"PMIX_SERVER_TMPDIR", "/run/pmix"},
                      {"SLURM_JOB_ID", "7"},
                      {"SLURM_STEP_ID", "0"},
                      {"SLURM_PROCID", "3"},
                      {"SLURM_STEP_NUM_TASKS", "8"}};
const Values kSrunWithoutPmix = {{"SLURM_JOB_ID", "7"},
                                 {"SLURM_STEP_ID", "0"},
                                 {"SLURM_PROCID", "3"},
                                 {"SLURM_STEP_NUM_TASKS", "8"}};
const Values kMpirun = {{"PMIX_NAMESPACE", "452591617"},
                        {"PMIX_RANK", "0"},
                        {"OMPI_COMM_WORLD_RANK", "0"},
                        {"OMPI_COMM_WORLD_SIZE", "2"}};
const Values kOwn = {{"PMIX_NAMESPACE", "lockstep-30222-0d8c8fec"}, {"PMIX_RANK", "0"}};

const Facts kLogin = {"PMIx 4.2.2", false, false, false, false, false};
const Facts kNode = {"PMIx 4.2.2", true, true, true, false, false};
const Facts kWithPlugin = {"PMIx 4.2.2", true, true, true, true, true};

Values with(Values values, const Values& more) {
  for (const auto& [name, value] : more) values[name] = value;
  return values;
}

std::map<std::string, Capability> look(const Values& values, const Facts& facts) {
  const Environment environment(values);
  std::vector<std::string> warnings;
  const Result<Config> config = Config::load(environment, warnings);
  EXPECT_TRUE(config.ok()) << config.status().text();
  std::map<std::string, Capability> by_name;
  for (Capability& one : capabilities(config.value(), environment, facts)) {
    by_name.emplace(one.name, std::move(one));
  }
  return by_name;
}

struct Row {
  const char* capability;
  Values environment;
  Facts facts;
  Have state;
  const char* why;     ///< a part of it
  const char* advice;  ///< a part of it; "": there must be none
};

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const Capability one = look(row.environment, row.facts).at(row.capability);
    SCOPED_TRACE(one.name + ": " + one.why + "; type: " + one.advice + "; wanted: " + row.why);
    EXPECT_STREQ(have_name(one.state), have_name(row.state));
    EXPECT_NE(one.why.find(row.why), std::string::npos);
    if (*row.advice == '\0') {
      EXPECT_EQ(one.advice, "");
    } else {
      EXPECT_NE(one.advice.find(row.advice), std::string::npos);
    }
  }
}

TEST(Capabilities, SayWhoAndWithWhomAndWhatToType) {
  check({
      {"identity", {}, kLogin, Have::present, "a job of one", ""},
      {"identity", kSrun, kNode, Have::present, "PMIx: rank 3 of job slurm.pmix.7.0", ""},
      {"identity", kSrunWithoutPmix, kNode, Have::degraded, "rank 3 of 8 by Slurm", "--mpi=pmix"},
      {"identity", with(kSrunWithoutPmix, {{"SLURM_STEP_NUM_TASKS", "2"}}), kNode, Have::absent,
       "makes no sense", ""},
      {"identity", with(kSrunWithoutPmix, {{"LOCKSTEP_BOOTSTRAP", "single"}}), kNode, Have::present,
       "LOCKSTEP_BOOTSTRAP=single", ""},

      {"bootstrap", {}, kLogin, Have::absent, "PMIx 4.2.2 is here", "srun --mpi=pmix"},
      {"bootstrap", kSrun, kNode, Have::present, "PMIx 4.2.2, server 4.2.2", ""},
      {"bootstrap", kSrun, kLogin, Have::degraded, "/run/pmix is not seen", "container"},
      {"bootstrap", with(kSrun, {{"LOCKSTEP_BOOTSTRAP", "single"}}), kNode, Have::absent, "single",
       "unset"},

      {"fault tolerance", {}, kLogin, Have::absent, "no others", ""},
      {"fault tolerance", kSrun, kNode, Have::degraded, "unless MPI", "--kill-on-bad-exit=0"},
      {"fault tolerance", with(kSrun, {{"LOCKSTEP_FAULT_TOLERANCE", "yes"}}), kNode, Have::present,
       "is said at the start", ""},
      {"fault tolerance", with(kSrun, {{"LOCKSTEP_DETACH", "no"}}), kNode, Have::absent,
       "LOCKSTEP_DETACH=no", "unset LOCKSTEP_DETACH"},
      {"fault tolerance", kMpirun, kNode, Have::degraded, "mpirun ends the job", ""},
      {"fault tolerance", kOwn, kNode, Have::degraded, "ends with a rank", "--keep-going"},
  });
}

TEST(Capabilities, SayWhatIsNoticedAndWhatToType) {
  check({
      {"time left", {}, kNode, Have::absent, "no job of Slurm's", ""},
      {"time left", kSrun, kNode, Have::present, "squeue about job 7", ""},
      {"time left", with(kSrun, {{"SLURM_JOB_END_TIME", "1"}}), kLogin, Have::degraded, "at launch",
       "PATH"},
      {"time left", kSrun, kLogin, Have::absent, "no squeue", "PATH"},

      {"notices", kSrun, kNode, Have::absent, "unless the program", "LOCKSTEP_SIGNALS=TERM"},
      {"notices", with(kSrun, {{"LOCKSTEP_SIGNALS", "USR1,TERM"}}), kNode, Have::present,
       "SIGUSR1, SIGTERM; squeue tells", ""},
      {"notices", with(kSrun, {{"LOCKSTEP_SIGNALS", "USR1"}}), kNode, Have::degraded, "not SIGTERM",
       "LOCKSTEP_SIGNALS=TERM"},
      {"notices", with(kSrun, {{"LOCKSTEP_SIGNALS", "TERM"}}), kLogin, Have::degraded, "no squeue",
       "PATH"},
      {"notices", with(kOwn, {{"LOCKSTEP_SIGNALS", "TERM"}}), kNode, Have::degraded,
       "outside Slurm", ""},
      {"notices", with(kSrun, {{"LOCKSTEP_STOP_BEFORE_END", "5min"}}), kNode, Have::degraded,
       "the time is watched", "LOCKSTEP_SIGNALS"},

      {"running again", kOwn, kNode, Have::absent, "no job of Slurm's", ""},
      {"running again", kSrun, kNode, Have::absent, "only batch jobs", "sbatch"},
      {"running again", kSrun, kLogin, Have::absent, "no scontrol", "PATH"},
      {"running again", with(kSrun, {{"ENVIRONMENT", "BATCH"}}), kNode, Have::present,
       "scontrol requeue", ""},

      {"exits of others", {}, kLogin, Have::absent, "no others", ""},
      {"exits of others", kSrun, kWithPlugin, Have::present, "LOCKSTEP_EXIT_PAGE_FD", ""},
      {"exits of others", kSrun, kNode, Have::degraded, "process table", "man lockstep-spank"},
      {"exits of others", kMpirun, kNode, Have::degraded, "process table", ""},

      {"key of the step", kSrun, kWithPlugin, Have::present, "32 bytes", ""},
      {"key of the step", kSrun, kNode, Have::absent, "no plugin", "man lockstep-spank"},
      {"key of the step", with(kOwn, {{"LOCKSTEP_KEY_FD", "77"}}), kNode, Have::absent,
       "LOCKSTEP_KEY_FD=77 is left over", ""},
      {"key of the step", kMpirun, kNode, Have::absent, "only srun", ""},

      {"switches", kSrun, kNode, Have::absent, "nobody says them", "LOCKSTEP_SWITCHES="},
      {"switches",
       with(kSrun, {{"SLURM_TOPOLOGY_ADDR", "core.s0.n0"},
                    {"SLURM_TOPOLOGY_ADDR_PATTERN", "switch.switch.node"}}),
       kNode, Have::present, "core.s0, by SLURM_TOPOLOGY_ADDR", ""},
      {"switches",
       with(kSrun, {{"SLURM_TOPOLOGY_ADDR", "n0"}, {"SLURM_TOPOLOGY_ADDR_PATTERN", "node"}}), kNode,
       Have::absent, "SLURM_TOPOLOGY_ADDR=n0 names none", "LOCKSTEP_SWITCHES="},
      {"switches", with(kSrun, {{"LOCKSTEP_SWITCHES", "a.b"}}), kNode, Have::present,
       "a.b, by LOCKSTEP_SWITCHES", ""},
      {"switches", with(kSrun, {{"LOCKSTEP_SWITCHES", "none"}}), kNode, Have::absent,
       "LOCKSTEP_SWITCHES=none", "unset"},
  });
}

TEST(Capabilities, AreTheSameNineEverywhere) {
  for (const Values& values : {Values{}, kSrun, kSrunWithoutPmix, kMpirun, kOwn}) {
    const auto all = look(values, kNode);
    EXPECT_EQ(all.size(), 9U);
    for (const auto& [name, one] : all) {
      EXPECT_NE(one.why, "") << name;
      EXPECT_TRUE(one.state != Have::present || one.advice.empty()) << name;
    }
  }
}

/// Memory of `size` bytes with these seals, as text for a variable.
std::string memory(off_t size, int seals) {
  const int file = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  EXPECT_GE(file, 0);
  EXPECT_EQ(ftruncate(file, size), 0);
  EXPECT_EQ(fcntl(file, F_ADD_SEALS, seals), 0);
  return std::to_string(file);  // stays open until the test's end
}

TEST(Capabilities, TakeOnlySealedMemoryForAKey) {
  constexpr int kSizes = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  const auto key = [](const std::string& number) {
    return look_around(Environment(Values{{"LOCKSTEP_KEY_FD", number}})).has_key;
  };
  EXPECT_TRUE(key(memory(32, kSizes | F_SEAL_WRITE)));
  EXPECT_FALSE(key(memory(32, kSizes)));
  EXPECT_FALSE(key(memory(33, kSizes | F_SEAL_WRITE)));
  EXPECT_FALSE(key(memory(64, kSizes | F_SEAL_WRITE))) << "a key is no longer than that";
  EXPECT_FALSE(key("0"));
  EXPECT_FALSE(key("999"));
  EXPECT_FALSE(key("none"));
}

TEST(Capabilities, FindSqueueAndTheServersFolder) {
  char folder[] = "/tmp/lockstep-capabilities-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string squeue = std::string(folder) + "/squeue";
  const Environment environment(
      Values{{"PATH", std::string("/nowhere:") + folder}, {"PMIX_SERVER_TMPDIR", folder}});
  EXPECT_FALSE(look_around(environment).has_squeue);
  const int file = open(squeue.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  EXPECT_FALSE(look_around(environment).has_squeue) << "it cannot be executed";
  EXPECT_EQ(fchmod(file, 0700), 0);
  close(file);
  EXPECT_TRUE(look_around(environment).has_squeue);
  EXPECT_TRUE(look_around(environment).has_server_folder);
  unlink(squeue.c_str());
  rmdir(folder);
  EXPECT_FALSE(look_around(environment).has_server_folder);
  EXPECT_FALSE(look_around(Environment(Values{{"PATH", ""}})).has_squeue);
}

}  // namespace
}  // namespace lockstep
