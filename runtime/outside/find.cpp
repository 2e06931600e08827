// Goes through /proc/PID/fd; each page is opened once, through whichever process has it.
#include "runtime/outside/find.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <linux/magic.h>

#include "runtime/node/share.hpp"

namespace lockstep::outside {
namespace {

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

Folder open_folder(const std::string& path) {
  return {opendir(path.c_str()), closedir};
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "/memfd:lockstep-page (deleted)", or unlinked shared memory of that name.
bool is_page_link(const std::string& path) {
  std::array<char, 256> text{};
  const ssize_t length = readlink(path.c_str(), text.data(), text.size());
  if (length <= 0) return false;
  return std::string_view(text.data(), static_cast<std::size_t>(length)).find(node::kMemoryName) !=
         std::string_view::npos;
}

/// The value of a line "Name:\t..." in /proc/PID/status.
std::string status_line(pid_t pid, std::string_view name) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':') {
      const std::size_t begin = line.find_first_not_of(" \t", name.size() + 1);
      return begin == std::string::npos ? "" : line.substr(begin);
    }
  }
  return {};
}

void add_identity(Holder& holder) {
  struct stat space {};
  if (stat(fmt::format("/proc/{}/ns/pid", holder.pid).c_str(), &space) == 0) {
    holder.pid_namespace = space.st_ino;
  }
  const std::string numbers = status_line(holder.pid, "NSpid");
  const std::size_t last = numbers.find_last_of(" \t");
  const auto inner = number_in(last == std::string::npos ? numbers : numbers.substr(last + 1));
  holder.inner_pid = inner.value_or(static_cast<std::uint64_t>(holder.pid));
}

/// Only memory: another file could make a reader wait.
bool open_page(FoundPage& page) {
  page.memory.reset(open(page.holders.front().path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat file {};
  struct statfs system {};
  if (!page.memory || fstat(page.memory.get(), &file) != 0 || !S_ISREG(file.st_mode) ||
      fstatfs(page.memory.get(), &system) != 0 || system.f_type != TMPFS_MAGIC) {
    return false;
  }
  page.size = static_cast<std::size_t>(file.st_size);
  page.owner = file.st_uid;
  return true;
}

/// Memory and its inode, for telling pages apart.
using Inode = std::pair<dev_t, ino_t>;

void look_through(pid_t pid, std::map<Inode, FoundPage>& pages) {
  const std::string folder = fmt::format("/proc/{}/fd", pid);
  const Folder open = open_folder(folder);
  if (open == nullptr) return;
  while (const dirent* const entry = readdir(open.get())) {
    if (!number_in(entry->d_name)) continue;
    Holder holder;
    holder.pid = pid;
    holder.path = folder + "/" + entry->d_name;
    struct stat file {};
    if (!is_page_link(holder.path) || stat(holder.path.c_str(), &file) != 0) continue;
    FoundPage& page = pages[{file.st_dev, file.st_ino}];
    if (!page.holders.empty() && page.holders.back().pid == pid) continue;
    add_identity(holder);
    page.holders.push_back(std::move(holder));
  }
}

}  // namespace

const char* process_name(Process process) noexcept {
  switch (process) {
    case Process::runs:
      return "runs";
    case Process::stopped:
      return "stopped";
    case Process::gone:
      break;
  }
  return "gone";
}

Read FoundPage::reader() const {
  return [fd = memory.get()](std::size_t offset, std::span<std::byte> to) {
    while (!to.empty()) {
      const ssize_t got = pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      offset += static_cast<std::size_t>(got);
      to = to.subspan(static_cast<std::size_t>(got));
    }
    return true;
  };
}

Process FoundPage::process_of(const MemberView& member) const {
  const auto found = std::find_if(holders.begin(), holders.end(), [&](const Holder& holder) {
    return holder.inner_pid == member.pid && holder.pid_namespace == member.pid_namespace;
  });
  if (found == holders.end()) return Process::gone;
  const std::string state = status_line(found->pid, "State");
  if (state.empty() || state[0] == 'Z' || state[0] == 'X') return Process::gone;
  return state[0] == 'T' || state[0] == 't' ? Process::stopped : Process::runs;
}

Result<Visit> visit(Nanos time) {
  const Folder processes = open_folder("/proc");
  if (processes == nullptr) {
    return Status(LOCKSTEP_E_IO, fmt::format("/proc cannot be read: {}", std::strerror(errno)));
  }
  std::map<Inode, FoundPage> pages;
  while (const dirent* const entry = readdir(processes.get())) {
    if (const auto pid = number_in(entry->d_name)) look_through(static_cast<pid_t>(*pid), pages);
  }
  Visit visit;
  for (auto& [inode, page] : pages) {
    if (!open_page(page)) continue;  // its last process has just ended, or it only has the name
    Result<Snapshot> seen = look_at(page.reader(), page.size, time);
    if (seen.ok()) {
      visit.parts.push_back({std::move(page), std::move(*seen)});
    } else if (!seen.status().is(LOCKSTEP_AGAIN)) {
      visit.refused.push_back(
          fmt::format("process {}: {}", page.holders.front().pid, seen.status().text()));
    }
  }
  return visit;
}

}  // namespace lockstep::outside
