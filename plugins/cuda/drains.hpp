// Waits for streams from the host: each writes a word when it has come that far.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/error.h"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/driver.hpp"
#include "plugins/cuda/words.hpp"

namespace lockstep::cuda {

class Drains {
 public:
  Drains(const Driver& driver, const Contexts& contexts) : driver_(driver), contexts_(contexts) {}
  lockstep_status_t find_functions(std::string& why);

  /// `ticket` is 0 if all streams are idle. Failures as lockstep_gpu_t::drain_start.
  lockstep_status_t start(std::span<void* const> streams, std::uint64_t& ticket, std::string& why);
  lockstep_status_t test(std::uint64_t ticket, std::string& why);
  void drop(std::uint64_t ticket);

 private:
  /// A stream that was not idle.
  struct Pending {
    CUstream stream;
    CUcontext context;
    Words* words;  ///< nullptr: it is asked instead
    Words::Given given;
  };
  struct Drain {
    bool is_open = false;
    unsigned looks = 0;
    std::vector<Pending> pending;
  };

  lockstep_status_t check_captures(std::span<void* const> streams, std::string& why) const;
  lockstep_status_t begin(CUstream stream, Drain& drain, std::string& why);
  /// Of the current context; nullptr: it has none, and streams are asked.
  Words* words_of(CUcontext context);
  CUresult ask(const Pending& pending) const;
  lockstep_status_t fail(CUresult result, std::string& why) const;
  std::uint64_t open_ticket();

  const Driver& driver_;
  const Contexts& contexts_;
  decltype(cuStreamQuery)* query_ = nullptr;
  decltype(cuStreamIsCapturing)* is_capturing_ = nullptr;
  decltype(cuStreamWriteValue32)* write_value_ = nullptr;
  LockedMemory::Functions memory_;
  /// By handle and number: a context that took another's place has words of its own.
  std::map<std::pair<CUcontext, unsigned long long>, std::unique_ptr<Words>> words_;
  std::vector<Drain> drains_;  ///< a ticket is a place here, counted from 1
};

}  // namespace lockstep::cuda
