// The smallest honest transport: every frame comes back to its sender. Copy me.
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>

#include "lockstep/transport.h"

namespace {

constexpr std::size_t kRingFrames = 64;

struct Frame {
  std::size_t length;
  std::array<unsigned char, LOCKSTEP_FRAME_MAX> bytes;
};

// What another process must show to be ours; a real transport puts its network address here.
struct Address {
  std::array<char, 4> magic;
  std::uint32_t rank;
};
static_assert(sizeof(Address) <= LOCKSTEP_ADDRESS_MAX);

struct Loop {
  Address address;
  int wake_fd;
  bool is_connected = false;
  bool is_armed = false;  // the runtime may sleep: the next frame has to write to wake_fd
  std::size_t first = 0;
  std::size_t count = 0;
  std::array<Frame, kRingFrames> ring;
};

Loop& loop_of(void* self) {
  return *static_cast<Loop*>(self);
}

lockstep_status_t loop_open(const lockstep_environment_t* environment, void** self_p, char* why,
                            std::size_t why_size) {
  const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd < 0) {
    std::snprintf(why, why_size, "eventfd: %s; raise the limit of open files", strerror(errno));
    return LOCKSTEP_E_RESOURCE;
  }
  // nothrow: no exception may leave a function of the table.
  Loop* loop = new (std::nothrow) Loop;
  if (loop == nullptr) {
    close(wake_fd);
    std::snprintf(why, why_size, "out of memory");
    return LOCKSTEP_E_RESOURCE;
  }
  loop->address = {{'l', 'o', 'o', 'p'}, environment->rank};
  loop->wake_fd = wake_fd;
  *self_p = loop;
  return LOCKSTEP_OK;
}

void loop_close(void* self) {
  close(loop_of(self).wake_fd);
  delete static_cast<Loop*>(self);
}

lockstep_status_t loop_address(void* self, void* buffer, std::size_t* length_p) {
  if (buffer == nullptr || length_p == nullptr) return LOCKSTEP_E_INVALID;
  if (*length_p < sizeof(Address)) return LOCKSTEP_E_LIMIT;
  std::memcpy(buffer, &loop_of(self).address, sizeof(Address));
  *length_p = sizeof(Address);
  return LOCKSTEP_OK;
}

// An address came over the network: believe nothing in it before it is checked.
lockstep_status_t loop_connect(void* self, std::uint32_t peer, const void* address,
                               std::size_t length) {
  Loop& loop = loop_of(self);
  if (address == nullptr) return LOCKSTEP_E_INVALID;
  if (peer != loop.address.rank || length != sizeof(Address)) return LOCKSTEP_E_PEER;
  if (std::memcmp(address, &loop.address, sizeof(Address)) != 0) return LOCKSTEP_E_PEER;
  loop.is_connected = true;
  return LOCKSTEP_OK;
}

lockstep_status_t loop_post(void* self, std::uint32_t peer, const void* frame, std::size_t length) {
  Loop& loop = loop_of(self);
  if (frame == nullptr || length == 0) return LOCKSTEP_E_INVALID;
  if (length > LOCKSTEP_FRAME_MAX) return LOCKSTEP_E_LIMIT;
  if (!loop.is_connected || peer != loop.address.rank) return LOCKSTEP_E_PEER;
  if (loop.count == kRingFrames) return LOCKSTEP_AGAIN;

  Frame& slot = loop.ring[(loop.first + loop.count) % kRingFrames];
  std::memcpy(slot.bytes.data(), frame, length);
  slot.length = length;
  ++loop.count;
  // One system call per sleep, not per frame.
  if (loop.is_armed) loop.is_armed = eventfd_write(loop.wake_fd, 1) != 0;
  return LOCKSTEP_OK;
}

std::size_t loop_poll(void* self, const lockstep_inbox_t* inbox) {
  Loop& loop = loop_of(self);
  const std::size_t arrived = loop.count;
  for (std::size_t i = 0; i < arrived; ++i) {
    const Frame& frame = loop.ring[loop.first];
    inbox->deliver(inbox->context, frame.bytes.data(), frame.length);
    loop.first = (loop.first + 1) % kRingFrames;
    --loop.count;
  }
  return arrived;
}

int loop_wake_fd(void* self) {
  return loop_of(self).wake_fd;
}

lockstep_status_t loop_arm(void* self) {
  Loop& loop = loop_of(self);
  eventfd_t ignored = 0;
  (void)eventfd_read(loop.wake_fd, &ignored);  // the wake-up before this one has been used
  if (loop.count != 0) return LOCKSTEP_AGAIN;
  loop.is_armed = true;
  return LOCKSTEP_OK;
}

constexpr lockstep_transport_t kTransport = {sizeof(lockstep_transport_t),
                                             loop_open,
                                             loop_close,
                                             loop_address,
                                             loop_connect,
                                             loop_post,
                                             loop_poll,
                                             loop_wake_fd,
                                             loop_arm};

constexpr lockstep_plugin_t kPlugin = {LOCKSTEP_PLUGIN_ABI,
                                       sizeof(lockstep_plugin_t),
                                       "loop",
                                       "loop 1",
                                       "sample: every frame comes back to its sender",
                                       &kTransport,
                                       nullptr,
                                       nullptr};

}  // namespace

// In a namespace because the struct of the ABI has the same name; the symbol is the plain one.
namespace loop {

extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  return &kPlugin;
}

}  // namespace loop
