// Trusts the page no further than its seals: they say that only Slurm's side can write it.
#include "runtime/node/exits.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/config/signal_names.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace lockstep::node {
namespace {

constexpr int kSeals = F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

bool is_sealed(int file) {
  const int seals = fcntl(file, F_GET_SEALS);
  return seals >= 0 && (seals & kSeals) == kSeals;
}

std::span<const lockstep_exit_line> map_lines(int file) {
  struct stat status {};
  if (fstat(file, &status) != 0 || status.st_size <= 0) return {};
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size % sizeof(lockstep_exit_line) != 0) return {};
  void* const memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const lockstep_exit_line*>(memory), size / sizeof(lockstep_exit_line)};
}

}  // namespace

Exits Exits::find(const Environment& environment, Rank self) {
  Exits exits;
  const auto file = environment.number(LOCKSTEP_EXIT_PAGE_VARIABLE);
  const auto place = environment.number("SLURM_LOCALID");
  if (!file || !place || *file > INT32_MAX || !is_sealed(static_cast<int>(*file))) return exits;
  // What this process starts is no task of the step.
  fcntl(static_cast<int>(*file), F_SETFD, FD_CLOEXEC);
  exits.lines_ = map_lines(static_cast<int>(*file));
  const bool is_known = std::all_of(exits.lines_.begin(), exits.lines_.end(), [](const auto& line) {
    return line.version == LOCKSTEP_EXIT_PAGE_VERSION;
  });
  const bool is_ours = is_known && *place < exits.lines_.size() &&
                       lockstep_exit_state(&exits.lines_[*place]) == LOCKSTEP_EXIT_RUNNING &&
                       exits.lines_[*place].rank == self;
  return is_ours ? std::move(exits) : Exits{};
}

Exits::Exits(Exits&& other) noexcept : lines_(std::exchange(other.lines_, {})) {}

Exits& Exits::operator=(Exits&& other) noexcept {
  std::swap(lines_, other.lines_);
  return *this;
}

Exits::~Exits() {
  if (is_there()) munmap(const_cast<lockstep_exit_line*>(lines_.data()), lines_.size_bytes());
}

std::optional<Exits::Task> Exits::task_of(Rank rank) const noexcept {
  for (const lockstep_exit_line& line : lines_) {
    const std::uint32_t state = lockstep_exit_state(&line);
    if (state == LOCKSTEP_EXIT_NOT_STARTED || line.rank != rank) continue;
    Task task{line.pid, {}};
    if (state == LOCKSTEP_EXIT_EXITED) task.wait_status = line.wait_status;
    return task;
  }
  return std::nullopt;
}

std::string describe_exit(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return fmt::format("was killed by {}", signal_name(WTERMSIG(wait_status)));
  }
  return fmt::format("exited with {}", WEXITSTATUS(wait_status));
}

}  // namespace lockstep::node
