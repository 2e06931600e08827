// dlopen by name along the search path; the ABI check; the survey for `lockstep info`.
#include "runtime/plugin/registry.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lockstep::plugin {
namespace {

constexpr const char* kPrefix = "lockstep_";
constexpr const char* kSuffix = ".so";

/// The table as it was at first; what was appended since is looked for through `size`.
constexpr std::size_t kTableFloor = offsetof(lockstep_plugin_t, gpu);

/// The folder this library was loaded from: plugins lie beside it, in a build and when installed.
std::filesystem::path own_folder() {
  Dl_info info{};
  static const char anchor = 0;
  if (dladdr(&anchor, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code ignored;
  return std::filesystem::weakly_canonical(info.dli_fname, ignored).parent_path();
}

const lockstep_gpu_t* gpu_of(const lockstep_plugin_t& table) {
  const bool has_field = table.size >= kTableFloor + sizeof table.gpu;
  return has_field ? table.gpu : nullptr;
}

Status check(const lockstep_plugin_t* table, const std::string& path) {
  const auto refuse = [&](std::string why) {
    return Status(LOCKSTEP_E_TRANSPORT, fmt::format("{}: {}", path, why));
  };
  if (table == nullptr) return refuse("its lockstep_plugin() returned nothing");
  if (table->abi != LOCKSTEP_PLUGIN_ABI) {
    return refuse(fmt::format("built for plugin ABI {}, this lockstep has {}; rebuild it",
                              table->abi, LOCKSTEP_PLUGIN_ABI));
  }
  if (table->size < kTableFloor || table->name == nullptr) {
    return refuse("its table is too short");
  }
  if (table->transport != nullptr && table->transport->size < sizeof(lockstep_transport_t)) {
    return refuse("its transport table is too short");
  }
  if (table->group_operation != nullptr &&
      table->group_operation->size < sizeof(lockstep_group_operation_t)) {
    return refuse("its group operation table is too short");
  }
  const lockstep_gpu_t* const gpu = gpu_of(*table);
  if (gpu != nullptr && gpu->size < sizeof(lockstep_gpu_t)) {
    return refuse("its GPU table is too short");
  }
  if (table->transport == nullptr && table->group_operation == nullptr && gpu == nullptr) {
    return refuse("it offers neither a transport nor a group operation, nor knows about GPUs");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Plugin>> Plugin::load(const std::string& path) {
  // dlopen opens whatever lies there, and waits for ever for the writer of a pipe.
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return Status(LOCKSTEP_E_TRANSPORT,
                  fmt::format("{}: {}", path, error ? error.message() : "it is not a plain file"));
  }
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Status(LOCKSTEP_E_TRANSPORT, dlerror());
  const auto entry =
      reinterpret_cast<lockstep_plugin_function_t>(dlsym(handle, LOCKSTEP_PLUGIN_SYMBOL));
  if (entry == nullptr) {
    dlclose(handle);
    return Status(LOCKSTEP_E_TRANSPORT,
                  fmt::format("{}: no symbol {}", path, LOCKSTEP_PLUGIN_SYMBOL));
  }
  const lockstep_plugin_t* const table = entry();
  if (Status status = check(table, path); !status.ok()) {
    dlclose(handle);
    return status;
  }
  return std::unique_ptr<Plugin>(new Plugin(handle, table, path));
}

Plugin::~Plugin() {
  dlclose(handle_);
}

const lockstep_gpu_t* Plugin::gpu() const noexcept {
  return gpu_of(*table_);
}

const std::vector<std::string>& preferred() {
  static const std::vector<std::string> names = {"ucx", "pmix_fence"};
  return names;
}

std::vector<std::string> folders(const Config& config) {
  std::vector<std::string> list;
  for (std::size_t at = 0; at < config.plugin_path.size();) {
    const std::size_t end = std::min(config.plugin_path.find(':', at), config.plugin_path.size());
    if (end > at) list.push_back(config.plugin_path.substr(at, end - at));
    at = end + 1;
  }
  const std::filesystem::path own = own_folder();
  list.push_back((own / "lockstep").string());
  list.push_back((own / "plugins").string());
  list.push_back((own.parent_path() / "plugins").string());
  return list;
}

Result<std::unique_ptr<Plugin>> find(const std::string& name, const Config& config) {
  const std::vector<std::string> places = folders(config);
  for (const std::string& folder : places) {
    const std::filesystem::path path = std::filesystem::path(folder) / (kPrefix + name + kSuffix);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return Plugin::load(path.string());
  }
  return Status(LOCKSTEP_E_TRANSPORT,
                fmt::format("no plugin {}{}{} in {}; install it, or set LOCKSTEP_PLUGIN_PATH",
                            kPrefix, name, kSuffix, fmt::join(places, ", ")));
}

std::vector<Candidate> survey(const Config& config) {
  std::vector<Candidate> candidates;
  std::set<std::string> seen;
  const auto add = [&](const std::string& name) {
    if (!seen.insert(name).second) return;
    Candidate candidate;
    candidate.name = name;
    Result<std::unique_ptr<Plugin>> found = find(name, config);
    if (found.ok()) {
      const lockstep_plugin_t& table = (*found)->table();
      if (!(*found)->is_transport()) return;  // nothing between nodes
      candidate.version = table.version != nullptr ? table.version : "";
      candidate.path = (*found)->path();
      candidate.is_usable = true;
      candidate.verdict = table.transport != nullptr ? "can be used: frames between ranks"
                                                     : "can be used: group operation";
    } else {
      candidate.verdict = found.status().text();
    }
    candidates.push_back(std::move(candidate));
  };
  for (const std::string& name : preferred()) add(name);
  for (const std::string& folder : folders(config)) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      const std::string file = entry.path().filename().string();
      if (file.starts_with(kPrefix) && file.ends_with(kSuffix)) {
        add(file.substr(std::string(kPrefix).size(),
                        file.size() - std::string(kPrefix).size() - std::string(kSuffix).size()));
      }
    }
  }
  return candidates;
}

}  // namespace lockstep::plugin
