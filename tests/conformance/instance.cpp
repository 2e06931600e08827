// Loads plugins and watches over every call between the suite and an opened transport.
#include "instance.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <utility>

namespace lockstep::conformance {

void PrintTo(const Candidate& candidate, std::ostream* out) {
  *out << candidate.path;
}

std::vector<Candidate>& candidates() {
  static std::vector<Candidate> list;
  return list;
}

// Never unloaded: a plugin may hold threads of its library until the process ends.
const lockstep_plugin_t* load(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    ADD_FAILURE() << dlerror();
    return nullptr;
  }
  const auto function =
      reinterpret_cast<lockstep_plugin_function_t>(dlsym(handle, LOCKSTEP_PLUGIN_SYMBOL));
  if (function == nullptr) {
    ADD_FAILURE() << path << " does not export " LOCKSTEP_PLUGIN_SYMBOL;
    return nullptr;
  }
  const lockstep_plugin_t* plugin = function();
  if (plugin == nullptr) ADD_FAILURE() << path << " returned no table";
  return plugin;
}

Instance::Instance(const lockstep_plugin_t& plugin, std::uint32_t rank)
    : transport_(*plugin.transport), rank_(rank) {
  lockstep_environment_t environment{};
  environment.size = sizeof environment;
  environment.rank = rank;
  environment.ranks = 3;
  environment.peers = 2;
  environment.interface = "";
  environment.log = log;
  environment.context = this;
  std::array<char, 256> why{};
  const lockstep_status_t status = transport_.open(&environment, &self_, why.data(), why.size());
  EXPECT_EQ(status, LOCKSTEP_OK) << why.data();
  EXPECT_EQ(self_ != nullptr, status == LOCKSTEP_OK);
}

void Instance::close() {
  if (self_ != nullptr) transport_.close(std::exchange(self_, nullptr));
}

Bytes Instance::address() const {
  Bytes bytes(LOCKSTEP_ADDRESS_MAX);
  std::size_t length = bytes.size();
  EXPECT_EQ(transport_.address(self_, bytes.data(), &length), LOCKSTEP_OK);
  EXPECT_LE(length, bytes.size());
  bytes.resize(length);
  return bytes;
}

lockstep_status_t Instance::connect(std::uint32_t peer, const Bytes& address) {
  return transport_.connect(self_, peer, address.data(), address.size());
}

lockstep_status_t Instance::post(std::uint32_t peer, const Bytes& frame) {
  return transport_.post(self_, peer, frame.data(), frame.size());
}

std::size_t Instance::poll() {
  const lockstep_inbox_t inbox{this, deliver, lose};
  is_polling_ = true;
  poller_ = std::this_thread::get_id();
  handed_over_ = 0;
  const std::size_t said = transport_.poll(self_, &inbox);
  is_polling_ = false;
  EXPECT_EQ(said, handed_over_) << "poll returns how many events it handed over";
  return said;
}

void Instance::expect_in_poll(const char* what) {
  EXPECT_TRUE(is_polling_) << what << " was called outside poll";
  EXPECT_EQ(poller_, std::this_thread::get_id()) << what << " was called on a foreign thread";
  ++handed_over_;
}

void Instance::deliver(void* context, const void* frame, std::size_t length) {
  Instance& instance = *static_cast<Instance*>(context);
  instance.expect_in_poll("deliver");
  const auto* bytes = static_cast<const std::byte*>(frame);
  if (instance.receiver_) instance.receiver_(Bytes(bytes, bytes + length));
}

void Instance::lose(void* context, std::uint32_t peer) {
  Instance& instance = *static_cast<Instance*>(context);
  instance.expect_in_poll("lost");
  instance.lost_.push_back(peer);
}

void Instance::log(void* context, int level, const char* text) {
  const Instance& instance = *static_cast<const Instance*>(context);
  std::fprintf(stderr, "  rank %u, level %d: %s\n", instance.rank_, level, text);
}

}  // namespace lockstep::conformance
