// `lockstep bench`: latency of a barrier or a trigger check, beside Open MPI in interleaved blocks;
// of an empty section beside a barrier.
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
  unsigned ranks = 2;
  unsigned nodes = 1;
  unsigned blocks = 9;
  unsigned rounds = 20000;
  std::string peer = "auto";
  bool json = false;
};

constexpr const char* kSection = "section";

/// What is measured: a name, the operation, and the command line of a block.
struct Contender {
  std::string name;
  std::string operation;
  std::vector<std::string> command;  ///< without operation and file
  std::vector<bench::Block> blocks;

  /// Whoever goes first in a section leaves before the others come: only the plain loop says
  /// something.
  bool is_round() const { return operation != kSection; }
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

std::vector<Contender> contenders(const BenchOptions& options) {
  const std::string mine = find_program("lockstep-bench");
  if (mine.empty()) {
    throw CommandError(1,
                       "the program lockstep-bench is missing; build with LOCKSTEP_BUILD_CLI=ON");
  }
  const std::string count = std::to_string(options.ranks);
  // As on a cluster: a core for each rank where there are enough, and no spinning where there are
  // not.
  const bool shares_cores = options.ranks > std::thread::hardware_concurrency();
  const char* const bind = shares_cores ? "none" : "core";
  std::vector<Contender> list;
  const bool is_section = options.operation == kSection;
  list.push_back({is_section ? kSection : "lockstep",
                  options.operation,
                  {"/proc/self/exe", "run", "-n", count, "--nodes", std::to_string(options.nodes),
                   "--bind", bind, mine},
                  {}});
  if (is_section) {
    list.push_back({"barrier", "barrier", list.front().command, {}});
    return list;
  }
  if (options.peer == "none") return list;
  const std::string peer = find_program("lockstep-bench-mpi");
  if (peer.empty() || options.nodes > 1) {
    if (options.peer == "auto") return list;
    throw CommandError(
        1, options.nodes > 1
               ? "Open MPI would use shared memory between emulated nodes; compare on "
                 "one node (--nodes 1), or on a cluster"
               : "the program lockstep-bench-mpi is missing; install an MPI and rebuild");
  }
  list.push_back({"Open MPI",
                  options.operation,
                  {"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", bind, "--mca",
                   "mpi_yield_when_idle", shares_cores ? "1" : "0", "-n", count, peer},
                  {}});
  return list;
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

std::string cell(const Contender& contender, double bench::Block::*member) {
  if (!contender.is_round() && member != &bench::Block::osu_us) return "-";
  const bench::Summary summary = bench::over_blocks(column(contender, member));
  return fmt::format("{:.2f} ({:.2f}-{:.2f})", summary.median, summary.least, summary.most);
}

/// Median of the ratios of blocks that ran side by side.
double ratio(const Contender& ours, const Contender& theirs, double bench::Block::*member) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.blocks.size(); ++i) {
    if (theirs.blocks[i].*member > 0)
      ratios.push_back(ours.blocks[i].*member / (theirs.blocks[i].*member));
  }
  return bench::median(std::move(ratios));
}

void print_table(const BenchOptions& options, const std::vector<Contender>& list) {
  fmt::print("{} of {} ranks on {} node{}, {} cpus, {} blocks of {} rounds each, interleaved\n",
             options.operation, options.ranks, options.nodes, options.nodes == 1 ? "" : "s",
             std::thread::hardware_concurrency(), options.blocks, options.rounds);
  fmt::print("microseconds: median of the blocks' medians (range over blocks)\n\n");
  fmt::print("  {:<10} {:>26} {:>26} {:>26}\n", "", "T = max exit - max entry", "exit skew",
             "plain loop (OSU)");
  for (const Contender& one : list) {
    fmt::print("  {:<10} {:>26} {:>26} {:>26}\n", one.name,
               cell(one, &bench::Block::latency_us_median),
               cell(one, &bench::Block::skew_us_median), cell(one, &bench::Block::osu_us));
  }
  if (list.size() < 2) return;
  const auto ratio_cell = [&](double bench::Block::*member) {
    const bool has_one = list[0].is_round() || member == &bench::Block::osu_us;
    return has_one ? fmt::format("{:.2f}", ratio(list[0], list[1], member)) : "-";
  };
  fmt::print("  {:<10} {:>26} {:>26} {:>26}\n", "ratio",
             ratio_cell(&bench::Block::latency_us_median),
             ratio_cell(&bench::Block::skew_us_median), ratio_cell(&bench::Block::osu_us));
}

void print_json(const BenchOptions& options, const std::vector<Contender>& list) {
  utsname machine{};
  uname(&machine);
  Json json{{"command", fmt::format("lockstep bench {} -n {} --nodes {} --blocks {} --rounds {}",
                                    options.operation, options.ranks, options.nodes, options.blocks,
                                    options.rounds)},
            {"date", fmt::format("{:%Y-%m-%d}", std::chrono::system_clock::now())},
            {"kernel", machine.release},
            {"cpus", std::thread::hardware_concurrency()}};
  for (const Contender& one : list) {
    Json blocks = Json::array();
    for (const bench::Block& block : one.blocks) blocks.push_back(block_json(block));
    json["blocks"][one.name] = blocks;
  }
  fmt::print("{}\n", json.dump(2));
}

int bench_all(const BenchOptions& options) {
  std::vector<Contender> list = contenders(options);
  std::uint64_t violations = 0;
  for (unsigned block = 0; block < options.blocks; ++block) {
    for (Contender& one : list) {
      if (isatty(STDERR_FILENO) != 0) {
        fmt::print(stderr, "\rblock {}/{} {:<10}", block + 1, options.blocks, one.name);
      }
      const TimesFile file(options.ranks, options.rounds);
      std::vector<std::string> command = one.command;
      command.insert(command.end(), {one.operation, file.path()});
      if (const int status = run_and_wait(command); status != 0) {
        throw CommandError(1, fmt::format("a block of {} ended with status {}", one.name, status));
      }
      one.blocks.push_back(file.read());
      if (one.is_round()) violations += one.blocks.back().violations;
    }
  }
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:30}\r", "");
  options.json ? print_json(options, list) : print_table(options, list);
  if (violations == 0) return 0;
  fmt::print(stderr, "lockstep bench: {} rounds were left before everybody had entered\n",
             violations);
  return 1;
}

}  // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command = app.add_subcommand(
      "bench",
      "Measure a barrier or a trigger check, beside Open MPI if it is there, or an empty section "
      "beside a barrier");
  auto options = std::make_shared<BenchOptions>();
  command->add_option("operation", options->operation, "barrier, trigger or section")
      ->required()
      ->check(CLI::IsMember({"barrier", "trigger", kSection}));
  command->add_option("-n,--ranks", options->ranks, "Processes")
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
