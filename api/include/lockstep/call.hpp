// Where and how a call of the C++ interface is made. Part of lockstep/lockstep.hpp.
#pragma once

#include <chrono>
#include <cstdint>

#include "lockstep/lockstep.h"

namespace lockstep {

/// The place of a call. std::source_location in all but name: clang 14 has none.
struct Where {
  const char* file;
  std::uint32_t line;
  static constexpr Where current(const char* file = __builtin_FILE(),
                                 std::uint32_t line = __builtin_LINE()) noexcept {
    return {file, line};
  }
};

/// How a call is made: wait_for_everyone({.name = "epoch end", .timeout = 5s}).
struct Options {
  const char* name = nullptr;  ///< members must agree on it; borrowed
  /// Zero: the configured default. Negative: never give up.
  std::chrono::nanoseconds timeout{0};

  lockstep_call_t at(const Where& where) const noexcept {
    const std::int64_t ns = timeout.count();
    return {name, where.file, where.line, ns < 0 ? LOCKSTEP_FOREVER : ns};
  }
};

}  // namespace lockstep
