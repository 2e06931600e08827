// The folders of a store of checkpoints: one a step; which exist, which are in use, how they go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/saving/manifest.hpp"

namespace lockstep::saving {

std::string step_name(std::uint64_t step);  ///< "step-00000100"
std::optional<std::uint64_t> parse_step_name(std::string_view name);
inline std::string step_path(const std::string& store, std::uint64_t step) {
  return store + "/" + step_name(step);
}

/// Steps by whether they have a manifest, ascending. A store that is not there yet is empty.
struct StepList {
  std::vector<std::uint64_t> committed;
  std::vector<std::uint64_t> uncommitted;
};
Result<StepList> list_steps(const std::string& store);

struct LoadedManifest {
  Manifest manifest;
  std::string text;
};
/// LOCKSTEP_E_STATE: there is no checkpoint of that step. LOCKSTEP_E_IO: there is, but damaged.
Result<LoadedManifest> load_manifest(const std::string& store, std::uint64_t step);

/// While it lives, nobody takes the step's folder for a leftover. The store is made if its parent
/// is there, and the step's folder.
class FolderUse {
 public:
  static Result<FolderUse> enter(const std::string& store, std::uint64_t step);

 private:
  explicit FolderUse(UniqueFd lock) : lock_(std::move(lock)) {}
  UniqueFd lock_;
};

/// Makes the entries of a folder survive a power loss.
Status sync_folder(const std::string& path);

/// Removes a checkpoint, the manifest first, or what is left of one; leaves alone what is in use,
/// and files that are not lockstep's. Whatever it cannot remove, a later call will.
void remove_step(const std::string& store, std::uint64_t step);

/// Removes from the folder of a step what killed saves have left beside the manifest's parts.
void remove_strays(const std::string& store, const Manifest& manifest);

/// The same for a checkpoint whose saver was killed when it had just been committed.
void remove_strays_of_killed(const std::string& store, std::uint64_t step);

/// Removes the folder of a step that has failed, if there is nothing in it.
void remove_if_empty(const std::string& store, std::uint64_t step);

}  // namespace lockstep::saving
