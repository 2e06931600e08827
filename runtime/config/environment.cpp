// The one place that reads the process's environment.
#include "runtime/config/environment.hpp"

#include <unistd.h>

#include <charconv>

namespace lockstep {

Environment Environment::of_process() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.values_.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

char** Environment::to_inherit() noexcept {
  return environ;
}

std::optional<std::string_view> Environment::get(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return std::string_view(found->second);
}

std::optional<std::uint32_t> Environment::number(std::string_view name) const {
  const auto text = get(name);
  if (!text || text->empty()) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

}  // namespace lockstep
