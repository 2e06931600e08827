// Folders of steps on disk. A folder without a manifest is no checkpoint, whatever else is in it.
#include "runtime/saving/step_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "runtime/saving/replace_file.hpp"

namespace lockstep::saving {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::size_t kLeastStepDigits = 8;
/// Locked shared by those who write into the folder, exclusively by those who remove it.
constexpr const char* kUseName = ".saving";
constexpr unsigned kTries = 100;
constexpr std::size_t kManifestMax = std::size_t{16} << 20;  // what a broadcast takes

Status failure(const char* what, const std::string& path) {
  const int error = errno;
  const auto slash = path.rfind('/');
  const std::string folder = slash == path.npos || slash == 0 ? path : path.substr(0, slash);
  return {LOCKSTEP_E_IO, fmt::format("save: cannot {} {}: {}{}", what, path, std::strerror(error),
                                     advice(error, folder))};
}

/// Names in a folder; nothing with errno set if it cannot be read.
std::optional<std::vector<std::string>> names_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
  if (folder == nullptr) return std::nullopt;
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(folder.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return std::nullopt;
  return names;
}

bool is_ours(std::string_view name) {
  return is_part_name(name) || Replacement::is_temporary(name);
}

/// The folder's lock for its removal; nothing while somebody uses it, or where locks do not work.
std::optional<UniqueFd> lock_for_removal(const std::string& folder) {
  UniqueFd lock(
      open((folder + "/" + kUseName).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  // Where there is no room for a lock there is none for a save in that folder either.
  if (!lock && (errno == ENOSPC || errno == EDQUOT)) return UniqueFd();
  if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  return lock;
}

/// The file's text, up to what a manifest can have; nothing with errno set if it cannot be read.
std::optional<std::string> read_text(int descriptor) {
  std::string text;
  std::array<char, 1 << 16> room;
  while (text.size() <= kManifestMax) {
    const ssize_t got = read(descriptor, room.data(), room.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    text.append(room.data(), static_cast<std::size_t>(got));
  }
  return text;
}

void remove_in(const std::string& folder, const std::function<bool(const std::string&)>& wants) {
  const auto names = names_in(folder);
  if (!names) return;
  for (const std::string& name : *names) {
    if (wants(name)) unlink((folder + "/" + name).c_str());
  }
}

}  // namespace

std::string step_name(std::uint64_t step) {
  return fmt::format("{}{:08}", kStepPrefix, step);
}

std::optional<std::uint64_t> parse_step_name(std::string_view name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  name.remove_prefix(kStepPrefix.size());
  std::uint64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (name.size() < kLeastStepDigits || error != std::errc() || end != name.data() + name.size()) {
    return std::nullopt;
  }
  return step;
}

Result<StepList> list_steps(const std::string& store) {
  const auto names = names_in(store);
  StepList list;
  if (!names) return errno == ENOENT ? Result(list) : failure("list", store);
  for (const std::string& name : *names) {
    const auto step = parse_step_name(name);
    if (!step || step_name(*step) != name) continue;
    struct stat ignored {};
    const std::string manifest = fmt::format("{}/{}/{}", store, name, kManifestName);
    (stat(manifest.c_str(), &ignored) == 0 ? list.committed : list.uncommitted).push_back(*step);
  }
  std::sort(list.committed.begin(), list.committed.end());
  std::sort(list.uncommitted.begin(), list.uncommitted.end());
  return list;
}

Result<LoadedManifest> load_manifest(const std::string& store, std::uint64_t step) {
  const std::string path = step_path(store, step) + "/" + kManifestName;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // ESTALE: NFS, removed between two looks.
  if (!file && (errno == ENOENT || errno == ENOTDIR || errno == ESTALE)) {
    return Status(LOCKSTEP_E_STATE, fmt::format("there is no checkpoint of step {} in {}: it was "
                                                "never completed, or has been removed",
                                                step, store));
  }
  std::optional<std::string> text = file ? read_text(file.get()) : std::nullopt;
  if (!text) return failure("read", path);
  Result<Manifest> manifest = parse_manifest(*text);
  if (!manifest.ok()) {
    return Status(LOCKSTEP_E_IO, fmt::format("{}: {}", path, manifest.status().text()));
  }
  if (manifest->step != step) {
    return Status(LOCKSTEP_E_IO,
                  fmt::format("{}: the manifest is of step {}", path, manifest->step));
  }
  return LoadedManifest{std::move(*manifest), std::move(*text)};
}

Status sync_folder(const std::string& path) {
  const UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems have nothing to sync a folder for, and say EINVAL.
  if (folder && (fsync(folder.get()) == 0 || errno == EINVAL)) return {};
  return failure("sync", path);
}

Result<FolderUse> FolderUse::enter(const std::string& store, std::uint64_t step) {
  const std::string folder = step_path(store, step);
  const std::string use = folder + "/" + kUseName;
  for (unsigned turn = 0; turn < kTries; ++turn) {
    if (mkdir(store.c_str(), 0777) != 0 && errno != EEXIST) return failure("make", store);
    if (mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) return failure("make", folder);
    UniqueFd lock(open(use.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!lock && errno == ENOENT) continue;  // somebody has removed the folder again
    if (!lock) return failure("create", use);
    while (flock(lock.get(), LOCK_SH) != 0 && errno == EINTR) continue;
    struct stat self {};
    // No links: somebody has taken the folder for a leftover before we had the lock.
    if (fstat(lock.get(), &self) == 0 && self.st_nlink > 0) return FolderUse(std::move(lock));
  }
  return failure("use", folder);
}

void remove_step(const std::string& store, std::uint64_t step) {
  const std::string folder = step_path(store, step);
  const std::optional<UniqueFd> lock = lock_for_removal(folder);
  if (!lock) return;
  // Without its manifest it does not exist, also if we are killed now or the power is lost.
  if (unlink((folder + "/" + kManifestName).c_str()) == 0 && !sync_folder(folder).ok()) return;
  remove_in(folder, is_ours);
  unlink((folder + "/" + kUseName).c_str());
  rmdir(folder.c_str());
}

void remove_strays(const std::string& store, const Manifest& manifest) {
  std::set<std::string> wanted;
  for (const PartEntry& part : manifest.parts) wanted.insert(part.name);
  const std::string folder = step_path(store, manifest.step);
  remove_in(folder,
            [&](const std::string& name) { return is_ours(name) && !wanted.contains(name); });
  unlink((folder + "/" + kUseName).c_str());
}

void remove_strays_of_killed(const std::string& store, std::uint64_t step) {
  const std::string folder = step_path(store, step);
  // The lock's file is what the saver would have removed last.
  if (access((folder + "/" + kUseName).c_str(), F_OK) != 0) return;
  const std::optional<UniqueFd> lock = lock_for_removal(folder);
  if (!lock) return;
  const Result<LoadedManifest> loaded = load_manifest(store, step);
  if (loaded.ok()) remove_strays(store, loaded->manifest);
}

void remove_if_empty(const std::string& store, std::uint64_t step) {
  const std::string folder = step_path(store, step);
  const auto names = names_in(folder);
  if (!names) return;
  const bool is_empty = std::all_of(names->begin(), names->end(),
                                    [](const std::string& name) { return name == kUseName; });
  if (!is_empty && std::find(names->begin(), names->end(), kManifestName) == names->end()) return;
  unlink((folder + "/" + kUseName).c_str());
  if (is_empty) rmdir(folder.c_str());
}

}  // namespace lockstep::saving
