// A GPU plugin without GPUs, for tests, and never installed: FAKE_GPUS describes a machine, and who
// of its ranks sees what; machine.hpp has the words. Streams are tests/support/fake_stream.hpp.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "lockstep/gpu.h"
#include "tests/support/fake_gpu/barrier.hpp"
#include "tests/support/fake_gpu/machine.hpp"
#include "tests/support/fake_stream.hpp"

namespace {

using lockstep::fake_gpu::Barrier;
using lockstep::fake_gpu::Gpu;
using lockstep::fake_gpu::Machine;
using lockstep::test::FakeStream;

/// The legacy default stream; all GPUs have one and the same. Never destroyed: what is stuck there
/// would keep the process from ending.
FakeStream& default_stream() {
  static auto* const stream = new FakeStream;
  return *stream;
}

FakeStream& stream_of(void* stream) {
  return stream != nullptr ? *static_cast<FakeStream*>(stream) : default_stream();
}

/// A thread that waits for streams, as the words of the real plugin do.
struct Drain {
  struct Place {
    const FakeStream* stream;
    std::uint64_t given;  ///< to it so far: later work is not waited for
  };
  std::atomic<bool> is_over{false};
  std::atomic<bool> has_failed{false};
  std::atomic<bool> is_dropped{false};
  std::thread waiter;

  explicit Drain(std::vector<Place> places)
      : waiter([this, places = std::move(places)] {
          for (const auto& [stream, given] : places) {
            while (!stream->has_done(given) && !is_dropped) std::this_thread::yield();
            if (stream->has_failed) has_failed = true;
          }
          is_over = true;
        }) {}
  ~Drain() {
    is_dropped = true;
    waiter.join();
  }
};

/// What one rank has opened.
struct Opened {
  Machine machine;
  std::map<std::uint64_t, std::unique_ptr<Drain>> drains;
  std::uint64_t tickets = 0;
};

Opened& opened(void* self) {
  return *static_cast<Opened*>(self);
}

const Machine& machine_of(void* self) {
  return opened(self).machine;
}

lockstep_status_t fake_open(const lockstep_environment_t* environment, void** self_p, char* why,
                            std::size_t why_size) {
  try {
    const char* const text = std::getenv("FAKE_GPUS");
    auto opened = std::make_unique<Opened>();
    const Machine& machine = opened->machine =
        lockstep::fake_gpu::read_machine(text != nullptr ? text : "", environment->rank);
    const timespec nap{machine.slow_ms / 1000, machine.slow_ms % 1000 * 1'000'000};
    nanosleep(&nap, nullptr);
    if (!machine.has_driver || machine.seen.empty()) {
      std::snprintf(
          why, why_size, "%s",
          machine.has_driver ? "the fake driver shows this process no GPU" : "no fake driver here");
      return LOCKSTEP_E_UNSUPPORTED;
    }
    *self_p = opened.release();
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "%s", error.what());
    return LOCKSTEP_E_RESOURCE;
  }
}

void fake_close(void* self) {
  delete &opened(self);
}

const char* fake_driver(void*) {
  return "fake driver 1, no CUDA";
}

std::uint32_t fake_count(void* self) {
  return static_cast<std::uint32_t>(machine_of(self).seen.size());
}

lockstep_status_t fake_device(void* self, std::uint32_t ordinal, lockstep_gpu_device_t* device_p) {
  const Machine& machine = machine_of(self);
  if (device_p == nullptr || ordinal >= machine.seen.size()) return LOCKSTEP_E_INVALID;
  const char name = machine.seen[ordinal];
  const Gpu& gpu = machine.gpus.at(name);
  lockstep_gpu_device_t device{};
  device.size = std::min<std::uint32_t>(device_p->size, sizeof device);
  device.uuid[0] = static_cast<std::uint8_t>(name);
  device.is_instance = gpu.is_instance ? 1 : 0;
  device.fabric[0] = gpu.cluster;
  device.clique = gpu.clique;
  device.memory = std::uint64_t{16} << 30;
  std::snprintf(device.name, sizeof device.name, "Fake GPU %c", name);
  std::snprintf(device.address, sizeof device.address, "0000:%02x:00.0",
                static_cast<unsigned>(name));
  std::memcpy(device_p, &device, device.size);
  return LOCKSTEP_OK;
}

std::int32_t fake_current(void* self) {
  return machine_of(self).current;
}

lockstep_gpu_reach_t fake_reaches(void* self, const std::uint8_t* a_uuid,
                                  const std::uint8_t* b_uuid) {
  const Machine& machine = machine_of(self);
  const char a = static_cast<char>(a_uuid[0]);
  const char b = static_cast<char>(b_uuid[0]);
  const auto is_seen = [&](char name) { return machine.seen.find(name) != std::string::npos; };
  if (machine.is_blind && !(is_seen(a) && is_seen(b))) return LOCKSTEP_GPU_CANNOT_TELL;
  return machine.reaching.count({a, b}) != 0 ? LOCKSTEP_GPU_REACHES : LOCKSTEP_GPU_APART;
}

lockstep_status_t fake_drain_start(void* self, void* const* streams, std::uint32_t count,
                                   std::uint64_t* ticket_p, char* why, std::size_t why_size) {
  std::vector<Drain::Place> busy;
  for (std::uint32_t i = 0; i < count; ++i) {
    FakeStream& stream = stream_of(streams[i]);
    if (stream.is_captured) {
      std::snprintf(why, why_size, "stream %u of %u is being captured", i, count);
      return LOCKSTEP_E_STATE;
    }
    if (stream.is_busy || stream.has_failed) busy.push_back({&stream, stream.given()});
  }
  Opened& mine = opened(self);
  *ticket_p = busy.empty() ? 0 : ++mine.tickets;
  if (!busy.empty()) mine.drains[*ticket_p] = std::make_unique<Drain>(std::move(busy));
  return LOCKSTEP_OK;
}

lockstep_status_t fake_drain_test(void* self, std::uint64_t ticket, char* why,
                                  std::size_t why_size) {
  auto& drains = opened(self).drains;
  const Drain& drain = *drains.at(ticket);
  if (!drain.is_over) return LOCKSTEP_AGAIN;
  const bool has_failed = drain.has_failed;
  drains.erase(ticket);
  if (!has_failed) return LOCKSTEP_OK;
  std::snprintf(why, why_size, "the GPU has failed: not really");
  return LOCKSTEP_E_RESOURCE;
}

void fake_drain_drop(void* self, std::uint64_t ticket) {
  opened(self).drains.erase(ticket);
}

/// A barrier, and who has opened it.
struct OpenedBarrier {
  Barrier barrier;
  bool maps_others;
};

OpenedBarrier& barrier_of(void* barrier) {
  return *static_cast<OpenedBarrier*>(barrier);
}

lockstep_status_t refuse(lockstep_status_t status, const std::string& text, char* why,
                         std::size_t why_size) {
  std::snprintf(why, why_size, "%s", text.c_str());
  return status;
}

lockstep_status_t fake_barrier_open(void* self, std::uint32_t ordinal,
                                    const lockstep_gpu_barrier_setup_t* setup, void** barrier_p,
                                    lockstep_gpu_barrier_view_t* view_p, char* why,
                                    std::size_t why_size) {
  const Machine& machine = machine_of(self);
  const bool makes_sense = ordinal < machine.seen.size() && setup->size >= sizeof *setup &&
                           setup->members >= 1 && setup->members <= LOCKSTEP_GPU_PEERS_MAX &&
                           setup->member < setup->members;
  if (!makes_sense) return refuse(LOCKSTEP_E_INVALID, "no such member or GPU", why, why_size);
  if (!machine.has_barriers) {
    return refuse(LOCKSTEP_E_UNSUPPORTED, "this fake GPU has no barriers", why, why_size);
  }
  if (machine.current >= 0 && static_cast<std::uint32_t>(machine.current) != ordinal) {
    return refuse(LOCKSTEP_E_STATE,
                  "the current context is on GPU " + std::to_string(machine.current) +
                      ", and the barrier would be on GPU " + std::to_string(ordinal),
                  why, why_size);
  }
  try {
    std::unique_ptr<OpenedBarrier> opened(
        new OpenedBarrier{{*setup, ordinal}, machine.maps_others});
    lockstep_gpu_barrier_view_t view = opened->barrier.view();
    view.size = std::min<std::uint32_t>(view_p->size, sizeof view);
    std::memcpy(view_p, &view, view.size);
    *barrier_p = opened.release();
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    return refuse(LOCKSTEP_E_RESOURCE, error.what(), why, why_size);
  }
}

lockstep_status_t fake_barrier_connect(void* barrier, std::uint32_t member, std::int32_t memory,
                                       char* why, std::size_t why_size) {
  OpenedBarrier& mine = barrier_of(barrier);
  if (!mine.maps_others) {
    return refuse(LOCKSTEP_E_UNSUPPORTED, "this fake GPU cannot map another's memory", why,
                  why_size);
  }
  try {
    std::string reason;
    const lockstep_status_t status = mine.barrier.connect(member, memory, reason);
    return status == LOCKSTEP_OK ? status : refuse(status, reason, why, why_size);
  } catch (const std::system_error& error) {
    const bool is_other = error.code() == std::errc::invalid_argument;
    return refuse(is_other ? LOCKSTEP_E_INVALID : LOCKSTEP_E_RESOURCE, error.what(), why, why_size);
  } catch (const std::exception& error) {
    return refuse(LOCKSTEP_E_RESOURCE, error.what(), why, why_size);
  }
}

lockstep_status_t fake_barrier_enqueue(void* barrier, void* stream, std::uint64_t limit_ns,
                                       std::uint32_t reports, std::uint32_t* is_captured_p,
                                       char* why, std::size_t why_size) {
  try {
    FakeStream& on = stream_of(stream);
    std::string reason;
    const lockstep_status_t status =
        barrier_of(barrier).barrier.enqueue(on, limit_ns, reports != 0, reason);
    if (status != LOCKSTEP_OK) return refuse(status, reason, why, why_size);
    *is_captured_p = on.is_captured ? 1 : 0;
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    return refuse(LOCKSTEP_E_RESOURCE, error.what(), why, why_size);
  }
}

lockstep_status_t fake_barrier_ask(void* barrier, std::uint64_t* number_p, std::uint32_t* low_p,
                                   char*, std::size_t) {
  barrier_of(barrier).barrier.ask(*number_p, *low_p);
  return LOCKSTEP_OK;
}

void fake_barrier_drain(void* barrier) {
  barrier_of(barrier).barrier.drain();
}

void fake_barrier_close(void* barrier) {
  delete &barrier_of(barrier);
}

constexpr lockstep_gpu_t kGpu = {sizeof(lockstep_gpu_t),
                                 fake_open,
                                 fake_close,
                                 fake_driver,
                                 fake_count,
                                 fake_device,
                                 fake_current,
                                 fake_reaches,
                                 fake_drain_start,
                                 fake_drain_test,
                                 fake_drain_drop,
                                 fake_barrier_open,
                                 fake_barrier_connect,
                                 fake_barrier_enqueue,
                                 fake_barrier_ask,
                                 fake_barrier_drain,
                                 fake_barrier_close};

constexpr lockstep_plugin_t kPlugin = {LOCKSTEP_PLUGIN_ABI,
                                       sizeof(lockstep_plugin_t),
                                       "fake_gpu",
                                       "fake 1",
                                       "a FAKE for tests: no GPU is behind it",
                                       nullptr,
                                       nullptr,
                                       &kGpu};

}  // namespace

namespace fake_gpu {

extern "C" __attribute__((visibility("default"))) const lockstep_plugin_t* lockstep_plugin() {
  return &kPlugin;
}

}  // namespace fake_gpu
