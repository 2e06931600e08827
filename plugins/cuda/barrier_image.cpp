// Takes the kernel in as nvcc wrote it.
#include "plugins/cuda/barrier_image.hpp"

#ifdef LOCKSTEP_BARRIER_IMAGE
asm(".pushsection .rodata\n"
    ".balign 64\n"
    "lockstep_barrier_image:\n"
    ".incbin \"" LOCKSTEP_BARRIER_IMAGE
    "\"\n"
    ".popsection\n");
extern "C" __attribute__((visibility("hidden"))) const char lockstep_barrier_image[];
#endif

namespace lockstep::cuda {

#ifdef LOCKSTEP_BARRIER_IMAGE
const void* const kBarrierImage = lockstep_barrier_image;
#else
const void* const kBarrierImage = nullptr;
#endif

}  // namespace lockstep::cuda
