// A plugin under test, loaded by path, and one opened transport of it that checks what it is told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "lockstep/transport.h"

namespace lockstep::conformance {

using Bytes = std::vector<std::byte>;

/// One plugin named on the command line.
struct Candidate {
  std::string path;
  bool is_self_only = false;  // reaches its own rank only, as the sample does
};

void PrintTo(const Candidate& candidate, std::ostream* out);

/// The candidates of this run; filled by main() before the tests are registered.
std::vector<Candidate>& candidates();

/// Loads `path` and returns its table, or null with a test failure that says why.
const lockstep_plugin_t* load(const std::string& path);

/// One opened transport. Fails the test when anything is handed over outside poll() or on a thread
/// other than the one that polls.
class Instance {
 public:
  using Receiver = std::function<void(const Bytes& frame)>;

  Instance(const lockstep_plugin_t& plugin, std::uint32_t rank);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance() { close(); }

  [[nodiscard]] bool is_open() const { return self_ != nullptr; }
  void close();
  [[nodiscard]] std::uint32_t rank() const { return rank_; }
  [[nodiscard]] Bytes address() const;
  [[nodiscard]] lockstep_status_t connect(std::uint32_t peer, const Bytes& address);
  [[nodiscard]] lockstep_status_t post(std::uint32_t peer, const Bytes& frame);
  std::size_t poll();
  [[nodiscard]] int wake_fd() const { return transport_.wake_fd(self_); }
  [[nodiscard]] lockstep_status_t arm() { return transport_.arm(self_); }

  void on_frame(Receiver receiver) { receiver_ = std::move(receiver); }
  [[nodiscard]] const std::vector<std::uint32_t>& lost() const { return lost_; }
  [[nodiscard]] const lockstep_transport_t& table() const { return transport_; }
  [[nodiscard]] void* self() const { return self_; }

 private:
  static void deliver(void* context, const void* frame, std::size_t length);
  static void lose(void* context, std::uint32_t peer);
  static void log(void* context, int level, const char* text);
  void expect_in_poll(const char* what);

  const lockstep_transport_t& transport_;
  std::uint32_t rank_;
  void* self_ = nullptr;
  bool is_polling_ = false;
  std::thread::id poller_;
  std::size_t handed_over_ = 0;
  Receiver receiver_;
  std::vector<std::uint32_t> lost_;
};

}  // namespace lockstep::conformance
