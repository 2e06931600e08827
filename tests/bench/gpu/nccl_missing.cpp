// In place of nccl_peer.cu where CMake has not found NCCL: says so.
#include <stdexcept>

#include "tests/bench/gpu/nccl_peer.hpp"

namespace lockstep::bench::gpu {
namespace {

[[noreturn]] void fail() {
  throw std::runtime_error("built without NCCL: configure with -DNCCL_ROOT=FOLDER");
}

}  // namespace

struct NcclPeer::State {};

std::string NcclPeer::new_id() {
  return {};
}

NcclPeer::NcclPeer(const std::string&, int, int) {
  fail();
}
NcclPeer::~NcclPeer() = default;
NcclPeer::NcclPeer(NcclPeer&&) noexcept = default;
NcclPeer& NcclPeer::operator=(NcclPeer&&) noexcept = default;

void NcclPeer::all_reduce(cudaStream_t) {
  fail();
}

void NcclPeer::open_barrier() {
  fail();
}

void NcclPeer::barrier(cudaStream_t) {
  fail();
}

}  // namespace lockstep::bench::gpu
