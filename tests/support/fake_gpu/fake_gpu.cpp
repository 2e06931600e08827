// A GPU plugin without GPUs, for tests, and never installed: FAKE_GPUS describes a machine, and who
// of its ranks sees what. Statements, separated by ';', of which later ones replace earlier ones:
//
//   gpu NAME...              GPUs of the machine, of one letter each; mig NAME...: MIG instances
//   fabric CLUSTER CLIQUE NAME...   they are in that fabric between nodes; numbers
//   reach NAME...            each of these reaches each other
//   see RANKS NAME...        what these ranks see, in CUDA's order; RANKS is *, 3, or 2-5
//   blind RANKS              these cannot tell about GPUs that they do not see
//   current RANKS ORDINAL    their thread has a context on that one
//   no_driver RANKS          there, opening fails
//   slow RANKS MILLISECONDS  there, opening takes that long
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lockstep/gpu.h"
#include "tests/support/fake_stream.hpp"

namespace {

using lockstep::test::FakeStream;

/// A thread that waits for streams, as the words of the real plugin do.
struct Drain {
  std::atomic<bool> is_over{false};
  std::atomic<bool> has_failed{false};
  std::atomic<bool> is_dropped{false};
  std::thread waiter;

  explicit Drain(std::vector<FakeStream*> streams)
      : waiter([this, streams = std::move(streams)] {
          for (const FakeStream* stream : streams) {
            while (stream->is_busy && !is_dropped) std::this_thread::yield();
            if (stream->has_failed) has_failed = true;
          }
          is_over = true;
        }) {}
  ~Drain() {
    is_dropped = true;
    waiter.join();
  }
};

struct Gpu {
  bool is_instance = false;
  std::uint8_t cluster = 0;
  std::uint32_t clique = 0;
};

/// What one rank finds.
struct Machine {
  std::map<char, Gpu> gpus;
  std::set<std::pair<char, char>> reaching;
  std::string seen;  ///< by ordinal
  bool is_blind = false;
  bool has_driver = true;
  std::int32_t current = -1;
  long slow_ms = 0;
  std::map<std::uint64_t, std::unique_ptr<Drain>> drains;
  std::uint64_t tickets = 0;
};

bool is_meant(const std::string& ranks, std::uint32_t rank) {
  if (ranks == "*") return true;
  const std::size_t hyphen = ranks.find('-');
  const std::uint32_t first = static_cast<std::uint32_t>(std::stoul(ranks));
  const std::uint32_t last = hyphen == std::string::npos
                                 ? first
                                 : static_cast<std::uint32_t>(std::stoul(ranks.substr(hyphen + 1)));
  return first <= rank && rank <= last;
}

std::string names_in(std::istringstream& words) {
  std::string names;
  for (std::string name; words >> name;) names += name.front();
  return names;
}

void read_machine(std::istringstream& words, const std::string& what, Machine& machine) {
  std::uint32_t cluster = 0;
  std::uint32_t clique = 0;
  if (what == "fabric") words >> cluster >> clique;
  const std::string names = names_in(words);
  for (const char name : names) {
    if (what == "gpu") machine.gpus[name];
    if (what == "mig") machine.gpus[name].is_instance = true;
    if (what == "fabric") {
      machine.gpus[name].cluster = static_cast<std::uint8_t>(cluster);
      machine.gpus[name].clique = clique;
    }
    for (const char other : names) {
      if (what == "reach") machine.reaching.insert({name, other});
    }
  }
}

void read_rank(std::istringstream& words, const std::string& what, std::uint32_t rank,
               Machine& machine) {
  std::string ranks;
  words >> ranks;
  if (!is_meant(ranks, rank)) return;
  if (what == "see") machine.seen = names_in(words);
  if (what == "blind") machine.is_blind = true;
  if (what == "no_driver") machine.has_driver = false;
  if (what == "current") words >> machine.current;
  if (what == "slow") words >> machine.slow_ms;
}

Machine read(const std::string& text, std::uint32_t rank) {
  static const std::set<std::string> of_ranks = {"see", "blind", "no_driver", "current", "slow"};
  static const std::set<std::string> of_machine = {"gpu", "mig", "fabric", "reach"};
  Machine machine;
  std::istringstream statements(text);
  for (std::string statement; std::getline(statements, statement, ';');) {
    std::istringstream words(statement);
    std::string what;
    if (!(words >> what)) continue;
    if (of_machine.count(what) != 0) {
      read_machine(words, what, machine);
    } else if (of_ranks.count(what) != 0) {
      read_rank(words, what, rank, machine);
    } else {
      throw std::runtime_error("FAKE_GPUS: what is '" + what + "'?");
    }
  }
  for (const char name : machine.seen) {
    if (machine.gpus.count(name) == 0) {
      throw std::runtime_error(std::string("FAKE_GPUS: there is no GPU ") + name);
    }
  }
  return machine;
}

Machine& machine_of(void* self) {
  return *static_cast<Machine*>(self);
}

lockstep_status_t fake_open(const lockstep_environment_t* environment, void** self_p, char* why,
                            std::size_t why_size) {
  try {
    const char* const text = std::getenv("FAKE_GPUS");
    auto machine = std::make_unique<Machine>(read(text != nullptr ? text : "", environment->rank));
    const timespec nap{machine->slow_ms / 1000, machine->slow_ms % 1000 * 1'000'000};
    nanosleep(&nap, nullptr);
    if (!machine->has_driver || machine->seen.empty()) {
      std::snprintf(why, why_size, "%s",
                    machine->has_driver ? "the fake driver shows this process no GPU"
                                        : "no fake driver here");
      return LOCKSTEP_E_UNSUPPORTED;
    }
    *self_p = machine.release();
    return LOCKSTEP_OK;
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "%s", error.what());
    return LOCKSTEP_E_RESOURCE;
  }
}

void fake_close(void* self) {
  delete &machine_of(self);
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
  std::vector<FakeStream*> busy;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto* const stream = static_cast<FakeStream*>(streams[i]);
    if (stream == nullptr) continue;
    if (stream->is_captured) {
      std::snprintf(why, why_size, "stream %u of %u is being captured", i, count);
      return LOCKSTEP_E_STATE;
    }
    if (stream->is_busy || stream->has_failed) busy.push_back(stream);
  }
  Machine& machine = machine_of(self);
  *ticket_p = busy.empty() ? 0 : ++machine.tickets;
  if (!busy.empty()) machine.drains[*ticket_p] = std::make_unique<Drain>(std::move(busy));
  return LOCKSTEP_OK;
}

lockstep_status_t fake_drain_test(void* self, std::uint64_t ticket, char* why,
                                  std::size_t why_size) {
  auto& drains = machine_of(self).drains;
  const Drain& drain = *drains.at(ticket);
  if (!drain.is_over) return LOCKSTEP_AGAIN;
  const bool has_failed = drain.has_failed;
  drains.erase(ticket);
  if (!has_failed) return LOCKSTEP_OK;
  std::snprintf(why, why_size, "the GPU has failed: not really");
  return LOCKSTEP_E_RESOURCE;
}

void fake_drain_drop(void* self, std::uint64_t ticket) {
  machine_of(self).drains.erase(ticket);
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
                                 fake_drain_drop};

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
