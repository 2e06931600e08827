// squeue, scontrol and srun, as one would type them.
#include "api/cli/outside/slurm.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/outside/answers.hpp"
#include "api/cli/outside/child.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <regex>
#include <sstream>

namespace lockstep::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

/// What srun complains about first; the rest mostly follows from it.
std::string complaint_of(const std::string& text) {
  constexpr std::string_view kMark = "error: ";
  const std::vector<std::string> lines = lines_of(text);
  for (const std::string& line : lines) {
    const std::size_t begin = line.find(kMark);
    if (begin != std::string::npos) return line.substr(begin + kMark.size());
  }
  return lines.empty() ? "" : lines.front();
}

/// The settings of the job or script that this is started in are about other steps.
Environment for_tools(const Environment& environment) {
  std::vector<const char*> kept;
  for (const std::string& entry : environment.entries()) {
    const bool is_slurms = entry.starts_with("SLURM_") || entry.starts_with("SLURMD_") ||
                           entry.starts_with("SRUN_") || entry.starts_with("SQUEUE_");
    const bool stays = !is_slurms || entry.starts_with("SLURM_CONF=");
    if (stays && !belongs_to_outer_launcher(entry.substr(0, entry.find('=')))) {
      kept.push_back(entry.c_str());
    }
  }
  kept.push_back(nullptr);
  return Environment(kept.data());
}

[[noreturn]] void no_slurm(const std::string& tool) {
  throw CommandError(
      1,
      fmt::format("{} was not found, so no job of Slurm's can be reached from here; type this on "
                  "a machine with Slurm's commands, or 'lockstep status' on one of the nodes",
                  tool));
}

struct Row {
  std::array<std::string, 7> fields;  // %i|%A|%T|%D|%N|%u|%r
};

std::vector<Row> rows_of(const std::string& text) {
  std::vector<Row> rows;
  for (const std::string& line : lines_of(text)) {
    Row row;
    std::istringstream stream(line);
    std::size_t count = 0;
    while (count < row.fields.size() && std::getline(stream, row.fields[count], '|')) ++count;
    if (count >= 6) rows.push_back(row);
  }
  return rows;
}

void require_running(const std::string& id, const std::string& state, const std::string& reason) {
  if (state == "RUNNING") return;
  if (state == "PENDING") {
    throw CommandError(1, fmt::format("job {} has not started: it is pending ({}); type: squeue "
                                      "--start --jobs {}",
                                      id, reason, id));
  }
  if (state == "SUSPENDED" || state == "STOPPED") {
    throw CommandError(1, fmt::format("job {} is suspended, and Slurm starts nothing in it; type: "
                                      "scontrol resume {}",
                                      id, id));
  }
  throw CommandError(1, fmt::format("job {} does not run: it is {}", id, state));
}

/// A step outside has one part only, whichever Slurm takes.
void refuse_heterogeneous(const std::vector<Row>& rows) {
  if (rows.front().fields[0].find('+') == std::string::npos) return;
  std::string nodes;
  for (const Row& row : rows) nodes += (nodes.empty() ? "" : ",") + row.fields[4];
  throw CommandError(1,
                     fmt::format("job {} is heterogeneous, and its parts cannot be visited in one "
                                 "step; type this on its nodes ({}): lockstep status",
                                 rows.front().fields[1], nodes));
}

}  // namespace

std::optional<SlurmId> read_slurm_id(const std::string& text) {
  static const std::regex form(R"((\d{1,10}(?:[_+]\d{1,9})?)(?:\.(\d{1,9}|batch|interactive))?)");
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) return std::nullopt;
  return SlurmId{parts[1], parts[2]};
}

Slurm::Slurm(const Environment& environment, std::chrono::milliseconds patience)
    : environment_(for_tools(environment)), patience_(patience) {}

SlurmJob Slurm::find(const SlurmId& id) const {
  const ChildResult asked =
      run_child({"squeue", "--noheader", "--jobs", id.job, "--format", "%i|%A|%T|%D|%N|%u|%r"},
                environment_, patience_);
  if (asked.exit_code == 127) no_slurm("squeue");
  if (asked.is_late) {
    throw CommandError(1, "Slurm's controller does not answer; type: scontrol ping");
  }
  const std::vector<Row> rows = rows_of(asked.out);
  if (rows.empty()) {
    const bool is_unknown =
        asked.exit_code == 0 || asked.err.find("Invalid job id") != std::string::npos;
    if (!is_unknown)
      throw CommandError(1, fmt::format("squeue: {}; type this where Slurm's "
                                        "commands work",
                                        complaint_of(asked.err)));
    throw CommandError(
        1, fmt::format("there is no job {}, or it has ended; type: squeue --me", id.job));
  }
  refuse_heterogeneous(rows);
  if (rows.size() > 1) {
    std::string names;
    for (const Row& row : rows) names += (names.empty() ? "" : ", ") + row.fields[0];
    throw CommandError(1, fmt::format("job {} is several: {}; type one of them", id.job, names));
  }
  const auto& [shown, number, state, count, nodes, user, reason] = rows.front().fields;
  require_running(shown, state, reason);
  SlurmJob job{number, nodes, 0, user};
  std::from_chars(count.data(), count.data() + count.size(), job.node_count);
  if (job.node_count < 1) throw CommandError(1, "squeue does not say on how many nodes it runs");
  return job;
}

std::vector<std::string> Slurm::names_of(const std::string& nodes) const {
  const ChildResult shown =
      run_child({"scontrol", "show", "hostnames", nodes}, environment_, patience_);
  const std::vector<std::string> names = lines_of(shown.out);
  return names.empty() ? std::vector<std::string>{nodes} : names;
}

NodeAnswers Slurm::visit(const SlurmJob& job, const std::vector<std::string>& arguments,
                         const std::string& node) const {
  const auto count = static_cast<std::size_t>(node.empty() ? job.node_count : 1);
  // --overlap: shares CPUs and memory with the steps that are there, so it needs nothing free. No
  // PMIx: the step has nothing to join. The folder of the caller may not exist on the nodes.
  std::vector<std::string> words = {"srun",
                                    "--jobid=" + job.number,
                                    "--overlap",
                                    "--mpi=none",
                                    "--gres=none",
                                    "--quiet",
                                    "--kill-on-bad-exit=0",
                                    fmt::format("--nodes={}", count),
                                    fmt::format("--ntasks={}", count),
                                    "--ntasks-per-node=1",
                                    "--cpus-per-task=1",
                                    "--input=none",
                                    "--chdir=/",
                                    "--job-name=lockstep"};
  if (!node.empty()) words.push_back("--nodelist=" + node);
  words.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
  words.insert(words.end(), arguments.begin(), arguments.end());
  const ChildResult result = run_child(words, environment_, patience_);
  if (result.exit_code == 127) no_slurm("srun");
  NodeAnswers answers;
  answers.by_node = unwrap_answers(result.out);
  answers.complaint = complaint_of(result.err);
  if (answers.by_node.size() >= count) return answers;
  if (answers.by_node.empty() && !result.is_late) {
    if (result.err.find("denied") != std::string::npos) {
      throw CommandError(1,
                         fmt::format("job {} is {}'s, and Slurm lets only its owner and root in: "
                                     "{}; type: sudo -u {} lockstep ...",
                                     job.number, job.user, answers.complaint, job.user));
    }
    throw CommandError(
        1, fmt::format("srun could not start lockstep in job {}: {}; lockstep must be at the same "
                       "path on its nodes",
                       job.number, answers.complaint.empty() ? "no reason" : answers.complaint));
  }
  // A job that ended meanwhile keeps srun waiting, and its nodes are not silent.
  if (answers.by_node.empty()) find({job.number, ""});
  for (const std::string& name : names_of(node.empty() ? job.nodes : node)) {
    if (!answers.by_node.contains(name)) answers.silent.push_back(name);
  }
  return answers;
}

}  // namespace lockstep::cli
