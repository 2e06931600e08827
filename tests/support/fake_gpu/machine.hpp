// The machine that FAKE_GPUS describes, as one rank finds it. Statements, separated by ';', of
// which later ones replace earlier ones:
//
//   gpu NAME...              GPUs of the machine, of one letter each; mig NAME...: MIG instances
//   fabric CLUSTER CLIQUE NAME...   they are in that fabric between nodes; numbers
//   reach NAME...            each of these reaches each other
//   see RANKS NAME...        what these ranks see, in CUDA's order; RANKS is *, 3, or 2-5
//   blind RANKS              these cannot tell about GPUs that they do not see
//   current RANKS ORDINAL    their thread has a context on that one
//   no_driver RANKS          there, opening fails
//   slow RANKS MILLISECONDS  there, opening takes that long
//   no_barriers RANKS        their GPUs have no stream barriers
//   unreachable RANKS        these cannot map the memory of others for a stream barrier
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace lockstep::fake_gpu {

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
  bool has_barriers = true;
  bool maps_others = true;
  std::int32_t current = -1;
  long slow_ms = 0;
};

/// Throws std::runtime_error if it makes no sense.
Machine read_machine(const std::string& text, std::uint32_t rank);

}  // namespace lockstep::fake_gpu
