// Log lines on stderr, each with the rank and host that speaks.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace lockstep::log {

enum class Level { error, warn, info, debug };

/// Sets the level by its name in LOCKSTEP_LOG; "off" silences everything.
void set_level(std::string_view name);
/// From now on lines begin with this, e.g. "rank 3 on n1".
void set_speaker(std::string speaker);

void write(Level level, std::string_view text);

template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lockstep::log
