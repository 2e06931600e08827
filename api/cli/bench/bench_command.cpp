// `lockstep bench`: latency of a barrier or a trigger check, beside Open MPI in interleaved blocks;
// of an empty section, or of polls and checks of triggers, beside a barrier.
#include "api/cli/commands.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/cli/bench/statistics.hpp"
#include "api/cli/command_error.hpp"
#include "api/cli/unique_fd.hpp"

namespace lockstep::cli {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  std::string operation;
  std::vector<unsigned> ranks = {2};
  unsigned nodes = 1;
  unsigned blocks = 9;
  unsigned rounds = 20000;
  std::string peer = "auto";
  bool json = false;
};

constexpr const char* kSection = "section";
constexpr const char* kPoll = "poll";

/// What is measured: a name, the operation, and the command line of a block.
struct Contender {
  std::string name;
  std::string operation;
  std::vector<std::string> command{};  ///< without operation and file
  bool has_rounds = true;              ///< which begin when the last rank has entered
  bool has_loop = true;
  double scale = 1;  ///< of what is printed; microseconds
  std::vector<bench::Block> blocks{};
};

/// All that ran side by side with this many ranks; ratios are to `base`, or the peer.
struct Series {
  unsigned ranks = 0;
  std::vector<Contender> list{};
  std::size_t base = 1;
};

std::filesystem::path own_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

/// The measured programs lie beside the command when installed, in these folders of a build.
std::string find_program(const std::string& name) {
  const std::filesystem::path own = own_folder();
  for (const auto& folder : {own, own / "../../tests/bench", own / "../lib/lockstep"}) {
    const std::filesystem::path path = folder / name;
    if (access(path.c_str(), X_OK) == 0) return std::filesystem::canonical(path).string();
  }
  return {};
}

/// A file with room for everybody's times, removed with the object.
class TimesFile {
 public:
  TimesFile(unsigned ranks, unsigned rounds) : ranks_(ranks), rounds_(rounds) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "lockstep-bench-XXXXXX").string();
    const UniqueFd fd(mkostemp(pattern.data(), O_CLOEXEC));
    path_ = pattern;
    const bench::Head head{bench::kMagic, ranks, rounds};
    if (fd.get() < 0 || write(fd.get(), &head, sizeof head) != static_cast<ssize_t>(sizeof head) ||
        ftruncate(fd.get(), static_cast<off_t>(bench::file_bytes(ranks, rounds))) != 0) {
      throw CommandError(1, "cannot make a file for the times in " + path_);
    }
  }
  ~TimesFile() { unlink(path_.c_str()); }
  TimesFile(const TimesFile&) = delete;
  TimesFile& operator=(const TimesFile&) = delete;
  const std::string& path() const { return path_; }

  bench::Block read() const {
    std::ifstream file(path_, std::ios::binary);
    file.seekg(sizeof(bench::Head));
    std::vector<bench::Times> times(std::size_t{ranks_} * rounds_);
    std::vector<double> means;
    for (unsigned rank = 0; rank < ranks_; ++rank) {
      bench::RankHead head{};
      file.read(reinterpret_cast<char*>(&head), sizeof head);
      file.read(reinterpret_cast<char*>(times.data() + std::size_t{rank} * rounds_),
                static_cast<std::streamsize>(rounds_ * sizeof(bench::Times)));
      if (!file || head.is_done == 0) {
        throw CommandError(1, fmt::format("rank {} of a block did not finish", rank));
      }
      means.push_back(head.osu_mean_ns);
    }
    return bench::summarise(times, ranks_, rounds_, means);
  }

 private:
  std::string path_;
  unsigned ranks_;
  unsigned rounds_;
};

int run_and_wait(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    // The blocks' own output would tear the table apart; what matters is on stderr.
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) dup2(null, STDOUT_FILENO);
    execvp(words[0], words.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Whoever goes first in a section leaves before the others come, and a poll waits for nobody: only
/// the plain loop says something. A trigger that fires is no loop.
Series without_peer(const std::string& operation, unsigned ranks) {
  const Contender barrier{.name = "barrier", .operation = "barrier"};
  if (operation == kSection) {
    return {ranks, {{.name = kSection, .operation = kSection, .has_rounds = false}, barrier}, 1};
  }
  return {ranks,
          {{.name = "poll [ns]", .operation = kPoll, .has_rounds = false, .scale = 1000},
           barrier,
           {.name = "check 1", .operation = "check-1"},
           {.name = "check 64", .operation = "check-64"},
           {.name = "set", .operation = "set", .has_loop = false},
           {.name = "signal", .operation = "signal", .has_loop = false}},
          1};
}

Series contenders(const BenchOptions& options, unsigned ranks) {
  const std::string mine = find_program("lockstep-bench");
  if (mine.empty()) {
    throw CommandError(1,
                       "the program lockstep-bench is missing; build with LOCKSTEP_BUILD_CLI=ON");
  }
  const std::string count = std::to_string(ranks);
  // As on a cluster: a core for each rank where there are enough, and no spinning where there are
  // not.
  const bool shares_cores = ranks > std::thread::hardware_concurrency();
  const char* const bind = shares_cores ? "none" : "core";
  const std::vector<std::string> run = {
      "/proc/self/exe", "run", "-n", count, "--nodes", std::to_string(options.nodes),
      "--bind",         bind,  mine};
  if (options.operation == kSection || options.operation == kPoll) {
    Series series = without_peer(options.operation, ranks);
    for (Contender& one : series.list) one.command = run;
    return series;
  }
  Series series{ranks, {{.name = "lockstep", .operation = options.operation, .command = run}}, 1};
  if (options.peer == "none") return series;
  const std::string peer = find_program("lockstep-bench-mpi");
  if (peer.empty() || options.nodes > 1) {
    if (options.peer == "auto") return series;
    throw CommandError(
        1, options.nodes > 1
               ? "Open MPI would use shared memory between emulated nodes; compare on "
                 "one node (--nodes 1), or on a cluster"
               : "the program lockstep-bench-mpi is missing; install an MPI and rebuild");
  }
  series.list.push_back(
      {.name = "Open MPI",
       .operation = options.operation,
       .command = {"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", bind, "--mca",
                   "mpi_yield_when_idle", shares_cores ? "1" : "0", "-n", count, peer}});
  return series;
}

Json block_json(const bench::Block& block) {
  return {{"latency_us", block.latency_us_median},
          {"latency_p99_us", block.latency_us_p99},
          {"exit_skew_us", block.skew_us_median},
          {"osu_us", block.osu_us},
          {"violations", block.violations}};
}

template <class Member>
std::vector<double> column(const Contender& contender, Member member) {
  std::vector<double> values;
  for (const bench::Block& block : contender.blocks) values.push_back(block.*member);
  return values;
}

bool has(const Contender& contender, double bench::Block::*member) {
  return member == &bench::Block::osu_us ? contender.has_loop : contender.has_rounds;
}

std::string cell(const Contender& contender, double bench::Block::*member) {
  if (!has(contender, member)) return "-";
  const bench::Summary summary = bench::over_blocks(column(contender, member));
  return fmt::format("{:.2f} ({:.2f}-{:.2f})", summary.median * contender.scale,
                     summary.least * contender.scale, summary.most * contender.scale);
}

/// Median of the ratios of blocks that ran side by side.
std::string ratio(const Contender& ours, const Contender& theirs, double bench::Block::*member) {
  if (!has(ours, member) || !has(theirs, member)) return "-";
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.blocks.size(); ++i) {
    if (theirs.blocks[i].*member > 0)
      ratios.push_back(ours.blocks[i].*member / (theirs.blocks[i].*member));
  }
  return fmt::format("{:.2f}", bench::median(std::move(ratios)));
}

void print_table(const BenchOptions& options, const Series& series) {
  fmt::print("{} of {} ranks on {} node{}, {} cpus, {} blocks of {} rounds each, interleaved\n",
             options.operation, series.ranks, options.nodes, options.nodes == 1 ? "" : "s",
             std::thread::hardware_concurrency(), options.blocks, options.rounds);
  fmt::print("microseconds: median of the blocks' medians (range over blocks)\n\n");
  const auto row = [](const std::string& name, const auto& text_of) {
    fmt::print("  {:<10} {:>26} {:>26} {:>26}\n", name, text_of(&bench::Block::latency_us_median),
               text_of(&bench::Block::skew_us_median), text_of(&bench::Block::osu_us));
  };
  fmt::print("  {:<10} {:>26} {:>26} {:>26}\n", "", "T = max exit - max entry", "exit skew",
             "plain loop (OSU)");
  for (const Contender& one : series.list) {
    row(one.name, [&](auto member) { return cell(one, member); });
  }
  if (series.list.size() < 2) return;
  const Contender& base = series.list[series.base];
  for (const Contender& one : series.list) {
    if (&one == &base || one.scale != base.scale) continue;
    row(series.list.size() == 2 ? "ratio" : "ratio " + one.name,
        [&](auto member) { return ratio(one, base, member); });
  }
}

Json series_json(const BenchOptions& options, const Series& series) {
  utsname machine{};
  uname(&machine);
  Json json{{"command", fmt::format("lockstep bench {} -n {} --nodes {} --blocks {} --rounds {}",
                                    options.operation, series.ranks, options.nodes, options.blocks,
                                    options.rounds)},
            {"date", fmt::format("{:%Y-%m-%d}", std::chrono::system_clock::now())},
            {"kernel", machine.release},
            {"cpus", std::thread::hardware_concurrency()}};
  for (const Contender& one : series.list) {
    Json blocks = Json::array();
    for (const bench::Block& block : one.blocks) blocks.push_back(block_json(block));
    json["blocks"][one.name] = blocks;
  }
  return json;
}

/// @return rounds that somebody left too early.
std::uint64_t run_blocks(const BenchOptions& options, Series& series) {
  std::uint64_t violations = 0;
  for (unsigned block = 0; block < options.blocks; ++block) {
    for (Contender& one : series.list) {
      if (isatty(STDERR_FILENO) != 0) {
        fmt::print(stderr, "\rblock {}/{} {:<10}", block + 1, options.blocks, one.name);
      }
      const TimesFile file(series.ranks, options.rounds);
      std::vector<std::string> command = one.command;
      command.insert(command.end(), {one.operation, file.path()});
      if (const int status = run_and_wait(command); status != 0) {
        throw CommandError(1, fmt::format("a block of {} ended with status {}", one.name, status));
      }
      one.blocks.push_back(file.read());
      if (one.has_rounds) violations += one.blocks.back().violations;
    }
  }
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:30}\r", "");
  return violations;
}

int bench_all(const BenchOptions& options) {
  std::uint64_t violations = 0;
  Json all = Json::array();
  for (const unsigned ranks : options.ranks) {
    Series series = contenders(options, ranks);
    violations += run_blocks(options, series);
    if (options.json) {
      all.push_back(series_json(options, series));
    } else {
      if (ranks != options.ranks.front()) fmt::print("\n");
      print_table(options, series);
      std::fflush(stdout);
    }
  }
  if (options.json) fmt::print("{}\n", (all.size() == 1 ? all[0] : all).dump(2));
  if (violations == 0) return 0;
  fmt::print(stderr, "lockstep bench: {} rounds were left before everybody had entered\n",
             violations);
  return 1;
}

}  // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command =
      app.add_subcommand("bench",
                         "Measure a barrier or a trigger check, beside Open MPI if it is there; or "
                         "an empty section, or "
                         "polls, checks and firing triggers, beside a barrier");
  auto options = std::make_shared<BenchOptions>();
  command->add_option("operation", options->operation, "barrier, trigger, section or poll")
      ->required()
      ->check(CLI::IsMember({"barrier", "trigger", kSection, kPoll}));
  command
      ->add_option("-n,--ranks", options->ranks,
                   "Processes; several numbers: one after the other, 1,2,8")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--nodes", options->nodes, "Emulated nodes")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--blocks", options->blocks, "Jobs per library, interleaved")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "Rounds per loop and job")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command->add_option("--peer", options->peer, "auto, openmpi or none")
      ->check(CLI::IsMember({"auto", "openmpi", "none"}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print every block as JSON");
  command->callback([options, &context] { context.exit_code = bench_all(*options); });
}

}  // namespace lockstep::cli
