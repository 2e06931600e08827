// Between fork and exec only async-signal-safe calls: libpmix's threads may hold any lock.
#include "api/cli/rank_process.hpp"

#include "api/cli/command_error.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace lockstep::cli {
namespace {

constexpr unsigned kFirstForeignFd = 3;

// The kernel's own mask format, which may be longer than glibc's fixed cpu_set_t.
using AffinityMask = std::vector<unsigned long>;

AffinityMask mask_of(const CpuList& cpus) {
  constexpr std::size_t kBits = CHAR_BIT * sizeof(unsigned long);
  AffinityMask mask;
  for (const int cpu : cpus) {
    const auto bit = static_cast<std::size_t>(cpu);
    if (mask.size() <= bit / kBits) mask.resize(bit / kBits + 1);
    mask[bit / kBits] |= 1UL << (bit % kBits);
  }
  return mask;
}

void put(const char* text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;  // nobody is left to be told
}

[[noreturn]] void give_up(const char* what, const char* path, int error) {
  put("lockstep run: cannot ");
  put(what);
  put(" '");
  put(path);
  put("': ");
  const char* text = strerrordesc_np(error);
  put(text == nullptr ? "unknown error" : text);
  put("\n");
  _exit(error == ENOENT ? kExitNotFound : kExitNotExecutable);
}

// dup2 of a descriptor onto itself would keep its close-on-exec flag; the callers' are all >= 3 or
// the very standard descriptor, which has none.
void place_fd(int fd, int target) {
  if (fd != target) dup2(fd, target);
}

void close_foreign_fds() {
  if (syscall(SYS_close_range, kFirstForeignFd, UINT_MAX, 0U) == 0) return;
  // Kernels before 5.9. The usual limit; whatever lies above has close-on-exec set anyway.
  constexpr int kUsualLimit = 65536;
  for (int fd = static_cast<int>(kFirstForeignFd); fd < kUsualLimit; ++fd) close(fd);
}

[[noreturn]] void become_rank(const RankStart& start, const AffinityMask& mask, pid_t server) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // The server may have died before the line above: then nobody will send that signal.
  if (getppid() != server) _exit(kExitSignalBase + SIGKILL);
  setpgid(0, 0);
  if (!mask.empty() &&
      syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof mask[0], mask.data()) < 0) {
    give_up("bind", start.path, errno);
  }
  place_fd(start.stdin_fd, STDIN_FILENO);
  place_fd(start.stdout_fd, STDOUT_FILENO);
  place_fd(start.stderr_fd, STDERR_FILENO);
  close_foreign_fds();
  setrlimit(RLIMIT_NOFILE, &start.inherited->open_files);
  sigaction(SIGPIPE, &start.inherited->on_broken_pipe, nullptr);
  sigprocmask(SIG_SETMASK, &start.inherited->mask, nullptr);
  execve(start.path, start.arguments, start.environment);
  give_up("run", start.path, errno);
}

}  // namespace

InheritedSettings InheritedSettings::now() {
  InheritedSettings settings{};
  sigprocmask(SIG_SETMASK, nullptr, &settings.mask);
  sigaction(SIGPIPE, nullptr, &settings.on_broken_pipe);
  getrlimit(RLIMIT_NOFILE, &settings.open_files);
  return settings;
}

CStringList::CStringList(const std::vector<std::string>& strings)
    : list_(static_cast<char**>(std::calloc(strings.size() + 1, sizeof(char*)))) {
  if (list_ == nullptr) throw std::bad_alloc();
  for (std::size_t i = 0; i < strings.size(); ++i) list_[i] = strdup(strings[i].c_str());
}

CStringList::~CStringList() {
  for (char** string = list_; *string != nullptr; ++string) std::free(*string);
  std::free(list_);
}

pid_t start_rank(const RankStart& start) {
  const AffinityMask mask = mask_of(*start.cpus);
  const pid_t server = getpid();
  const pid_t pid = fork();
  if (pid == 0) become_rank(start, mask, server);
  if (pid < 0) {
    throw CommandError(1, fmt::format("cannot start a rank: {}", strerrordesc_np(errno)));
  }
  setpgid(pid, pid);  // here as well: a signal to the group may be sent before the child gets there
  return pid;
}

}  // namespace lockstep::cli
