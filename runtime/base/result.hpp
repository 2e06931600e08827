// Status and Result: the only way a failure travels inside the runtime.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lockstep/error.h"

namespace lockstep {

/// A code and, for failures, one sentence that says what happened, why, and what to do; and the
/// ranks that were missing, if that is what happened. Success is one number and a null pointer.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(lockstep_status_t code, std::string text, std::vector<std::uint32_t> missing = {})
      : code_(code),
        detail_(std::make_shared<const Detail>(Detail{std::move(text), std::move(missing)})) {}

  static Status again() {
    Status status;
    status.code_ = LOCKSTEP_AGAIN;
    return status;
  }

  bool ok() const noexcept { return code_ == LOCKSTEP_OK; }
  bool is(lockstep_status_t code) const noexcept { return code_ == code; }
  lockstep_status_t code() const noexcept { return code_; }
  std::string text() const { return detail_ ? detail_->text : std::string(); }
  std::vector<std::uint32_t> missing() const {
    return detail_ ? detail_->missing : std::vector<std::uint32_t>();
  }

 private:
  struct Detail {
    std::string text;
    std::vector<std::uint32_t> missing;  ///< job ranks, ascending
  };
  lockstep_status_t code_ = LOCKSTEP_OK;
  std::shared_ptr<const Detail> detail_;
};

/// A value, or why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}           // NOLINT: implicit on purpose
  Result(Status failure) : value_(std::move(failure)) {}  // NOLINT: implicit on purpose

  bool ok() const noexcept { return std::holds_alternative<T>(value_); }
  const Status& status() const { return std::get<Status>(value_); }
  T& value() { return std::get<T>(value_); }
  const T& value() const { return std::get<T>(value_); }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> value_;
};

}  // namespace lockstep
