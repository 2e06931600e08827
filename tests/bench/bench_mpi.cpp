// The measured program on MPI's side: MPI_Barrier, or MPI_Allreduce of 64 bits for the trigger.
#include <mpi.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>

#include "api/cli/bench/worker.hpp"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int status = 0;
  try {
    const bool is_trigger = argc == 3 && std::strcmp(argv[1], "trigger") == 0;
    if (argc != 3) throw std::runtime_error("usage: lockstep-bench-mpi barrier|trigger FILE");
    lockstep::bench::measure(
        argv[2], static_cast<std::uint32_t>(rank), static_cast<std::uint32_t>(size), [&] {
          if (is_trigger) {
            const std::uint64_t mine = 0;
            std::uint64_t all = 0;
            MPI_Allreduce(&mine, &all, 1, MPI_UINT64_T, MPI_BOR, MPI_COMM_WORLD);
          } else {
            MPI_Barrier(MPI_COMM_WORLD);
          }
        });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lockstep-bench-mpi: %s\n", error.what());
    status = 1;
  }
  MPI_Finalize();
  return status;
}
