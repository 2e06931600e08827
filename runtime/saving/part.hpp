// One rank's part of a checkpoint: written, and read back with its hash checked.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/saving/digest.hpp"
#include "runtime/saving/manifest.hpp"
#include "runtime/saving/replace_file.hpp"
#include "runtime/saving/step_folder.hpp"

namespace lockstep::saving {

/// Fills a descriptor; false with errno set, or 0, to give up.
using Writer = std::function<bool(int descriptor)>;

/// Saves a file under `path`. The text of a failure begins with "save:".
/// @param digest  If wanted: what the file now holds, read back from it.
Status save_file(const std::string& path, const Writer& writer, Digest* digest = nullptr);

/// The part of a rank until the checkpoint is committed. Without keep() it removes its file again.
class PartWriter {
 public:
  PartWriter(std::string store, std::uint64_t step, std::uint32_t rank);
  ~PartWriter();
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  std::uint64_t step() const noexcept { return step_; }
  const std::string& store() const noexcept { return store_; }
  std::uint32_t attempt() const noexcept { return attempt_; }

  Result<Digest> write(const Writer& writer);
  /// From memory: `done` grows with what is written; gives up once `is_unwanted` is set.
  Result<Digest> write(std::string_view bytes, std::atomic<std::uint64_t>& done,
                       const std::atomic<bool>& is_unwanted);
  void keep() noexcept { is_kept_ = true; }
  /// Removes the file, unless it is to be kept, and goes out of the folder.
  void close();

 private:
  Status enter();
  std::string path() const;

  std::string store_;
  std::uint64_t step_;
  std::uint32_t rank_;
  std::uint32_t attempt_;
  std::optional<FolderUse> use_;
  bool has_file_ = false;
  bool is_kept_ = false;
};

using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Reads a part from its beginning to its end, once.
class PartReader {
 public:
  static Result<std::unique_ptr<PartReader>> open(const std::string& store,
                                                  const Manifest& manifest, std::uint32_t index,
                                                  Progress progress = {});

  std::uint32_t index() const noexcept { return index_; }
  std::uint32_t count() const noexcept { return count_; }
  std::uint64_t size() const noexcept { return wanted_.size; }

  /// How much there was, up to `capacity`; 0 at the end, when the whole part is known to be good.
  Result<std::size_t> read(void* bytes, std::size_t capacity);
  /// Reads what is left and compares the hash.
  Status finish();

 private:
  PartReader() = default;
  Status check_end();

  std::string path_;
  std::uint32_t index_ = 0;
  std::uint32_t count_ = 0;
  Digest wanted_;
  UniqueFd file_;
  Hasher hasher_;
  std::uint64_t done_ = 0;
  std::uint64_t told_ = 0;
  Progress progress_;
};

/// Compares sizes only.
Status check_size(const std::string& store, const Manifest& manifest, std::uint32_t index);

}  // namespace lockstep::saving
