// The library's calls behind each command, and what becomes of their errors.
#include "api/cli/shell/member.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/shell/exit_codes.hpp"
#include "api/cli/shell/first_join.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <lockstep/lockstep.hpp>

#include <array>
#include <chrono>
#include <cstring>

namespace lockstep::cli::shell {
namespace {

/// The program has failed, or nobody knows how it ended; the others get the text.
class ProgramFailed : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

const char* name_of(const Request& request) {
  return request.name.empty() ? nullptr : request.name.c_str();
}

std::chrono::nanoseconds timeout_of(const Request& request) {
  return std::chrono::nanoseconds(request.timeout_ns);
}

/// No line of this file is of interest to whoever reads a report.
constexpr Where kScript{nullptr, 0};

lockstep::Scope scope_of(const Request& request) {
  switch (request.scope) {
    case Scope::node:
      return lockstep::Scope::node;
    case Scope::numa:
      return lockstep::Scope::numa;
    case Scope::leaf_switch:
      return lockstep::Scope::leaf_switch;
    case Scope::gpu_group:
      return lockstep::Scope::gpu_group;
    case Scope::file_system:
      return lockstep::Scope::file_system(request.path);
    case Scope::job:
      break;
  }
  return lockstep::Scope::job;
}

Group group_of(Session& session, const Request& request) {
  return session.group_of(scope_of(request), {.name = name_of(request)}, kScript);
}

int exit_code_of(const Error& error) {
  if (error.status() == LOCKSTEP_E_FIRST_FAILED) return kExitFirstFailed;
  return error.status() == LOCKSTEP_E_DEADLINE ? kExitMissing : kExitFailed;
}

/// What `once` tells everybody: the exit code in front of the output.
std::string pack(const Ended& ended) {
  std::array<char, sizeof ended.exit_code> code{};
  std::memcpy(code.data(), &ended.exit_code, code.size());
  return std::string(code.data(), code.size()) + ended.output;
}

Answer unpack(const std::string& bytes) {
  Answer answer;
  if (bytes.size() < sizeof answer.exit_code) {
    return {.exit_code = kExitFailed, .text = "the first rank runs another version of lockstep"};
  }
  std::memcpy(&answer.exit_code, bytes.data(), sizeof answer.exit_code);
  answer.output = bytes.substr(sizeof answer.exit_code);
  return answer;
}

std::string reason_of(const TriggerReport& report, const std::string& name) {
  std::string why = report.text;
  if (report.reason == Reason::set) why = "set";
  return fmt::format("trigger '{}' fired at check {}: {}, by rank {} on {}", name, report.check,
                     why, report.rank, report.host);
}

}  // namespace

Member::Member() : news_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!news_.is_open()) throw CommandError(kExitFailed, "no eventfd for the agent of this task");
  thread_ = std::thread([this] { work(); });
}

std::optional<Message> Member::take_news() {
  const std::lock_guard lock(mutex_);
  if (told_.empty()) {
    eventfd_t ignored = 0;
    eventfd_read(news_.get(), &ignored);
    return std::nullopt;
  }
  Message message = std::move(told_.front());
  told_.pop_front();
  return message;
}

void Member::start(const Request& request) {
  const std::lock_guard lock(mutex_);
  request_ = request;
  changed_.notify_all();
}

void Member::finish_first(const Ended& ended) {
  const std::lock_guard lock(mutex_);
  ended_ = ended;
  changed_.notify_all();
}

void Member::set_trigger(const std::string& name) {
  const std::lock_guard lock(mutex_);
  triggers_.insert(name);
}

void Member::leave() {
  {
    const std::lock_guard lock(mutex_);
    is_leaving_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Member::tell(const Message& message) {
  const std::lock_guard lock(mutex_);
  told_.push_back(message);
  eventfd_write(news_.get(), 1);
}

bool Member::is_joining() {
  const std::lock_guard lock(mutex_);
  return is_joining_;
}

bool Member::has_failed() {
  const std::lock_guard lock(mutex_);
  return has_failed_;
}

bool Member::is_needed() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return request_ || is_leaving_; });
  is_joining_ = !is_leaving_;
  return is_joining_;
}

std::optional<Request> Member::next_request() {
  std::unique_lock lock(mutex_);
  is_joining_ = false;
  changed_.wait(lock, [this] { return request_ || is_leaving_; });
  if (is_leaving_) return std::nullopt;
  return std::exchange(request_, std::nullopt);
}

Ended Member::go_first() {
  tell(GoFirst{});
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_.has_value(); });
  return *std::exchange(ended_, std::nullopt);
}

void Member::work() {
  // A trigger that is only set needs nobody, and joining would wait for all.
  if (!is_needed()) return;
  std::string why;
  try {
    join_and_serve();
    return;
  } catch (const std::exception& error) {
    why = error.what();
  }
  {
    const std::lock_guard lock(mutex_);
    has_failed_ = true;
  }
  while (next_request()) tell(Answer{.exit_code = kExitFailed, .text = why});
}

void Member::join_and_serve() {
  std::optional<FirstJoin> joining(std::in_place, Environment(environ));
  if (!joining->is_first()) {
    throw std::runtime_error(
        "an agent of this task was here before and is gone, and the task with it to all others: "
        "was it killed, or could it not join? start the job again");
  }
  Session session;
  joining.reset();
  // A task may end right after its first command, and under Slurm its agent is killed then: not
  // before all others can be reached, and can reach this one.
  session.wait_for_everyone({.name = "joining", .timeout = std::chrono::nanoseconds(-1)}, kScript);
  while (const std::optional<Request> request = next_request()) {
    tell(perform(session, *request));
  }
}

Answer Member::perform(Session& session, const Request& request) {
  try {
    switch (request.action) {
      case Action::barrier:
        return barrier(group_of(session, request), request);
      case Action::first:
        return first(group_of(session, request), request);
      case Action::once:
        return once(group_of(session, request), request);
      case Action::check_trigger:
        return check(session, request);
      case Action::set_trigger:
        break;
    }
    return {.exit_code = kExitFailed, .text = "not something to wait for"};
  } catch (const Error& error) {
    return {.exit_code = exit_code_of(error), .text = error.what()};
  } catch (const std::exception& error) {
    return {.exit_code = kExitFailed, .text = error.what()};
  }
}

Answer Member::barrier(Group group, const Request& request) {
  group.wait_for_everyone({.name = name_of(request), .timeout = timeout_of(request)}, kScript);
  return {};
}

Answer Member::first(Group group, const Request& request) {
  bool is_first = false;
  try {
    group.first(
        [&] {
          is_first = group.rank() == 0;
          if (!is_first) return;
          if (const Ended ended = go_first(); !ended.failure.empty()) {
            throw ProgramFailed(ended.failure);
          }
        },
        {.name = name_of(request), .timeout = timeout_of(request)}, kScript);
  } catch (const ProgramFailed& failed) {
    return {.exit_code = kExitFailed, .text = failed.what()};
  }
  return {.is_ready = !is_first};
}

Answer Member::once(Group group, const Request& request) {
  // One is not to be taken for the other: members must agree on names.
  Request named = request;
  named.name = request.name.empty() ? "once" : "once " + request.name;
  std::string result;
  try {
    group.first(
        [&] {
          if (group.rank() != 0) return;
          const Ended ended = go_first();
          if (!ended.failure.empty()) throw ProgramFailed(ended.failure);
          result = pack(ended);
        },
        {.name = name_of(named), .timeout = timeout_of(named)}, kScript);
  } catch (const ProgramFailed& failed) {
    return {.exit_code = kExitFailed, .text = failed.what()};
  }
  return unpack(
      group.broadcast(result, 0, {.name = name_of(named), .timeout = timeout_of(named)}, kScript));
}

Answer Member::check(Session& session, const Request& request) {
  bool is_set = false;
  {
    const std::lock_guard lock(mutex_);
    is_set = triggers_.erase(request.name) > 0;
  }
  if (is_set) session.set_trigger();
  if (!session.check_trigger({.name = name_of(request), .timeout = timeout_of(request)}, kScript))
    return {.exit_code = kExitNotFired};
  return {.text = reason_of(session.last_trigger(), request.name),
          .is_speaker = session.is_main_process()};
}

}  // namespace lockstep::cli::shell
