// One function for each capability; which launcher it is, is told by the names that it leaves.
#include "runtime/capabilities.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <fmt/format.h>

#include "runtime/bootstrap/bootstrap.hpp"
#include "runtime/bootstrap/network.hpp"
#include "runtime/config/signal_names.hpp"
#include "runtime/node/exits.hpp"

namespace lockstep {
namespace {

constexpr const char* kStart = "srun --mpi=pmix PROGRAM, or: lockstep run -n N PROGRAM";
constexpr off_t kKeyBytes = 32;

/// Whether the number that is left for it is that of a sealed memory as long as a key; it may be a
/// stale one.
bool has_key(const Environment& environment) {
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  const auto number = environment.number("LOCKSTEP_KEY_FD");
  if (!number) return false;
  const int descriptor = static_cast<int>(*number);
  const int seals = fcntl(descriptor, F_GET_SEALS);
  struct stat status {};
  return seals >= 0 && (seals & kSeals) == kSeals && fstat(descriptor, &status) == 0 &&
         status.st_size == kKeyBytes;
}

bool has_exit_page(const Environment& environment) {
  const auto rank = environment.number("PMIX_RANK");
  return rank && node::Exits::find(environment, *rank).is_there();
}

bool is_in_path(const Environment& environment, const char* name) {
  std::string_view folders = environment.get("PATH").value_or("");
  while (!folders.empty()) {
    const std::size_t colon = std::min(folders.find(':'), folders.size());
    const std::string file = fmt::format("{}/{}", folders.substr(0, colon), name);
    if (access(file.c_str(), X_OK) == 0) return true;
    folders.remove_prefix(std::min(colon + 1, folders.size()));
  }
  return false;
}

enum class Launcher { none, slurm, open_mpi, own, other };

/// Who started this process, as far as PMIx's names tell.
Launcher launcher_of(const Environment& environment) {
  if (!bootstrap::has_pmix(environment)) return Launcher::none;
  const std::string_view job = *environment.get("PMIX_NAMESPACE");
  if (job.starts_with("slurm.pmix.")) return Launcher::slurm;
  if (job.starts_with("lockstep-")) return Launcher::own;
  return environment.get("OMPI_COMM_WORLD_RANK") ? Launcher::open_mpi : Launcher::other;
}

bool is_alone_by_will(const Config& config) {
  return config.bootstrap == "single";
}

Capability identity(const Config& config, const Environment& environment) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"identity", state, std::move(why), std::move(advice)};
  };
  if (is_alone_by_will(config)) {
    return row(Have::present, "a job of one, by LOCKSTEP_BOOTSTRAP=single");
  }
  if (bootstrap::has_pmix(environment)) {
    return row(Have::present, fmt::format("PMIx: rank {} of job {}", *environment.get("PMIX_RANK"),
                                          *environment.get("PMIX_NAMESPACE")));
  }
  const auto claim = bootstrap::claim_of(environment);
  if (!claim.ok()) return row(Have::absent, claim.status().text());
  if (!claim->has_value()) {
    return row(Have::present, "a job of one: no launcher started this process");
  }
  const bootstrap::Claim& one = *claim.value();
  std::string why = fmt::format("rank {} of {} by {}", one.rank, one.size, one.source);
  if (one.size == 1) return row(Have::present, why + ": a job of one");
  return row(Have::degraded, why + ", who cannot reach the others and so refuses to start", kStart);
}

Capability start_up(const Config& config, const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"bootstrap", state, std::move(why), std::move(advice)};
  };
  if (is_alone_by_will(config)) {
    return row(Have::absent, "LOCKSTEP_BOOTSTRAP=single: nobody is met",
               "unset LOCKSTEP_BOOTSTRAP");
  }
  if (!bootstrap::has_pmix(environment)) {
    return row(Have::absent, "no PMIx server started this process; " + facts.pmix + " is here",
               kStart);
  }
  const auto version = environment.get("PMIX_VERSION");
  const std::string both = fmt::format("{}, server {}", facts.pmix, version.value_or("unknown"));
  if (!facts.has_server_folder) {
    return row(Have::degraded,
               fmt::format("{}, whose folder {} is not seen here", both,
                           environment.get("PMIX_SERVER_TMPDIR").value_or("(PMIX_SERVER_TMPDIR)")),
               "mount that folder into the container");
  }
  return row(Have::present, both);
}

Capability tolerance(const Config& config, const Environment& environment) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"fault tolerance", state, std::move(why), std::move(advice)};
  };
  const Launcher launcher = launcher_of(environment);
  if (launcher == Launcher::none || is_alone_by_will(config)) {
    return row(Have::absent, "there are no others");
  }
  if (config.detach == Detach::no) {
    return row(Have::absent,
               "LOCKSTEP_DETACH=no: a rank that dies attached to PMIx takes all along",
               "unset LOCKSTEP_DETACH");
  }
  const std::string leaves = config.detach == Detach::yes
                                 ? "leaves PMIx once all have joined"
                                 : "leaves PMIx once all have joined, unless MPI is in the program";
  switch (launcher) {
    case Launcher::slurm:
      if (environment.get("LOCKSTEP_FAULT_TOLERANCE") == "yes") {
        return row(Have::present, leaves +
                                      "; what would end the step all the same is said at the "
                                      "start (LOCKSTEP_FAULT_TOLERANCE=yes)");
      }
      return row(Have::degraded, leaves + "; the step lives on only if srun was told so",
                 "srun --no-kill --kill-on-bad-exit=0 --wait=0");
    case Launcher::open_mpi:
      return row(Have::degraded, leaves + "; mpirun ends the job when a rank fails");
    case Launcher::own:
      return row(Have::degraded,
                 leaves + "; the job ends with a rank that fails, unless told not to",
                 "lockstep run --keep-going");
    default:
      return row(Have::degraded, leaves + "; what ends the job is the launcher's affair");
  }
}

Capability time_left(const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"time left", state, std::move(why), std::move(advice)};
  };
  const auto job = environment.get("SLURM_JOB_ID");
  if (!job) return row(Have::absent, "no job of Slurm's: nobody says how long it may run");
  if (facts.has_squeue) {
    return row(Have::present,
               fmt::format("the main process asks squeue about job {} once a minute", *job));
  }
  if (environment.get("SLURM_JOB_END_TIME")) {
    return row(Have::degraded, "as Slurm said at launch; no squeue in PATH to see it change",
               "PATH=$PATH:FOLDER-OF-squeue");
  }
  return row(Have::absent, "no squeue in PATH, and Slurm left no SLURM_JOB_END_TIME",
             "PATH=$PATH:FOLDER-OF-squeue");
}

Capability notices(const Config& config, const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"notices", state, std::move(why), std::move(advice)};
  };
  std::string names;
  for (const int signal : config.signals) {
    names += (names.empty() ? "" : ", ") + signal_name(signal);
  }
  const bool is_asked_for_time = config.stop_before_end != kNever;
  if (names.empty() && !is_asked_for_time) {
    return row(Have::absent,
               "no signal is caught, and the time is not watched, unless the program "
               "asks for it",
               "LOCKSTEP_SIGNALS=TERM,USR1 LOCKSTEP_STOP_BEFORE_END=5min");
  }
  if (names.empty()) {
    return row(Have::degraded, "no signal is caught; the time is watched",
               "LOCKSTEP_SIGNALS=TERM,USR1");
  }
  names = "caught: " + names;
  const auto& caught = config.signals;
  if (std::find(caught.begin(), caught.end(), SIGTERM) == caught.end()) {
    return row(Have::degraded,
               names + "; not SIGTERM: time limit, preemption and cancel end the job",
               "LOCKSTEP_SIGNALS=TERM,USR1");
  }
  if (!environment.get("SLURM_JOB_ID")) {
    return row(Have::degraded, names + "; outside Slurm nobody says why SIGTERM came");
  }
  if (!facts.has_squeue) {
    return row(Have::degraded, names + "; no squeue in PATH to ask why SIGTERM came",
               "PATH=$PATH:FOLDER-OF-squeue");
  }
  return row(Have::present, names + "; squeue tells time limit, preemption and cancel apart");
}

Capability running_again(const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"running again", state, std::move(why), std::move(advice)};
  };
  if (!environment.get("SLURM_JOB_ID")) return row(Have::absent, "no job of Slurm's");
  if (!facts.has_scontrol) {
    return row(Have::absent, "no scontrol in PATH to ask for it", "PATH=$PATH:FOLDER-OF-scontrol");
  }
  if (environment.get("ENVIRONMENT") != "BATCH") {
    return row(Have::absent, "Slurm runs only batch jobs again", "sbatch SCRIPT");
  }
  return row(Have::present,
             "scontrol requeue, when the program asks for it and the site allows it");
}

Capability exits(const Config& config, const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"exits of others", state, std::move(why), std::move(advice)};
  };
  if (launcher_of(environment) == Launcher::none || is_alone_by_will(config)) {
    return row(Have::absent, "there are no others");
  }
  if (facts.has_exit_page) {
    return row(Have::present,
               "slurmstepd writes how each task of this node ended "
               "(LOCKSTEP_EXIT_PAGE_FD)");
  }
  const std::string rest = "the process table says that a rank of this node has ended, not how";
  if (launcher_of(environment) != Launcher::slurm) return row(Have::degraded, rest);
  return row(Have::degraded, rest, "man lockstep-spank");
}

Capability key(const Config& config, const Environment& environment, const Facts& facts) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"key of the step", state, std::move(why), std::move(advice)};
  };
  if (facts.has_key) {
    return row(Have::present,
               "32 bytes that only the step's tasks can read (LOCKSTEP_KEY_FD); "
               "frames do not use them");
  }
  if (const auto number = environment.get("LOCKSTEP_KEY_FD")) {
    return row(Have::absent,
               fmt::format("LOCKSTEP_KEY_FD={} is left over: no key is there", *number));
  }
  if (launcher_of(environment) != Launcher::slurm || is_alone_by_will(config)) {
    return row(Have::absent, "only srun with lockstep's plugin makes one");
  }
  return row(Have::absent, "srun has no plugin of lockstep, or was told --lockstep-key=none",
             "man lockstep-spank");
}

Capability switches(const Config& config, const Environment& environment) {
  const auto row = [](Have state, std::string why, std::string advice = {}) {
    return Capability{"switches", state, std::move(why), std::move(advice)};
  };
  const topology::SwitchPath path = bootstrap::find_switches(config, environment);
  const auto address = environment.get("SLURM_TOPOLOGY_ADDR");
  if (!path.empty()) {
    return row(Have::present, fmt::format("{}, by {}", topology::path_text(path),
                                          config.switches == "auto" ? "SLURM_TOPOLOGY_ADDR"
                                                                    : "LOCKSTEP_SWITCHES"));
  }
  if (config.switches == "none") {
    return row(Have::absent, "LOCKSTEP_SWITCHES=none", "unset LOCKSTEP_SWITCHES");
  }
  const std::string advice = "LOCKSTEP_SWITCHES=core.s1, on each node its own";
  if (!address) return row(Have::absent, "nobody says them (SLURM_TOPOLOGY_ADDR)", advice);
  return row(Have::absent, fmt::format("SLURM_TOPOLOGY_ADDR={} names none", *address), advice);
}

}  // namespace

const char* have_name(Have state) {
  switch (state) {
    case Have::present:
      return "present";
    case Have::degraded:
      return "degraded";
    default:
      return "absent";
  }
}

Facts look_around(const Environment& environment) {
  Facts facts;
  facts.pmix = bootstrap::pmix_version();
  struct stat status {};
  const std::string folder(environment.get("PMIX_SERVER_TMPDIR").value_or(""));
  facts.has_server_folder = stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  facts.has_squeue = is_in_path(environment, "squeue");
  facts.has_scontrol = is_in_path(environment, "scontrol");
  facts.has_key = has_key(environment);
  facts.has_exit_page = has_exit_page(environment);
  return facts;
}

std::vector<Capability> capabilities(const Config& config, const Environment& environment,
                                     const Facts& facts) {
  return {identity(config, environment),       start_up(config, environment, facts),
          tolerance(config, environment),      time_left(environment, facts),
          notices(config, environment, facts), running_again(environment, facts),
          exits(config, environment, facts),   key(config, environment, facts),
          switches(config, environment)};
}

}  // namespace lockstep
