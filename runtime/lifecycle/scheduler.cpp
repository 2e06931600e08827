// Asks through squeue and scontrol: they are where Slurm is, speak to any version, and link nothing
// into programs.
#include "runtime/lifecycle/scheduler.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>

#include "runtime/lifecycle/command.hpp"

namespace lockstep::lifecycle {
namespace {

std::optional<Nanos> read_number(std::string_view text) {
  Nanos value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  constexpr Nanos kMost = 1'000'000;
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > kMost) {
    return std::nullopt;
  }
  return value;
}

Status tell_slurm(const std::vector<std::string>& words, Nanos patience) {
  const std::optional<Answer> answer = ask(words, Errors::in_output, patience);
  if (!answer) return {LOCKSTEP_E_DEADLINE, words.front() + " does not answer"};
  if (answer->is_good()) return {};
  const std::string first_line = answer->output.substr(0, answer->output.find('\n'));
  return {LOCKSTEP_E_STATE, first_line.empty() ? words.front() + " failed" : first_line};
}

}  // namespace

std::string slurm_job_of(const Environment& environment) {
  const auto array = environment.get("SLURM_ARRAY_JOB_ID");
  const auto element = environment.get("SLURM_ARRAY_TASK_ID");
  if (array && element) return fmt::format("{}_{}", *array, *element);
  return std::string(environment.get("SLURM_JOB_ID").value_or(""));
}

std::optional<Nanos> read_slurm_time(std::string_view text) {
  Nanos days = 0;
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    const std::optional<Nanos> number = read_number(text.substr(0, dash));
    if (!number) return std::nullopt;
    days = *number;
    text.remove_prefix(dash + 1);
  }
  Nanos seconds = 0;
  int parts = 0;
  for (; !text.empty() && parts < 3; ++parts) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::optional<Nanos> number = read_number(text.substr(0, colon));
    if (!number || colon + 1 == text.size()) return std::nullopt;
    seconds = seconds * 60 + *number;
    text.remove_prefix(std::min(colon + 1, text.size()));
  }
  if (parts < 2 || !text.empty()) return std::nullopt;
  return (days * 24 * 60 * 60 + seconds) * kSecond;
}

std::optional<JobState> read_job_state(std::string_view line, std::int64_t wall_clock) {
  line = line.substr(0, line.find('\n'));
  std::array<std::string_view, 4> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t bar = i + 1 < fields.size() ? line.find('|') : line.size();
    if (bar == std::string_view::npos) return std::nullopt;
    fields[i] = line.substr(0, bar);
    line.remove_prefix(std::min(bar + 1, line.size()));
  }
  const auto& [end, left, state, reason] = fields;
  if (state.empty()) return std::nullopt;
  JobState answer;
  answer.left_by_limit = read_slurm_time(left);
  answer.state = state;
  answer.reason = reason;
  std::int64_t seconds = 0;
  const auto [rest, error] = std::from_chars(end.data(), end.data() + end.size(), seconds);
  const bool is_number = error == std::errc() && rest == end.data() + end.size();
  constexpr std::int64_t kMost = INT64_MAX / kSecond / 2;
  answer.has_end = is_number;
  // "NONE" for a job without a limit; its end, if one is named, is none.
  if (is_number && answer.left_by_limit && std::abs(seconds) < kMost) {
    answer.left = (seconds - wall_clock) * kSecond;
  }
  return answer;
}

Ending ending_of(const JobState& state) {
  if (state.reason == "TimeLimit" || state.state == "TIMEOUT") return Ending::time_limit;
  if (state.state == "PREEMPTED") return Ending::preemption;
  const bool is_ending = state.state == "COMPLETING";
  // One that has ended for good has an end that has come.
  constexpr Nanos kInexact = 5 * kSecond;
  const bool is_to_run_again = !state.has_end || (state.left && *state.left > kInexact);
  if (state.state == "PENDING" || (is_ending && is_to_run_again)) return Ending::requeue;
  if (is_ending || state.state == "CANCELLED") return Ending::cancel;
  const bool is_moved = state.left && *state.left < *state.left_by_limit - kInexact;
  return is_moved ? Ending::preemption : Ending::unknown;
}

std::optional<JobState> ask_slurm(const std::string& job, Nanos patience,
                                  const std::stop_token& stop) {
  // Times as seconds, whatever the user likes to read.
  const std::optional<Answer> answer = ask({"env", "SLURM_TIME_FORMAT=%s", "squeue", "--noheader",
                                            "--jobs", job, "--format", "%e|%L|%T|%r"},
                                           Errors::dropped, patience, stop);
  if (!answer) return std::nullopt;
  return read_job_state(answer->output, std::time(nullptr));
}

Status requeue(const std::string& job, Nanos patience) {
  return tell_slurm({"scontrol", "requeue", job}, patience);
}

Status forbid_requeue(const std::string& job, Nanos patience) {
  return tell_slurm({"scontrol", "update", "JobId=" + job, "Requeue=0"}, patience);
}

}  // namespace lockstep::lifecycle
