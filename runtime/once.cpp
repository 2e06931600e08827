// Runs the producer on the first, and carries what it wrote: with the outcome, or in rounds.
#include "runtime/once.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "lockstep/bytes.h"
#include "lockstep/transport.h"
#include "runtime/base/unique_fd.hpp"

namespace lockstep {
namespace {

// The type of a successful outcome says where its bytes are.
constexpr const char* kInline = "inline";
constexpr const char* kStream = "stream";

/// Pieces are gathered up to this before the consumer sees them.
constexpr std::size_t kPiece = 64 * 1024;

Status failed(const Call& call, std::string_view what, int error) {
  return {LOCKSTEP_E_IO, fmt::format("{}: {}: {}", call.text(), what, std::strerror(error))};
}

/// A file without a name, so that nothing is left of it whatever happens.
Result<UniqueFd> make_spool(const Call& call) {
  std::error_code no_folder;
  std::filesystem::path folder = std::filesystem::temp_directory_path(no_folder);
  if (no_folder) folder = "/tmp";
  UniqueFd file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
    std::string name = (folder / "lockstep-once-XXXXXX").string();
    file.reset(mkostemp(name.data(), O_CLOEXEC));
    if (file) unlink(name.c_str());
  }
  if (!file) {
    return failed(call, fmt::format("no temporary file in {} (set TMPDIR)", folder.string()),
                  errno);
  }
  return file;
}

Status read_at(int file, std::span<std::byte> room, std::uint64_t offset, const Call& call) {
  std::size_t done = 0;
  while (done < room.size()) {
    const ssize_t got =
        pread(file, room.data() + done, room.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return failed(call, "cannot read the temporary file back", got < 0 ? errno : EIO);
    done += static_cast<std::size_t>(got);
  }
  return {};
}

/// Hands pieces on until the consumer has had enough.
class Intake {
 public:
  explicit Intake(const Consumer& consume) : consume_(consume) { pieces_.reserve(kPiece); }

  void add(std::span<const std::byte> bytes) {
    pieces_.insert(pieces_.end(), bytes.begin(), bytes.end());
    if (pieces_.size() >= kPiece) flush();
  }
  Status finish() {
    if (!pieces_.empty()) flush();
    return status_;
  }

 private:
  void flush() {
    if (status_.ok() && consume_) status_ = consume_(pieces_);
    pieces_.clear();
  }
  const Consumer& consume_;
  std::vector<std::byte> pieces_;
  Status status_;
};

struct Made {
  UniqueFd spool;
  std::uint64_t length = 0;
};

/// The first's part; a failure of the producer is left in `failure`.
Result<Made> make(const Call& call, const Producer& produce, Failure& failure) {
  Result<UniqueFd> spool = make_spool(call);
  if (!spool.ok()) return spool.status();
  if (auto its = produce(spool->get())) {
    failure = std::move(*its);
    return Status(LOCKSTEP_E_IO, fmt::format("{}: {}", call.text(), failure.text));
  }
  struct stat facts {};
  if (fstat(spool->get(), &facts) != 0) return failed(call, "cannot look at what was made", errno);
  Made made{std::move(*spool), static_cast<std::uint64_t>(facts.st_size)};
  if (made.length > LOCKSTEP_ONCE_MAX) {
    return Status(LOCKSTEP_E_LIMIT,
                  fmt::format("{}: {} bytes are more than the {} that travel this way; save them "
                              "into a file and hand on its path",
                              call.text(), made.length, LOCKSTEP_ONCE_MAX));
  }
  return made;
}

/// Everybody's part of a stream: all go through all rounds, whatever becomes of one of them.
Status stream(Group& group, Call call, Rank root, const Made* made, std::uint64_t length,
              const Consumer& consume) {
  call.operation = Operation::once;
  const bool is_root = group.rank() == root;
  constexpr std::uint64_t kCannotRead = 1;
  Intake intake(consume);
  Status reading;
  std::array<std::byte, LOCKSTEP_VECTOR_MAX> window;
  for (std::uint64_t at = 0; at < length; at += window.size()) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(window.size(), length - at));
    const std::span piece = std::span(window).first(size);
    std::fill(piece.begin(), piece.end(), std::byte{0});
    if (is_root) reading = read_at(made->spool.get(), piece, at, call);
    node::Words all;
    const std::uint64_t word = is_root && !reading.ok() ? kCannotRead : 0;
    if (Status status = group.round(call, {word, piece}, &all); !status.ok()) return status;
    if (all.word == kCannotRead) {
      if (is_root) return reading;
      return {LOCKSTEP_E_FIRST_FAILED,
              fmt::format("{}: rank {}, which went first, cannot read back what it has made; see "
                          "its message",
                          call.text(), group.ranks()[root])};
    }
    intake.add(all.vector);
  }
  return intake.finish();
}

Status take(std::span<const std::byte> bytes, const Consumer& consume) {
  return bytes.empty() || !consume ? Status{} : consume(bytes);
}

}  // namespace

Status once(Group& group, const Call& call, const SectionRules& rules, const Producer& produce,
            const Consumer& consume) {
  if (rules.policy == LOCKSTEP_CONTINUE_ON_ERROR) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("{}: LOCKSTEP_CONTINUE_ON_ERROR leaves nothing to go on with; choose "
                        "another policy",
                        call.text())};
  }
  if (Status status = group.first_begin(call, rules); !status.ok()) return status;
  if (!group.is_first()) {
    const engine::Outcome outcome = group.section_end()->outcome;
    if (Status status = group.first_end(); !status.ok()) return status;
    if (outcome.type == kInline) {
      return take(std::as_bytes(std::span(outcome.text)), consume);
    }
    std::uint64_t length = 0;
    const char* const digits = outcome.text.data();
    std::from_chars(digits, digits + outcome.text.size(), length);
    const auto root = std::lower_bound(group.ranks().begin(), group.ranks().end(), outcome.first);
    return stream(group, call, static_cast<Rank>(root - group.ranks().begin()), nullptr, length,
                  consume);
  }
  Failure failure;
  Result<Made> made = make(call, produce, failure);
  if (!made.ok()) {
    if (failure.text.empty()) failure.text = made.status().text();
    if (Status told = group.first_fail(failure.type, failure.text); !told.ok()) return told;
    return made.status();
  }
  const Rank root = group.rank();
  if (made->length > engine::kOutcomeTextMax || group.is_round_based()) {
    if (Status status = group.first_end(kStream, std::to_string(made->length)); !status.ok()) {
      return status;
    }
    return stream(group, call, root, &*made, made->length, consume);
  }
  std::string bytes(made->length, '\0');
  const auto room = std::as_writable_bytes(std::span(bytes));
  if (Status status = read_at(made->spool.get(), room, 0, call); !status.ok()) {
    if (Status told = group.first_fail("", status.text()); !told.ok()) return told;
    return status;
  }
  if (Status status = group.first_end(kInline, bytes); !status.ok()) return status;
  return take(std::as_bytes(std::span(bytes)), consume);
}

}  // namespace lockstep
