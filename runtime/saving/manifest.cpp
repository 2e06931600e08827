// The manifest as JSON. Whatever is in the file, parsing it ends with a manifest or a reason.
#include "runtime/saving/manifest.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lockstep/lockstep.h"

namespace lockstep::saving {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "lockstep checkpoint";
constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kPrefix = "part-";
constexpr std::size_t kAttemptDigits = 8;
constexpr std::size_t kLeastRankDigits = 5;

#define LOCKSTEP_TEXT_OF(x) #x
#define LOCKSTEP_TEXT(x) LOCKSTEP_TEXT_OF(x)
constexpr const char* kLibrary = LOCKSTEP_TEXT(LOCKSTEP_VERSION_MAJOR) "." LOCKSTEP_TEXT(
    LOCKSTEP_VERSION_MINOR) "." LOCKSTEP_TEXT(LOCKSTEP_VERSION_PATCH);

Status bad(const std::string& what) {
  return {LOCKSTEP_E_IO, fmt::format("the manifest {}", what)};
}

bool is_number(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned();
}
bool is_text(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string();
}

bool all_of_class(std::string_view text, bool (*is_fine)(char)) {
  return std::all_of(text.begin(), text.end(), is_fine);
}

/// The rank in a name that is_part_name().
bool belongs_to(std::string_view name, std::size_t rank) {
  return name.substr(0, name.size() - kAttemptDigits) == fmt::format("{}{:05}-", kPrefix, rank);
}

Result<PartEntry> parse_part(const Json& part, std::size_t rank) {
  if (!part.is_object() || !is_text(part, "name") || !is_number(part, "size") ||
      !is_text(part, "xxh3_128")) {
    return bad(fmt::format("has no name, size and xxh3_128 of part {}", rank));
  }
  PartEntry entry{part["name"].get<std::string>(), {part["size"].get<std::uint64_t>(), 0, 0}};
  if (!is_part_name(entry.name) || !belongs_to(entry.name, rank)) {
    return bad(fmt::format("has a name that part {} cannot have", rank));
  }
  if (!parse_hex(part["xxh3_128"].get<std::string>(), entry.digest)) {
    return bad(fmt::format("has something else than 32 hexadecimal digits for part {}", rank));
  }
  return entry;
}

}  // namespace

std::uint64_t Manifest::bytes() const {
  std::uint64_t sum = 0;
  for (const PartEntry& part : parts) sum += part.digest.size;
  return sum;
}

std::string part_name(std::uint32_t rank, std::uint32_t attempt) {
  return fmt::format("{}{:05}-{:08x}", kPrefix, rank, attempt);
}

bool is_part_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  const auto dash = name.find('-');
  if (dash == name.npos || dash < kLeastRankDigits) return false;
  const std::string_view attempt = name.substr(dash + 1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return all_of_class(name.substr(0, dash), is_digit) && attempt.size() == kAttemptDigits &&
         all_of_class(attempt, is_hex);
}

std::string manifest_text(const Manifest& manifest) {
  Json parts = Json::array();
  for (const PartEntry& part : manifest.parts) {
    parts.push_back(
        {{"name", part.name}, {"size", part.digest.size}, {"xxh3_128", hex(part.digest)}});
  }
  const Json json = {{"format", kFormat},         {"version", kVersion},
                     {"step", manifest.step},     {"ranks", manifest.parts.size()},
                     {"saved", manifest.saved},   {"lockstep", kLibrary},
                     {"bytes", manifest.bytes()}, {"parts", std::move(parts)}};
  return json.dump(2) + "\n";
}

Result<Manifest> parse_manifest(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return bad("is not JSON");
  if (!is_text(json, "format") || json["format"] != kFormat || !is_number(json, "version")) {
    return bad("is that of something else");
  }
  if (json["version"].get<std::uint64_t>() != kVersion) {
    return bad(fmt::format("has version {}, and this lockstep reads {}: use a newer one",
                           json["version"].get<std::uint64_t>(), kVersion));
  }
  if (!is_number(json, "step") || !is_number(json, "ranks") || !is_text(json, "saved") ||
      !json.contains("parts") || !json["parts"].is_array()) {
    return bad("has no step, ranks, saved and parts");
  }
  Manifest manifest{json["step"].get<std::uint64_t>(), json["saved"].get<std::string>(), {}};
  const Json& parts = json["parts"];
  if (parts.empty() || parts.size() != json["ranks"].get<std::uint64_t>()) {
    return bad("has not as many parts as ranks");
  }
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    Result<PartEntry> part = parse_part(parts[rank], rank);
    if (!part.ok()) return part.status();
    manifest.parts.push_back(std::move(*part));
  }
  return manifest;
}

}  // namespace lockstep::saving
