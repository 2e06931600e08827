// What the C++ interface throws. Part of lockstep/lockstep.hpp.
#pragma once

#include <cxxabi.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "lockstep/lockstep.h"

namespace lockstep {

/// Base of everything lockstep throws. what() says what happened, why, and what to do.
class Error : public std::runtime_error {
 public:
  Error(lockstep_status_t status, const std::string& text)
      : std::runtime_error(text), status_(status) {}
  lockstep_status_t status() const noexcept { return status_; }

 private:
  lockstep_status_t status_;
};

/// The caller's mistake; nothing changed (LOCKSTEP_E_INVALID .. _LIMIT).
class UsageError : public Error {
  using Error::Error;
};
/// Memory, descriptors or files of this process (LOCKSTEP_E_RESOURCE .. _UNSUPPORTED).
class ResourceError : public Error {
  using Error::Error;
};
/// The rank that went first failed; what() is its text with rank and host. The group goes on.
class FirstFailed : public Error {
  using Error::Error;
};
/// The group cannot be used any more: a deadline, a mismatch, or a lost member.
class BrokenGroup : public Error {
 public:
  BrokenGroup(lockstep_status_t status, const std::string& text, std::vector<std::uint32_t> missing)
      : Error(status, text), missing_(std::move(missing)) {}
  /// Job ranks that were missing, in ascending order; empty for a mismatch.
  const std::vector<std::uint32_t>& missing() const noexcept { return missing_; }

 private:
  std::vector<std::uint32_t> missing_;
};
/// There is no session (LOCKSTEP_E_CONFIG .. _TRANSPORT).
class SessionError : public Error {
  using Error::Error;
};

namespace detail {

[[noreturn]] inline void fail(lockstep_status_t status) {
  const std::string text = lockstep_last_error();
  if (status == LOCKSTEP_E_FIRST_FAILED) throw FirstFailed(status, text);
  if (status >= -19) throw UsageError(status, text);
  if (status >= -39) throw ResourceError(status, text);
  if (status >= -79) {
    std::vector<std::uint32_t> missing(lockstep_last_missing(nullptr, 0));
    lockstep_last_missing(missing.data(), missing.size());
    throw BrokenGroup(status, text, std::move(missing));
  }
  throw SessionError(status, text);
}

inline void check(lockstep_status_t status) {
  if (status != LOCKSTEP_OK) fail(status);
}

/// "std::runtime_error" of what was thrown as one.
inline std::string type_name(const std::exception& error) {
  const char* const mangled = typeid(error).name();
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return status == 0 ? name.get() : mangled;
}

/// The exception that is being handled, as the others are told of it.
struct Thrown {
  std::string type;
  std::string text;

  static Thrown now() {
    try {
      throw;
    } catch (const std::exception& error) {
      return {type_name(error), error.what()};
    } catch (...) {
      return {{}, "it threw something that is not a std::exception"};
    }
  }
};

}  // namespace detail
}  // namespace lockstep
