// What gpu_bench can measure, each in a process of its own: what gets stuck stops nothing else.
#pragma once

#include "tests/bench/gpu/bench.hpp"

namespace lockstep::bench::gpu {

/// wait_for_everyone_on() beside a stream synchronisation. Host's time.
void measure_host_waits(Bench& bench);
/// Checks and polls that nobody has set. Host's time.
void measure_triggers(Bench& bench);
/// Barriers between streams, captured into one CUDA graph. GPU's time for one.
void measure_graphs(Bench& bench);
/// The same, enqueued one by one.
void measure_eager(Bench& bench);
/// How long it takes to get ready, and how much of the GPU's memory.
void measure_setup(Bench& bench);

}  // namespace lockstep::bench::gpu
