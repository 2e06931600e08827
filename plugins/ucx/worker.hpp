// The UCX worker of one process: its address, its peers and what arrives.
#pragma once

#include <ucp/api/ucp.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lockstep/transport.h"
#include "plugins/ucx/endpoint.hpp"

namespace lockstep::ucx {

/// Free one UCX object each.
struct ContextDeleter {
  void operator()(ucp_context_h context) const noexcept { ucp_cleanup(context); }
};
struct WorkerDeleter {
  void operator()(ucp_worker_h worker) const noexcept { ucp_worker_destroy(worker); }
};

class Worker {
 public:
  explicit Worker(const lockstep_environment_t& environment);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  /// On failure `reason` says what to do, and only destruction is allowed.
  [[nodiscard]] lockstep_status_t open(const lockstep_environment_t& environment,
                                       std::string& reason);

  [[nodiscard]] std::span<const std::byte> address() const noexcept { return address_; }
  [[nodiscard]] lockstep_status_t connect(std::uint32_t peer, std::span<const std::byte> address);
  [[nodiscard]] lockstep_status_t post(std::uint32_t peer,
                                       std::span<const std::byte> frame) noexcept;
  std::size_t poll(const lockstep_inbox_t& inbox) noexcept;
  [[nodiscard]] int wake_fd() const noexcept { return wake_fd_; }
  [[nodiscard]] lockstep_status_t arm() noexcept;

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] ucs_status_t open_context(const lockstep_environment_t& environment,
                                          std::uint64_t features);
  [[nodiscard]] ucs_status_t open_worker(bool wants_wake_up);
  [[nodiscard]] ucs_status_t read_address();
  [[nodiscard]] ucs_status_t check_network() noexcept;
  static ucs_status_t on_frame(void* argument, const void* header, std::size_t header_length,
                               void* data, std::size_t length, const ucp_am_recv_param_t* param);
  void report_losses(const lockstep_inbox_t& inbox) noexcept;
  void reject(const char* why) noexcept;
  void settle(Clock::time_point deadline) noexcept;
  void wait_a_little() noexcept;
  void log(int level, const char* format, ...) const noexcept __attribute__((format(printf, 3, 4)));

  void (*log_)(void*, int, const char*);
  void* log_context_;
  // UCX calls back into endpoints until the worker is gone, so they are declared before it.
  std::unordered_map<std::uint32_t, std::unique_ptr<Endpoint>> peers_;
  std::unique_ptr<ucp_context, ContextDeleter> context_;
  std::unique_ptr<ucp_worker, WorkerDeleter> worker_;
  std::vector<std::byte> address_;
  std::size_t header_max_ = 0;
  int wake_fd_ = -1;
  bool has_loss_ = false;                    // a peer is lost and not yet reported
  const lockstep_inbox_t* inbox_ = nullptr;  // set while poll() runs
  std::size_t handed_over_ = 0;              // by the poll() that runs
  std::uint64_t rejected_ = 0;
};

}  // namespace lockstep::ucx
