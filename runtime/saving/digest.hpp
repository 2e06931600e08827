// Size and hash of a file's content: how two processes know that they see the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"

namespace lockstep::saving {

/// XXH3 with 128 bits finds what was damaged; it is no protection against forgery.
struct Digest {
  std::uint64_t size = 0;
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const Digest&) const = default;
};

/// The hash as 32 hexadecimal digits, the canonical form (`xxhsum -H128` prints the same).
std::string hex(const Digest& digest);
/// Sets high and low; false if it is not 32 lower-case hexadecimal digits.
bool parse_hex(std::string_view text, Digest& digest);

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void add(const void* bytes, std::size_t length);
  Digest digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::uint64_t size_ = 0;
};

Digest digest_of(std::string_view bytes);
/// All that is in the file, from its beginning; nothing with errno set if it cannot be read.
std::optional<Digest> digest_of_file(int descriptor);

}  // namespace lockstep::saving
