// What lockstep does on GPUs, beside NCCL, on every rank of a job; see run.sh for all of it.
// usage: lockstep run -n N --keep-going gpu_bench PART      exit status 77: there is no GPU here
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "tests/bench/gpu/device.hpp"
#include "tests/bench/gpu/parts.hpp"

namespace {

namespace gpu = lockstep::bench::gpu;

constexpr int kNoGpu = 77;
constexpr int kFailed = 3;

using Measure = void (*)(gpu::Bench&);
const std::map<std::string, Measure>& parts() {
  static const std::map<std::string, Measure> all{{"host", gpu::measure_host_waits},
                                                  {"trigger", gpu::measure_triggers},
                                                  {"graph", gpu::measure_graphs},
                                                  {"eager", gpu::measure_eager},
                                                  {"setup", gpu::measure_setup}};
  return all;
}

void add_options(CLI::App& app, gpu::Settings& settings) {
  std::vector<std::string> names;
  for (const auto& part : parts()) names.push_back(part.first);
  app.add_option("part", settings.part, "What to measure")->required()->check(CLI::IsMember(names));
  app.add_option("--only", settings.only, "Contenders to measure, and no others")->delimiter(',');
  app.add_option("--blocks", settings.blocks, "Interleaved blocks")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  app.add_option("--rounds", settings.rounds, "Rounds of a block; 0: as the part has them")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--barriers", settings.barriers, "Stream barriers of a graph, or of a round")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--tag", settings.tag, "Goes into what is printed");
  app.add_flag("--table", settings.is_table, "Print for people instead of JSON");
  app.add_flag("--gpu-by-rank", settings.is_gpu_by_rank,
               "Choose the GPU by the job's rank: emulated nodes share the machine's GPUs");
}

/// Before lockstep's first call about GPUs, which takes the one that is current.
int choose_gpu(const lockstep::Session& job, bool is_by_rank) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return kNoGpu;
  const std::uint32_t number = is_by_rank ? job.rank() : job.local_rank();
  gpu::check(cudaSetDevice(static_cast<int>(number) % devices), "cudaSetDevice");
  gpu::check(cudaFree(nullptr), "make a context");
  return 0;
}

int run(const gpu::Settings& settings) {
  lockstep::Session job;
  if (choose_gpu(job, settings.is_gpu_by_rank) != 0) {
    std::fprintf(stderr, "gpu_bench: no GPU here\n");
    return kNoGpu;
  }
  gpu::Bench bench(job, settings);
  try {
    parts().at(settings.part)(bench);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: rank %u, %s: %s\n", job.rank(), settings.part.c_str(),
                 error.what());
    std::fflush(stdout);
    std::_Exit(kFailed);  // no destructors: they would wait for what is stuck on the GPU
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures lockstep's work on GPUs beside NCCL's; one part for each process");
  gpu::Settings settings;
  add_options(app, settings);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
}
