// The session's life after joining.
#include "runtime/session.hpp"

#include <algorithm>

#include "runtime/lifecycle/signals.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/plugin/plugin_log.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep {
Session::~Session() {
  saves_.reset();  // parts that were never committed go
  if (job_ != nullptr) {
    if (record_.requeue) carry_out_requeue();
    write_record();
  }
  lifecycle::tell_of_signals(nullptr, nullptr);
  stream_barriers_.clear();  // they have threads that use groups
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
  environment.log = plugin::log_for_plugin;
  Result<std::unique_ptr<progress::Port>> port =
      progress::Port::open(std::move(*plugin), environment, counters_);
  if (!port.ok()) return port.status();
  port_ = std::move(*port);
  return {};
}

Result<progress::Port*> Session::make_reachable() {
  std::lock_guard lock(port_mutex_);
  if (Status status = open_port(); !status.ok()) return status;
  around_->port = port_.get();
  port_->set_session(page_.head().session);
  if (!port_->has_thread()) port_->start_thread();
  return port_.get();
}

void Session::write_record() const {
  if (identity().rank != 0 || config_.record.empty()) return;
  if (Status status = record_.write(config_.record, identity()); !status.ok()) {
    log::warn("LOCKSTEP_RECORD: {}", status.text());
  }
}

void Session::saw_save(const std::string& path, Nanos took) {
  watch_.saw_save(took);
  std::lock_guard lock(record_mutex_);
  record_.save = LastSave{path, std::time(nullptr), static_cast<double>(took) * 1e-9};
}

void Session::free(Group* group) {
  if (scopes_.owns(group)) return;
  if (group == job_.get() || group == local_.get()) return;  // what is known of them stays
  release(group);
}

void Session::release(Group* group) {
  stream_barriers_.forget(group);
  for (Group* const part : scopes_.forget(group)) release(part);
  std::lock_guard lock(groups_mutex_);
  std::erase_if(groups_, [group](const auto& owned) { return owned.get() == group; });
}

}  // namespace lockstep
