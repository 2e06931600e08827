// NCCL as a peer of the benchmarks.
#include "tests/bench/gpu/nccl_peer.hpp"

#include <nccl.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>

#if defined(__has_include) && NCCL_VERSION_CODE >= 22800
#if __has_include(<nccl_device.h>)
#include <nccl_device.h>
#define LOCKSTEP_BENCH_LSA 1
#endif
#endif

namespace lockstep::bench::gpu {
namespace {

void check_nccl(ncclResult_t result, const char* call) {
  if (result == ncclSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + ncclGetErrorString(result) + ", " +
                           ncclGetLastError(nullptr));
}

void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

#ifdef LOCKSTEP_BENCH_LSA
__global__ void lsa_barrier(ncclDevComm comm) {
  const ncclCoopWarp warp;
  ncclLsaBarrierSession<ncclCoopWarp> session{warp, comm, ncclTeamTagLsa{}, 0};
  session.sync(warp, cuda::memory_order_acq_rel);
}
#endif

}  // namespace

struct NcclPeer::State {
  ncclComm_t comm = nullptr;
  std::int32_t* word = nullptr;
  int ranks = 0;
#ifdef LOCKSTEP_BENCH_LSA
  std::optional<ncclDevComm> device{};
#endif

  ~State() {
#ifdef LOCKSTEP_BENCH_LSA
    if (device) static_cast<void>(ncclDevCommDestroy(comm, &*device));
#endif
    if (comm != nullptr) static_cast<void>(ncclCommDestroy(comm));
    static_cast<void>(cudaFree(word));
  }
};

std::string NcclPeer::new_id() {
  ncclUniqueId id{};
  check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  return {reinterpret_cast<const char*>(&id), sizeof id};
}

NcclPeer::NcclPeer(const std::string& id, int rank, int ranks) : state_(new State) {
  ncclUniqueId copy{};
  if (id.size() != sizeof copy) throw std::runtime_error("rank 0 has made no id for NCCL");
  std::memcpy(&copy, id.data(), sizeof copy);
  state_->ranks = ranks;
  check_nccl(ncclCommInitRank(&state_->comm, ranks, copy, rank), "ncclCommInitRank");
  check_cuda(cudaMalloc(reinterpret_cast<void**>(&state_->word), sizeof *state_->word), "memory");
  check_cuda(cudaMemset(state_->word, 0, sizeof *state_->word), "cudaMemset");
}
NcclPeer::~NcclPeer() = default;
NcclPeer::NcclPeer(NcclPeer&&) noexcept = default;
NcclPeer& NcclPeer::operator=(NcclPeer&&) noexcept = default;

void NcclPeer::all_reduce(cudaStream_t stream) {
  check_nccl(ncclAllReduce(state_->word, state_->word, 1, ncclInt32, ncclMax, state_->comm, stream),
             "ncclAllReduce");
}

#ifdef LOCKSTEP_BENCH_LSA
void NcclPeer::open_barrier() {
  // The layout of ncclDevComm is that of the header, and another one in another minor version.
  int version = 0;
  check_nccl(ncclGetVersion(&version), "ncclGetVersion");
  if (version / 100 != NCCL_VERSION_CODE / 100) {
    throw std::runtime_error("built with NCCL " + std::to_string(NCCL_VERSION_CODE) +
                             ", runs with " + std::to_string(version));
  }
  if (const int reached = ncclTeamLsa(state_->comm).nRanks; reached != state_->ranks) {
    throw std::runtime_error("NCCL says that this GPU reaches " + std::to_string(reached) + " of " +
                             std::to_string(state_->ranks));
  }
#ifdef NCCL_DEV_COMM_REQUIREMENTS_INITIALIZER  // newer ones know their version
  ncclDevCommRequirements requirements = NCCL_DEV_COMM_REQUIREMENTS_INITIALIZER;
#else
  ncclDevCommRequirements requirements{};  // all zeros: above all no multicast
#endif
  requirements.lsaBarrierCount = 1;
  ncclDevComm device{};
  check_nccl(ncclDevCommCreate(state_->comm, &requirements, &device), "ncclDevCommCreate");
  state_->device = device;
}

void NcclPeer::barrier(cudaStream_t stream) {
  if (!state_->device) throw std::runtime_error("NCCL's barrier has not been opened");
  lsa_barrier<<<1, 32, 0, stream>>>(*state_->device);
  check_cuda(cudaGetLastError(), "launch NCCL's barrier");
}
#else
void NcclPeer::open_barrier() {
  throw std::runtime_error("built with NCCL " + std::to_string(NCCL_VERSION_CODE) +
                           ", which has no device API");
}

void NcclPeer::barrier(cudaStream_t) {
  throw std::runtime_error("no device API of NCCL");
}
#endif

}  // namespace lockstep::bench::gpu
