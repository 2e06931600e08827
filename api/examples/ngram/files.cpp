// The system calls of the example are here, each with an error that a user can act on.
#include "files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace ngram {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kSealBytes = 24;  // kind, length, hash

[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw std::runtime_error(fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

/// Takes away what killed owners have left. Whoever is alive holds a lock on its folder; the age
/// spares a folder that its owner has made but not locked yet.
void sweep(const fs::path& parent, const std::string& prefix) {
  std::error_code ignored;  // Others may be sweeping too, and what cannot be removed may stay.
  for (fs::directory_iterator at(parent, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    const fs::path folder = at->path();
    if (!folder.filename().string().starts_with(prefix)) continue;
    std::error_code gone;
    const auto changed = fs::last_write_time(folder, gone);
    if (gone || fs::file_time_type::clock::now() - changed < std::chrono::minutes(1)) continue;
    const int lock = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0) continue;
    struct stat owner {};
    if (fstat(lock, &owner) == 0 && owner.st_uid == geteuid() &&
        flock(lock, LOCK_EX | LOCK_NB) == 0) {
      fs::remove_all(folder, gone);
    }
    close(lock);
  }
}

}  // namespace

std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

void put_u64(std::string& bytes, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
}

std::uint64_t get_u64(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string seal(std::string_view kind, std::string_view payload) {
  std::string bytes;
  bytes.reserve(payload.size() + kSealBytes);
  bytes += kind;
  put_u64(bytes, payload.size());
  bytes += payload;
  put_u64(bytes, fnv1a(bytes));
  return bytes;
}

std::string_view unseal(std::string_view bytes, std::string_view kind, const fs::path& path) {
  const auto damaged = [&](const std::string& why) {
    return std::runtime_error(
        fmt::format("{} is damaged: {}; remove it and run again", path.string(), why));
  };
  if (bytes.size() < kSealBytes) throw damaged(fmt::format("it has only {} bytes", bytes.size()));
  if (bytes.substr(0, 8) != kind) throw damaged(fmt::format("it does not begin with {}", kind));
  const std::uint64_t length = get_u64(bytes, 8);
  if (length != bytes.size() - kSealBytes) {
    throw damaged(
        fmt::format("its header promises {} bytes, it has {}", length, bytes.size() - kSealBytes));
  }
  const std::uint64_t hash = fnv1a(bytes.substr(0, bytes.size() - 8));
  const std::uint64_t promised = get_u64(bytes, bytes.size() - 8);
  if (hash != promised) {
    throw damaged(fmt::format("its hash is {:016x}, it should be {:016x}", hash, promised));
  }
  return bytes.substr(16, length);
}

void check_can_save(const fs::path& path) {
  const fs::path folder = fs::absolute(path).parent_path();
  if (fs::is_directory(path)) {
    throw std::runtime_error(fmt::format("cannot save to {}: it is a folder", path.string()));
  }
  if (access(folder.c_str(), W_OK) != 0) fail("cannot save to the folder", folder);
}

void write_atomically(const fs::path& path, std::string_view bytes) {
  fs::path temporary = path;
  temporary += ".tmp";  // Unique, because each name here is written by one process of one run.
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) fail("cannot write", temporary);
  if (rename(temporary.c_str(), path.c_str()) != 0) fail("cannot rename to", path);
}

MappedFile::MappedFile(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail("cannot read", path);
  struct stat status {};
  fstat(descriptor, &status);
  if (!S_ISREG(status.st_mode)) {
    close(descriptor);
    throw std::runtime_error(fmt::format("cannot read {}: it is not a plain file", path.string()));
  }
  size_ = static_cast<std::size_t>(status.st_size);
  void* const memory =
      size_ == 0 ? nullptr : mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  if (memory == MAP_FAILED) fail("cannot map", path);
  data_ = static_cast<const char*>(memory);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    throw std::runtime_error(
        fmt::format("cannot make the folder {}: {}", path.string(), error.message()));
  }
}

TemporaryFolder::TemporaryFolder(const fs::path& parent, const std::string& prefix,
                                 const std::string& unique) {
  make_folder(parent);
  sweep(parent, prefix);
  std::string path = (parent / (prefix + (unique.empty() ? "XXXXXX" : unique))).string();
  const bool is_made =
      unique.empty() ? mkdtemp(path.data()) != nullptr : mkdir(path.c_str(), 0700) == 0;
  if (!is_made) fail("cannot make a folder in", parent);
  path_ = path;
  lock_ = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some file systems have no locks on folders. Nobody can sweep there, and that is all.
  if (lock_ >= 0) flock(lock_, LOCK_EX | LOCK_NB);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  if (lock_ >= 0) close(lock_);
}

}  // namespace ngram
