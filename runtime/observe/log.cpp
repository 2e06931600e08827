// One spdlog logger to stderr; the only file that knows which logging library is used.
#include "runtime/observe/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace lockstep::log {
namespace {

// The logger outlives every session on purpose: the last words of a process come from destructors.
spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("lockstep",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("lockstep %l: %v");
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum level_of(Level level) {
  switch (level) {
    case Level::error:
      return spdlog::level::err;
    case Level::warn:
      return spdlog::level::warn;
    case Level::info:
      return spdlog::level::info;
    case Level::debug:
      break;
  }
  return spdlog::level::debug;
}

}  // namespace

void set_level(std::string_view name) {
  logger().set_level(name == "off"     ? spdlog::level::off
                     : name == "error" ? spdlog::level::err
                     : name == "info"  ? spdlog::level::info
                     : name == "debug" ? spdlog::level::debug
                                       : spdlog::level::warn);
}

void set_speaker(std::string speaker) {
  logger().set_pattern(fmt::format("lockstep %l: {}: %v", speaker));
}

void write(Level level, std::string_view text) {
  logger().log(level_of(level), text);
}

}  // namespace lockstep::log
