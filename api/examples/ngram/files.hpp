// Files that are whole or not there, that say so when they are damaged, and that go away at the
// end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ngram {

/// FNV-1a, 64 bits: finds damage and compares equals. It does not protect against forgery.
std::uint64_t fnv1a(std::string_view bytes);

/// Numbers in files are little-endian on every machine.
void put_u64(std::string& bytes, std::uint64_t value);
std::uint64_t get_u64(std::string_view bytes, std::size_t at);

/// A file's bytes: an eight-letter kind, the length of the payload, the payload, the hash of all
/// that. unseal() gives the payload back, or throws what is wrong with the file named `path`.
std::string seal(std::string_view kind, std::string_view payload);
std::string_view unseal(std::string_view bytes, std::string_view kind,
                        const std::filesystem::path& path);

/// Replaces `path` in one go. For scratch files: not synced, so a power loss may take it away;
/// lockstep's save() is for files that are to stay.
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Throws if `path` cannot be saved to, as far as can be known before: better now than after the
/// work.
void check_can_save(const std::filesystem::path& path);

/// A file's bytes in memory, shared by all ranks of a node that have it open. The file may be
/// replaced or removed meanwhile, but not shortened; nobody here does.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Makes a folder and those above it, as far as they are not there; several may do it at once.
void make_folder(const std::filesystem::path& path);

/// A new folder, only for this user, removed with all it holds at the end of its owner.
///
/// A killed owner leaves its folder; the owner's lock on it is gone then, and the next owner of a
/// folder with the same prefix in the same place takes it away.
class TemporaryFolder {
 public:
  /// `unique`: what tells it from others; empty: something random.
  TemporaryFolder(const std::filesystem::path& parent, const std::string& prefix,
                  const std::string& unique = "");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace ngram
