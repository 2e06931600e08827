// Reading addresses of nodes, and numbering the tiers that they span.
#include "runtime/topology/switches.hpp"

#include <algorithm>
#include <charconv>
#include <map>

namespace lockstep::topology {
namespace {

/// Splits at dots outside brackets: Slurm may name several switches at once, "s[1-2]".
std::vector<std::string_view> components(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  int brackets = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '[') ++brackets;
    if (text[i] == ']') --brackets;
    if (text[i] != '.' || brackets > 0) continue;
    parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

/// "name:position" of a ring is a place on it; the ring is what nodes share.
std::string_view without_position(std::string_view component, std::string_view form) {
  return form.find(':') == std::string_view::npos ? component
                                                  : component.substr(0, component.find(':'));
}

}  // namespace

std::optional<SwitchPath> read_slurm_address(std::string_view address, std::string_view pattern) {
  const std::vector<std::string_view> forms = components(pattern);
  const std::vector<std::string_view> parts = components(address);
  if (forms.back() != "node" || parts.size() < forms.size() || forms.size() > kSwitchesMax ||
      address.size() > kSwitchTextMax) {
    return std::nullopt;
  }
  SwitchPath path;
  for (std::size_t i = 0; i + 1 < forms.size(); ++i) {
    const std::string_view name = without_position(parts[i], forms[i]);
    // The level above several trees has no name.
    if (!name.empty()) path.emplace_back(name);
  }
  return path;
}

std::optional<SwitchPath> read_path(std::string_view text) {
  if (text.empty()) return SwitchPath{};
  if (text.size() > kSwitchTextMax) return std::nullopt;
  SwitchPath path;
  for (const std::string_view name : components(text)) {
    if (name.empty()) return std::nullopt;
    path.emplace_back(name);
  }
  if (path.size() > kSwitchesMax) return std::nullopt;
  return path;
}

std::string path_text(const SwitchPath& path) {
  std::string text;
  for (const std::string& name : path) {
    if (!text.empty()) text += '.';
    text += name;
  }
  return text;
}

Tiers::Tiers(const std::vector<SwitchPath>& paths) : tier_(paths.size()) {
  for (const SwitchPath& path : paths) depth_ = std::max(depth_, path.size());
  for (std::size_t level = 0; level < depth_; ++level) {
    // A switch is known by all the names above it: two trees may use one name each.
    std::map<std::pair<std::uint32_t, std::string>, std::uint32_t> numbers;
    std::uint32_t count = 0;
    for (std::uint32_t node = 0; node < tier_.size(); ++node) {
      const std::uint32_t above = level == 0 ? 0 : tier_[node][level - 1];
      if (paths[node].size() <= level) {
        tier_[node].push_back(count++);  // on its own
        continue;
      }
      const auto [found, is_new] = numbers.try_emplace({above, paths[node][level]}, count);
      if (is_new) ++count;
      tier_[node].push_back(found->second);
    }
    leaves_ = count;
  }
}

std::optional<std::vector<SwitchPath>> synthetic(std::string_view text) {
  constexpr std::uint64_t kNodesMax = 1'000'000;
  std::vector<SwitchPath> paths{{}};
  bool has_nodes = false;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    const std::size_t colon = word.find(':');
    const std::string_view kind = word.substr(0, colon);
    std::uint32_t count = 0;
    if (colon == std::string_view::npos || has_nodes || (kind != "switch" && kind != "node")) {
      return std::nullopt;
    }
    const char* const last = word.data() + word.size();
    const auto [end, error] = std::from_chars(word.data() + colon + 1, last, count);
    if (error != std::errc() || end != last || count == 0) return std::nullopt;
    if (paths.size() * std::uint64_t{count} > kNodesMax) return std::nullopt;
    has_nodes = kind == "node";
    std::vector<SwitchPath> below;
    for (const SwitchPath& path : paths) {
      for (std::uint32_t i = 0; i < count; ++i) {
        below.push_back(path);
        if (!has_nodes) below.back().push_back("s" + std::to_string(i));
      }
    }
    paths = std::move(below);
  }
  if (!has_nodes) return std::nullopt;
  return paths;
}

}  // namespace lockstep::topology
