// A snapshot of the environment: the only door to it, so that tests can hand in their own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace lockstep {

class Environment {
 public:
  Environment() = default;
  explicit Environment(std::map<std::string, std::string, std::less<>> values)
      : values_(std::move(values)) {}

  /// Copies the process's environment as it is now.
  static Environment of_process();

  /// What a started process inherits, for posix_spawn().
  static char** to_inherit() noexcept;

  std::optional<std::string_view> get(std::string_view name) const;
  /// A non-negative decimal number; nothing if the variable is absent or anything else.
  std::optional<std::uint32_t> number(std::string_view name) const;

  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace lockstep
