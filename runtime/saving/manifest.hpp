// What makes a checkpoint: the list of its parts, written last. docs/saving.md has the format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/saving/digest.hpp"

namespace lockstep::saving {

struct PartEntry {
  std::string name;  ///< a file beside the manifest
  Digest digest;
  bool operator==(const PartEntry&) const = default;
};

struct Manifest {
  std::uint64_t step = 0;
  std::string saved;             ///< when: "2026-11-26T15:00:00Z"
  std::vector<PartEntry> parts;  ///< by rank of the group that saved it

  std::uint64_t bytes() const;
  bool operator==(const Manifest&) const = default;
};

inline constexpr const char* kManifestName = "manifest.json";

/// The part of a rank, unlike that of any other attempt at the same step.
std::string part_name(std::uint32_t rank, std::uint32_t attempt);
/// Whether part_name() can have made it; anything with a folder in it is not.
bool is_part_name(std::string_view name);

std::string manifest_text(const Manifest& manifest);
/// LOCKSTEP_E_IO says what is wrong with it.
Result<Manifest> parse_manifest(std::string_view text);

}  // namespace lockstep::saving
