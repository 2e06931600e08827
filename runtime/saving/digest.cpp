// XXH3 from its header, so that there is no further library to have at run time.
#include "runtime/saving/digest.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace lockstep::saving {

struct Hasher::State {
  XXH3_state_t xxh3;
};

namespace {

constexpr std::size_t kDigits = 32;
constexpr std::size_t kPiece = std::size_t{1} << 20;

Digest from(const XXH128_hash_t& hash, std::uint64_t size) {
  return {size, hash.high64, hash.low64};
}

/// Exactly `digits` of them; anything else is refused.
bool parse_digits(std::string_view text, std::uint64_t& value) {
  value = 0;
  for (const char c : text) {
    const bool is_number = c >= '0' && c <= '9';
    if (!is_number && (c < 'a' || c > 'f')) return false;
    value = value << 4 | static_cast<std::uint64_t>(is_number ? c - '0' : c - 'a' + 10);
  }
  return true;
}

}  // namespace

std::string hex(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

bool parse_hex(std::string_view text, Digest& digest) {
  if (text.size() != kDigits) return false;
  return parse_digits(text.substr(0, kDigits / 2), digest.high) &&
         parse_digits(text.substr(kDigits / 2), digest.low);
}

Hasher::Hasher() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh3);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(const void* bytes, std::size_t length) {
  XXH3_128bits_update(&state_->xxh3, bytes, length);
  size_ += length;
}

Digest Hasher::digest() const {
  return from(XXH3_128bits_digest(&state_->xxh3), size_);
}

Digest digest_of(std::string_view bytes) {
  return from(XXH3_128bits(bytes.data(), bytes.size()), bytes.size());
}

std::optional<Digest> digest_of_file(int descriptor) {
  Hasher hasher;
  std::vector<char> room(kPiece);
  off_t at = 0;
  for (;;) {
    const ssize_t got = pread(descriptor, room.data(), room.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return hasher.digest();
    hasher.add(room.data(), static_cast<std::size_t>(got));
    at += got;
  }
}

}  // namespace lockstep::saving
