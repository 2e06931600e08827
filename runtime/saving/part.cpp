// Parts: written through Replacement, hashed by reading back what the file really holds.
#include "runtime/saving/part.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include <fmt/format.h>

namespace lockstep::saving {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

Status gave_up(const std::string& path, int error) {
  // Most writers give up because a write has failed: what it left in errno is the reason.
  const auto slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : path.substr(0, slash);
  const std::string why =
      error != 0 ? fmt::format(" ({}{})", std::strerror(error), advice(error, folder)) : "";
  return {LOCKSTEP_E_IO, fmt::format("save: the writer of {} gave up{}; the old file, if any, "
                                     "is untouched",
                                     path, why)};
}

Status damaged(const std::string& path, const std::string& how) {
  return {LOCKSTEP_E_IO, fmt::format("{} {}: it is damaged", path, how)};
}

Status unreadable(const std::string& path, int error) {
  return {LOCKSTEP_E_IO, fmt::format("cannot read {}: {}", path, std::strerror(error))};
}

Status has_size(const std::string& path, std::uint64_t size, std::uint64_t wanted) {
  if (size == wanted) return {};
  return damaged(path, fmt::format("has {} bytes, and its manifest says {}", size, wanted));
}

}  // namespace

Status save_file(const std::string& path, const Writer& writer, Digest* digest) {
  Replacement file(path);
  if (Status status = file.open(); !status.ok()) return status;
  errno = 0;
  if (!writer(file.descriptor())) return gave_up(path, errno);
  if (digest != nullptr) {
    const auto found = digest_of_file(file.descriptor());
    if (!found) return unreadable(path, errno);
    *digest = *found;
  }
  return file.commit();
}

PartWriter::PartWriter(std::string store, std::uint64_t step, std::uint32_t rank)
    : store_(std::move(store)), step_(step), rank_(rank), attempt_(std::random_device()()) {}

PartWriter::~PartWriter() {
  close();
}

std::string PartWriter::path() const {
  return step_path(store_, step_) + "/" + part_name(rank_, attempt_);
}

Status PartWriter::enter() {
  Result<FolderUse> use = FolderUse::enter(store_, step_);
  if (!use.ok()) return use.status();
  use_ = std::move(*use);
  return {};
}

void PartWriter::close() {
  if (has_file_ && !is_kept_) unlink(path().c_str());
  has_file_ = false;
  use_.reset();
}

Result<Digest> PartWriter::write(const Writer& writer) {
  if (Status status = enter(); !status.ok()) return status;
  has_file_ = true;  // also if it was named, and then not made durable
  Digest digest;
  if (Status status = save_file(path(), writer, &digest); !status.ok()) return status;
  return digest;
}

Result<Digest> PartWriter::write(std::string_view bytes, std::atomic<std::uint64_t>& done,
                                 const std::atomic<bool>& is_unwanted) {
  return write([&](int descriptor) {
    for (std::string_view rest = bytes; !rest.empty();) {
      if (is_unwanted.load()) {
        errno = ECANCELED;
        return false;
      }
      const std::string_view piece = rest.substr(0, kPiece);
      if (!write_all(descriptor, piece)) return false;
      done.fetch_add(piece.size());
      rest.remove_prefix(piece.size());
    }
    return true;
  });
}

Result<std::unique_ptr<PartReader>> PartReader::open(const std::string& store,
                                                     const Manifest& manifest, std::uint32_t index,
                                                     Progress progress) {
  std::unique_ptr<PartReader> part(new PartReader);
  part->path_ = step_path(store, manifest.step) + "/" + manifest.parts[index].name;
  part->index_ = index;
  part->count_ = static_cast<std::uint32_t>(manifest.parts.size());
  part->wanted_ = manifest.parts[index].digest;
  part->progress_ = std::move(progress);
  part->file_.reset(::open(part->path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!part->file_ && errno == ENOENT) return damaged(part->path_, "is missing");
  struct stat found {};
  if (!part->file_ || fstat(part->file_.get(), &found) != 0) return unreadable(part->path_, errno);
  const auto size = static_cast<std::uint64_t>(found.st_size);
  if (Status status = has_size(part->path_, size, part->size()); !status.ok()) return status;
  return part;
}

Result<std::size_t> PartReader::read(void* bytes, std::size_t capacity) {
  capacity = static_cast<std::size_t>(std::min<std::uint64_t>(capacity, size() - done_));
  if (capacity == 0) {
    if (Status status = done_ == size() ? check_end() : Status{}; !status.ok()) return status;
    return std::size_t{0};
  }
  ssize_t got = 0;
  do {
    got = ::read(file_.get(), bytes, capacity);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return unreadable(path_, errno);
  if (got == 0) return has_size(path_, done_, size());
  const auto length = static_cast<std::size_t>(got);
  hasher_.add(bytes, length);
  done_ += length;
  if (progress_ && (done_ - told_ >= kPiece || done_ == size())) progress_(told_ = done_, size());
  return length;
}

Status PartReader::check_end() {
  if (hasher_.digest() == wanted_) return {};
  return damaged(path_, fmt::format("has the XXH3 {}, and its manifest says {}",
                                    hex(hasher_.digest()), hex(wanted_)));
}

Status PartReader::finish() {
  if (done_ == size()) return check_end();
  std::vector<char> room(std::min<std::uint64_t>(kPiece, size() - done_));
  while (done_ < size()) {
    const Result<std::size_t> got = read(room.data(), room.size());
    if (!got.ok()) return got.status();
  }
  return check_end();
}

Status check_size(const std::string& store, const Manifest& manifest, std::uint32_t index) {
  const std::string path = step_path(store, manifest.step) + "/" + manifest.parts[index].name;
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? damaged(path, "is missing") : unreadable(path, errno);
  }
  return has_size(path, static_cast<std::uint64_t>(found.st_size),
                  manifest.parts[index].digest.size);
}

}  // namespace lockstep::saving
