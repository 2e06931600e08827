// Finds, loads and checks plugins, and says of each transport why it was or was not chosen.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lockstep/gpu.h"
#include "lockstep/transport.h"
#include "runtime/base/result.hpp"
#include "runtime/config/config.hpp"

namespace lockstep::plugin {

/// A loaded plugin; unloaded when destroyed.
class Plugin {
 public:
  static Result<std::unique_ptr<Plugin>> load(const std::string& path);
  ~Plugin();
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  const lockstep_plugin_t& table() const noexcept { return *table_; }
  /// What it knows about GPUs; nullptr: nothing, or it is older than that table.
  const lockstep_gpu_t* gpu() const noexcept;
  /// Whether it can carry rounds between nodes, in one way or the other.
  bool is_transport() const noexcept {
    return table_->transport != nullptr || table_->group_operation != nullptr;
  }
  const std::string& path() const noexcept { return path_; }

 private:
  Plugin(void* handle, const lockstep_plugin_t* table, std::string path)
      : handle_(handle), table_(table), path_(std::move(path)) {}
  void* handle_;
  const lockstep_plugin_t* table_;
  std::string path_;
};

/// One candidate and what became of it.
struct Candidate {
  std::string name;
  std::string version;
  std::string path;
  std::string verdict;  ///< "can be used", "not found in ...", "refused: ..."
  bool is_usable = false;
};

/// Names in the order of preference: what LOCKSTEP_TRANSPORT=auto tries.
const std::vector<std::string>& preferred();

/// Folders that are searched, in order: LOCKSTEP_PLUGIN_PATH, beside the library, installed.
std::vector<std::string> folders(const Config& config);

/// Loads the plugin called `name`. The text of a failure says where it was looked for.
Result<std::unique_ptr<Plugin>> find(const std::string& name, const Config& config);

/// Every transport that can be seen from here, for `lockstep info`.
std::vector<Candidate> survey(const Config& config);

}  // namespace lockstep::plugin
