// What every transport promises about its table, its arguments and what it gives back at close.
// Method: one instance at a time, each promise of transport.h broken on purpose by the caller.
#include <dirent.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "link.hpp"

namespace lockstep::conformance {
namespace {

using Contract = TransportTest;

std::size_t entries_of(const char* directory) {
  DIR* handle = opendir(directory);
  if (handle == nullptr) return 0;
  std::size_t count = 0;
  while (readdir(handle) != nullptr) ++count;
  closedir(handle);
  return count;
}

TEST_P(Contract, TableIsComplete) {
  EXPECT_EQ(plugin().abi, LOCKSTEP_PLUGIN_ABI);
  EXPECT_GE(plugin().size, sizeof(lockstep_plugin_t));
  for (const char* text : {plugin().name, plugin().version, plugin().description}) {
    ASSERT_NE(text, nullptr);
    EXPECT_NE(text[0], '\0');
  }
  const std::string file = std::string("lockstep_") + plugin().name + ".so";
  EXPECT_EQ(GetParam().path.substr(GetParam().path.rfind('/') + 1), file);

  const lockstep_transport_t& table = *plugin().transport;
  ASSERT_GE(table.size, sizeof table);
  EXPECT_TRUE(table.open && table.close && table.address && table.connect);
  EXPECT_TRUE(table.post && table.poll && table.wake_fd && table.arm);
}

TEST_P(Contract, NothingWithANameIsMadeInSharedMemory) {
  // A file there, even one that is removed at once, is left behind by a SIGKILL at the wrong
  // moment.
  const Instance instance(plugin(), 0);
  ASSERT_TRUE(instance.is_open());
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find("/dev/shm/"), std::string::npos) << line;
  }
}

TEST_P(Contract, OpenAndCloseLeaveNothingBehind) {
  constexpr int kTimes = 50;
  const auto once = [&] { return Instance(plugin(), 0).is_open(); };
  // Libraries open some things once and for all; the second time shows what is per instance.
  ASSERT_TRUE(once() && once());
  const std::size_t descriptors = entries_of("/proc/self/fd");
  const std::size_t threads = entries_of("/proc/self/task");
  for (int i = 0; i < kTimes; ++i) ASSERT_TRUE(once());
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
  // The kernel removes a joined thread's entry a moment after the join.
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (entries_of("/proc/self/task") != threads && std::chrono::steady_clock::now() < deadline) {
    sched_yield();
  }
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
}

TEST_P(Contract, AddressFitsAndAsksForRoom) {
  const Instance instance(plugin(), 0);
  ASSERT_TRUE(instance.is_open());
  const Bytes address = instance.address();
  EXPECT_FALSE(address.empty());
  EXPECT_EQ(instance.address(), address) << "the address does not change";

  Bytes room(address.size(), std::byte{0xee});
  std::size_t length = address.size() - 1;
  EXPECT_EQ(instance.table().address(instance.self(), room.data(), &length), LOCKSTEP_E_LIMIT);
  EXPECT_EQ(room, Bytes(address.size(), std::byte{0xee})) << "an output was set on failure";
  EXPECT_EQ(instance.table().address(instance.self(), nullptr, &length), LOCKSTEP_E_INVALID);
  EXPECT_EQ(instance.table().address(instance.self(), room.data(), nullptr), LOCKSTEP_E_INVALID);
}

TEST_P(Contract, UnknownPeerIsRefused) {
  open_link();
  EXPECT_EQ(left().post(4711, numbered_frame(0, kNumberedMin)), LOCKSTEP_E_PEER);
}

TEST_P(Contract, ConnectingAgainIsHarmless) {
  open_link();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(left().connect(right().rank(), right().address()), LOCKSTEP_OK);
  }
  std::size_t received = 0;
  right().on_frame([&](const Bytes& frame) { received += number_of(frame) == 7; });
  send(left(), right(), numbered_frame(7, 64));
  EXPECT_TRUE(pump_until([&] { return received != 0; }));
}

// Addresses arrive over the network, so anything may be in them.
TEST_P(Contract, GarbageAddressesAreRefused) {
  constexpr unsigned kSeed = 20240607;
  open_link();
  Instance stranger(plugin(), 0);
  ASSERT_TRUE(stranger.is_open());
  const Bytes real = right().address();
  const std::uint32_t peer = is_self_only() ? 0 : 1;
  std::mt19937 random(kSeed);
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);

  EXPECT_EQ(stranger.table().connect(stranger.self(), peer, nullptr, 8), LOCKSTEP_E_INVALID);
  EXPECT_LT(stranger.connect(peer, Bytes(1)), 0);
  EXPECT_LT(stranger.table().connect(stranger.self(), peer, real.data(), 0), 0);
  EXPECT_LT(stranger.connect(peer, Bytes(LOCKSTEP_ADDRESS_MAX + 1)), 0);
  for (std::size_t length = 1; length < real.size(); ++length) {
    EXPECT_LT(stranger.connect(peer, Bytes(real.begin(), real.begin() + long(length))), 0);
  }
  for (int i = 0; i < 200; ++i) {
    Bytes noise(1 + random() % LOCKSTEP_ADDRESS_MAX);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
    EXPECT_LT(stranger.connect(peer, noise), 0);
    Bytes damaged = real;
    damaged[random() % damaged.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    EXPECT_LT(stranger.connect(peer, damaged), 0);
  }
  EXPECT_EQ(stranger.post(peer, numbered_frame(0, 16)), LOCKSTEP_E_PEER);

  std::size_t received = 0;
  right().on_frame([&](const Bytes&) { ++received; });
  send(left(), right(), numbered_frame(0, 16));
  EXPECT_TRUE(pump_until([&] { return received != 0; })) << "the old connection has suffered";
}

TEST_P(Contract, BadFramesAreRefused) {
  open_link();
  const lockstep_transport_t& table = left().table();
  const Bytes frame(LOCKSTEP_FRAME_MAX + 1);
  const std::uint32_t peer = right().rank();
  EXPECT_EQ(table.post(left().self(), peer, nullptr, 8), LOCKSTEP_E_INVALID);
  EXPECT_EQ(table.post(left().self(), peer, frame.data(), 0), LOCKSTEP_E_INVALID);
  EXPECT_EQ(table.post(left().self(), peer, frame.data(), frame.size()), LOCKSTEP_E_LIMIT);
}

INSTANTIATE_TEST_SUITE_P(Plugin, Contract, testing::ValuesIn(candidates()));

}  // namespace
}  // namespace lockstep::conformance
