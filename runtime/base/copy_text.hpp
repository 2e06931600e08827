// Text into an array of fixed size, as the page and the structs of the C interface have them.
#pragma once

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>

namespace lockstep {

/// As much of it as fits before the NUL that ends it. `Array`: char[N] or std::array<char, N>.
template <class Array>
void copy_text(Array& to, std::string_view from) noexcept {
  const std::size_t length = std::min(from.size(), std::size(to) - 1);
  std::memcpy(std::data(to), from.data(), length);
  to[length] = '\0';
}

}  // namespace lockstep
