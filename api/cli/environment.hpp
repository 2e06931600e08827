// The environment as a value, because ranks must not inherit an outer launcher's identity.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::cli {

class Environment {
 public:
  Environment() = default;
  /// Copies a NULL-terminated list such as `environ`.
  explicit Environment(const char* const* entries);

  [[nodiscard]] std::optional<std::string> find(std::string_view name) const;
  /// Adds or replaces; `assignment` is NAME=VALUE.
  void set(const std::string& assignment);
  /// This environment less what tells a process which task of which outer launcher it is.
  [[nodiscard]] Environment without_outer_launcher() const;
  [[nodiscard]] const std::vector<std::string>& entries() const { return entries_; }

 private:
  std::vector<std::string> entries_;
};

/// True for variables by which srun, mpirun, PMIx and PMI tell a task who it is.
[[nodiscard]] bool belongs_to_outer_launcher(std::string_view name);

}  // namespace lockstep::cli
