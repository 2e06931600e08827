// The table of the ucx plugin: checks arguments and lets no exception out.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "lockstep/transport.h"
#include "plugins/ucx/worker.hpp"

namespace {

using lockstep::ucx::Worker;

Worker& worker_of(void* self) {
  return *static_cast<Worker*>(self);
}

std::span<const std::byte> bytes_of(const void* data, std::size_t length) {
  return {static_cast<const std::byte*>(data), length};
}

lockstep_status_t ucx_open(const lockstep_environment_t* environment, void** self_p, char* why,
                           std::size_t why_size) {
  try {
    auto worker = std::make_unique<Worker>(*environment);
    std::string reason;
    const lockstep_status_t status = worker->open(*environment, reason);
    if (status != LOCKSTEP_OK) {
      std::snprintf(why, why_size, "%s", reason.c_str());
      return status;
    }
    *self_p = worker.release();
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "%s", error.what());
  } catch (...) {
    std::snprintf(why, why_size, "unknown exception");
  }
  return LOCKSTEP_E_RESOURCE;
}

void ucx_close(void* self) {
  delete static_cast<Worker*>(self);
}

lockstep_status_t ucx_address(void* self, void* buffer, std::size_t* length_p) {
  if (buffer == nullptr || length_p == nullptr) return LOCKSTEP_E_INVALID;
  const std::span<const std::byte> address = worker_of(self).address();
  if (*length_p < address.size()) return LOCKSTEP_E_LIMIT;
  std::memcpy(buffer, address.data(), address.size());
  *length_p = address.size();
  return LOCKSTEP_OK;
}

lockstep_status_t ucx_connect(void* self, std::uint32_t peer, const void* address,
                              std::size_t length) {
  if (address == nullptr) return LOCKSTEP_E_INVALID;
  try {
    return worker_of(self).connect(peer, bytes_of(address, length));
  } catch (...) {
    return LOCKSTEP_E_RESOURCE;
  }
}

// post, poll, arm and close are noexcept down to UCX, so they need no border.
lockstep_status_t ucx_post(void* self, std::uint32_t peer, const void* frame, std::size_t length) {
  if (frame == nullptr || length == 0) return LOCKSTEP_E_INVALID;
  if (length > LOCKSTEP_FRAME_MAX) return LOCKSTEP_E_LIMIT;
  return worker_of(self).post(peer, bytes_of(frame, length));
}

std::size_t ucx_poll(void* self, const lockstep_inbox_t* inbox) {
  return worker_of(self).poll(*inbox);
}

int ucx_wake_fd(void* self) {
  return worker_of(self).wake_fd();
}

lockstep_status_t ucx_arm(void* self) {
  return worker_of(self).arm();
}

constexpr lockstep_transport_t kTransport = {sizeof(lockstep_transport_t),
                                             ucx_open,
                                             ucx_close,
                                             ucx_address,
                                             ucx_connect,
                                             ucx_post,
                                             ucx_poll,
                                             ucx_wake_fd,
                                             ucx_arm};

}  // namespace

namespace lockstep::ucx {

// In a namespace because the struct of the ABI has the same name; the symbol is the plain one.
extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  // Asked of the library that was loaded, which may be newer than the headers.
  static char version[64];
  static const lockstep_plugin_t plugin = [] {
    std::snprintf(version, sizeof version, "UCX %s", ucp_get_version_string());
    return lockstep_plugin_t{LOCKSTEP_PLUGIN_ABI,
                             sizeof(lockstep_plugin_t),
                             "ucx",
                             version,
                             "frames as UCX active messages over the node's networks",
                             &kTransport,
                             nullptr,
                             nullptr};
  }();
  return &plugin;
}

}  // namespace lockstep::ucx
