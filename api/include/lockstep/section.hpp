// Sections in which one goes first, and how they end. Part of lockstep/lockstep.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>

#include "lockstep/call.hpp"
#include "lockstep/error.hpp"
#include "lockstep/lockstep.h"

namespace lockstep {

/// How a section ended; see lockstep_outcome_t.
struct Outcome {
  enum class Kind {
    ok = LOCKSTEP_OUTCOME_OK,
    failed = LOCKSTEP_OUTCOME_FAILED,
    dead = LOCKSTEP_OUTCOME_DEAD,
  };
  Kind kind;
  std::uint32_t rank;      ///< who went first, as a job rank
  std::uint32_t attempts;  ///< ranks that have tried
  std::string host;
  std::string site;  ///< the first's call
  std::string type;  ///< of its failure
  std::string text;

  explicit Outcome(const lockstep_outcome_t& outcome)
      : kind(static_cast<Kind>(outcome.kind)),
        rank(outcome.rank),
        attempts(outcome.attempts),
        host(outcome.host),
        site(outcome.site),
        type(outcome.type),
        text(outcome.text) {}
};

/// What becomes of a section whose first fails or dies; see lockstep_policy_t.
enum class Policy {
  propagate = LOCKSTEP_PROPAGATE,
  retry_next = LOCKSTEP_RETRY_NEXT,
  continue_on_error = LOCKSTEP_CONTINUE_ON_ERROR,
  abort_job = LOCKSTEP_ABORT_JOB,
};

/// How a section is made: main_process_first(f, {.policy = Policy::retry_next}).
struct SectionOptions {
  const char* name = nullptr;  ///< members must agree on it; borrowed until the section's begin
  /// How long to wait for the first. Zero or negative: as long as it takes.
  std::chrono::nanoseconds timeout{0};
  Policy policy = Policy::propagate;  ///< members must agree on it
  bool exit_barrier = false;          ///< nobody leaves before everybody is done; agreed too

  lockstep_call_t at(const Where& where) const noexcept { return Options{name, timeout}.at(where); }
  lockstep_section_t section() const noexcept {
    return {sizeof(lockstep_section_t), static_cast<std::int32_t>(policy), exit_barrier ? 1 : 0};
  }
};

/// An open section of which this process may be the first. Ends with the scope; a scope that is
/// left by an exception tells the others so (use the callable form to tell them the exception's
/// text).
class [[nodiscard]] FirstScope {
 public:
  FirstScope(lockstep_group_t group, const SectionOptions& options, const Where& where)
      : group_(group), exceptions_(std::uncaught_exceptions()) {
    const lockstep_call_t call = options.at(where);
    const lockstep_section_t section = options.section();
    detail::check(lockstep_first_begin(group, &section, &call));
    is_first_ = lockstep_is_first(group) != 0;
  }
  FirstScope(const FirstScope&) = delete;
  FirstScope& operator=(const FirstScope&) = delete;
  ~FirstScope() {
    if (!is_open_) return;
    if (std::uncaught_exceptions() > exceptions_) {
      fail("its section was left by an exception");
    } else {
      lockstep_first_end(group_);
    }
  }
  /// This process goes first.
  bool is_first() const noexcept { return is_first_; }
  /// Ends the section now, with success.
  void end() {
    is_open_ = false;
    detail::check(lockstep_first_end(group_));
  }
  /// Ends the section now and tells the others why it failed, and as what.
  void fail(const char* why, const char* type = nullptr) noexcept {
    is_open_ = false;
    lockstep_first_fail(group_, type, why);
  }

 private:
  lockstep_group_t group_;
  int exceptions_;
  bool is_first_ = false;
  bool is_open_ = true;
};

}  // namespace lockstep
