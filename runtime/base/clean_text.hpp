// Text of unknown origin made fit for a terminal: what other processes wrote may be anything.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace lockstep {

namespace detail {
/// Length of the well-formed UTF-8 character that `text` begins with; 0 if there is none.
inline std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const bool is_overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool is_beyond = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return is_overlong || is_beyond ? 0 : length;
}
}  // namespace detail

/// At most `most` bytes of `text`, up to its first NUL: control characters and what is not UTF-8
/// become '?', and no character is cut in the middle.
inline std::string clean_text(std::string_view text, std::size_t most) {
  text = text.substr(0, std::min(text.find('\0'), text.size()));
  std::string clean;
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const auto lead = static_cast<unsigned char>(text[0]);
    // 0x80 to 0x9f are control characters too; a terminal may take them for the start of commands.
    const bool is_c1 = length == 2 && lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    const bool is_control = lead < 0x20 || lead == 0x7f || is_c1;
    const std::size_t step = std::max<std::size_t>(length, 1);
    const std::string_view shown =
        length == 0 || is_control ? std::string_view("?") : text.substr(0, length);
    if (clean.size() + shown.size() > most) break;
    clean += shown;
    text.remove_prefix(step);
  }
  return clean;
}

}  // namespace lockstep
