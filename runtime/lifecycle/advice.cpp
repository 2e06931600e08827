// Only what can be known from inside the job: srun's own options cannot, but its plugin sees them
// (slurm/spank/advice.c).
#include "runtime/lifecycle/advice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/base/quiet_thread.hpp"
#include "runtime/config/signal_names.hpp"
#include "runtime/lifecycle/command.hpp"
#include "runtime/lifecycle/scheduler.hpp"
#include "runtime/observe/log.hpp"
#include "slurm/spank/exit_page.h"

namespace lockstep::lifecycle {
namespace {

constexpr Nanos kPatience = 20 * kSecond;
constexpr std::string_view kSpace = " \t\r";

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  const std::size_t end = std::min(text.find_first_of(kSpace), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

/// What stands on "#SBATCH" lines before the first command, word by word.
std::vector<std::string_view> option_words(std::string_view script) {
  std::vector<std::string_view> words;
  while (!script.empty()) {
    std::string_view line = take_line(script);
    const std::string_view first = take_word(line);
    if (!first.empty() && first.front() != '#') break;
    if (first != "#SBATCH") continue;
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      words.push_back(word);
    }
  }
  return words;
}

/// It traps the signal, or becomes the command that gets it: `exec srun` hands it on to the ranks.
bool expects(std::string_view script, int signal) {
  const std::string name = signal_name(signal).substr(3);
  while (!script.empty()) {
    std::string_view line = take_line(script);
    std::string_view words = line;
    if (take_word(words) == "exec" && !take_word(words).empty()) return true;
    const std::size_t trap = line.find("trap ");
    if (trap != std::string_view::npos && line.find(name, trap) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

/// "Name                    = value" of `scontrol show config`.
std::string_view setting_of(std::string_view config, std::string_view name) {
  while (!config.empty()) {
    std::string_view line = take_line(config);
    if (take_word(line) == name && take_word(line) == "=") return take_word(line);
  }
  return {};
}

void say_what_ends_the_step(const std::stop_token& stop) {
  const auto config = ask({"scontrol", "show", "config"}, Errors::dropped, kPatience, stop);
  if (!config || !config->is_good()) return;
  for (const std::string& line : find_step_enders(config->output)) log::warn("{}", line);
}

}  // namespace

std::optional<int> read_batch_signal(std::string_view value) {
  const std::size_t colon = value.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  if (value.substr(0, colon).find('B') == std::string_view::npos) return std::nullopt;
  value.remove_prefix(colon + 1);
  return read_signal(value.substr(0, value.find('@')));
}

std::optional<BatchSignal> find_batch_signal(std::string_view script) {
  constexpr std::string_view kOption = "--signal";
  const std::vector<std::string_view> words = option_words(script);
  std::optional<BatchSignal> found;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!words[i].starts_with(kOption)) continue;
    std::string_view value = words[i].substr(kOption.size());
    if (value.empty() && i + 1 < words.size()) {
      value = words[i + 1];
    } else if (value.starts_with('=')) {
      value.remove_prefix(1);
    }
    // The last one counts, for Slurm too.
    found.reset();
    const std::optional<int> signal = read_batch_signal(value);
    if (signal) found = BatchSignal{*signal, fmt::format("{}={}", kOption, value)};
  }
  if (found && expects(script, found->signal)) return std::nullopt;
  return found;
}

std::vector<std::string> find_step_enders(std::string_view config) {
  std::vector<std::string> lines;
  const std::string_view kill = setting_of(config, "KillOnBadExit");
  if (!kill.empty() && kill != "0") {
    lines.emplace_back(
        "LOCKSTEP_FAULT_TOLERANCE: by KillOnBadExit in slurm.conf the step is ended when one rank "
        "fails, if srun is not told otherwise; type: srun --kill-on-bad-exit=0");
  }
  const std::string_view wait = setting_of(config, "WaitTime");
  if (!wait.empty() && wait != "0") {
    lines.emplace_back(
        "LOCKSTEP_FAULT_TOLERANCE: by WaitTime in slurm.conf the step is ended soon after its "
        "first "
        "rank ends, if srun is not told otherwise; type: srun --wait=0");
  }
  return lines;
}

void Adviser::start(const Config& config, const Environment& environment, bool is_attached) {
  if (config.fault_tolerance && is_attached) {
    log::warn(
        "LOCKSTEP_FAULT_TOLERANCE: this process stays attached to PMIx, so the launcher ends all "
        "ranks when one dies; type: LOCKSTEP_DETACH=yes, unless MPI is used too");
  }
  const std::string job = slurm_job_of(environment);
  if (job.empty()) return;
  const bool srun_has_said =
      environment.get(LOCKSTEP_EXIT_PAGE_VARIABLE) || environment.get("LOCKSTEP_KEY_FD");
  if (config.fault_tolerance && !srun_has_said) {
    about_step_ = quiet_thread(say_what_ends_the_step);
  }
  // Set in a batch script and what it starts; other jobs have none.
  if (environment.get("ENVIRONMENT") == "BATCH") batch_job_ = job;
  if (const auto value = environment.get("SBATCH_SIGNAL")) {
    const std::optional<int> signal = read_batch_signal(*value);
    if (signal) batch_signal_ = BatchSignal{*signal, fmt::format("SBATCH_SIGNAL={}", *value)};
  }
  for (const int signal : config.signals) await(signal);
}

void Adviser::await(int signal) {
  if (batch_job_.empty()) return;
  {
    std::lock_guard lock(mutex_);
    awaited_.push_back(signal);
    say_what_is_lost();
  }
  if (about_signals_.joinable()) return;
  about_signals_ =
      quiet_thread([this](const std::stop_token& stop) { look_for_batch_signal(stop); });
}

void Adviser::look_for_batch_signal(const std::stop_token& stop) {
  const auto script =
      ask({"scontrol", "write", "batch_script", batch_job_, "-"}, Errors::dropped, kPatience, stop);
  if (!script || !script->is_good()) return;
  auto found = find_batch_signal(script->output);
  if (!found) return;
  std::lock_guard lock(mutex_);
  batch_signal_ = std::move(found);
  say_what_is_lost();
}

void Adviser::say_what_is_lost() {
  const bool is_lost =
      batch_signal_ && std::count(awaited_.begin(), awaited_.end(), batch_signal_->signal) != 0;
  if (!is_lost) return;
  log::warn(
      "no rank will see {}: by {} Slurm sends it to the batch script only; leave the B: out, or "
      "have the script send it on (slurm/examples/forward-signal.sbatch)",
      signal_name(batch_signal_->signal), batch_signal_->option);
  batch_signal_.reset();
}

}  // namespace lockstep::lifecycle
