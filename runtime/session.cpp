// The session's life after joining, and the trigger.
#include "runtime/session.hpp"

#include <algorithm>

#include "runtime/observe/log.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep {
namespace {

void log_for_plugin(void*, int level, const char* text) {
  switch (level) {
    case LOCKSTEP_LOG_ERROR:
      log::error("{}", text);
      break;
    case LOCKSTEP_LOG_WARN:
      log::warn("{}", text);
      break;
    case LOCKSTEP_LOG_INFO:
      log::info("{}", text);
      break;
    default:
      log::debug("{}", text);
      break;
  }
}

}  // namespace

Session::~Session() {
  // Groups first: leaving them tells waiting members that this one is gone. Then the port, which
  // delivers what was promised; then the page under all of them.
  groups_.clear();
  local_.reset();
  job_.reset();
  port_.reset();
  around_.reset();
}

Status Session::open_port() {
  if (port_ != nullptr) return {};
  Result<std::unique_ptr<plugin::Plugin>> plugin = plugin::find(transport_, config_);
  if (!plugin.ok()) return plugin.status();
  const bootstrap::Identity& who = identity();
  lockstep_environment_t environment{};
  environment.size = sizeof environment;
  environment.rank = who.rank;
  environment.ranks = who.size;
  environment.peers = static_cast<std::uint32_t>(who.hosts.size()) - 1;
  environment.interface = config_.interface.c_str();
  environment.log = log_for_plugin;
  Result<std::unique_ptr<progress::Port>> port =
      progress::Port::open(std::move(*plugin), environment, counters_);
  if (!port.ok()) return port.status();
  port_ = std::move(*port);
  return {};
}

void Session::free(Group* group) {
  std::lock_guard lock(groups_mutex_);
  std::erase_if(groups_, [group](const auto& owned) { return owned.get() == group; });
}

Result<bool> Session::check_trigger(const Call& call) {
  const bool mine = trigger_.exchange(false, std::memory_order_acq_rel);
  node::Words result;
  if (Status status = job_->round(call, {mine ? 1u : 0u, {}}, &result); !status.ok()) {
    if (mine) trigger_.store(true, std::memory_order_release);
    return status;
  }
  return (result.word & 1) != 0;
}

}  // namespace lockstep
