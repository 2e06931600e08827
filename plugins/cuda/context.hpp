// The CUDA context that a thread is in, and changes of it that nobody notices afterwards.
#pragma once

#include <cuda.h>

#include <string>

#include "lockstep/error.h"
#include "plugins/cuda/library.hpp"

namespace lockstep::cuda {

class Contexts {
 public:
  lockstep_status_t find_functions(const Library& library, std::string& why);

  /// The calling thread's; nullptr: it has none.
  CUcontext current() const;
  /// Of a stream; that of NULL is the thread's current one.
  CUresult of(CUstream stream, CUcontext& context) const;
  /// A number that no other context ever has; 0 where the driver has none.
  unsigned long long id(CUcontext context) const;

  class Inside;
  class Undisturbed;

 private:
  decltype(cuStreamGetCtx)* stream_context_ = nullptr;
  decltype(cuThreadExchangeStreamCaptureMode)* exchange_mode_ = nullptr;
  decltype(cuCtxGetCurrent)* current_ = nullptr;
  decltype(cuCtxPushCurrent)* push_ = nullptr;
  decltype(cuCtxPopCurrent)* pop_ = nullptr;
  decltype(cuCtxGetId)* id_ = nullptr;  ///< CUDA 12
};

/// While this lives that context is the thread's current one.
class Contexts::Inside {
 public:
  Inside(const Contexts& contexts, CUcontext context);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  const Contexts& contexts_;
  bool has_pushed_ = false;
};

/// While this lives nothing that is called here breaks a capture that another stream of the process
/// is in; page-locking would.
class Contexts::Undisturbed {
 public:
  explicit Undisturbed(const Contexts& contexts);
  ~Undisturbed();
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  const Contexts& contexts_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

/// Does it say that there is no such stream, rather than that a GPU has failed?
inline bool is_no_stream(CUresult result) {
  return result == CUDA_ERROR_INVALID_HANDLE || result == CUDA_ERROR_INVALID_CONTEXT ||
         result == CUDA_ERROR_CONTEXT_IS_DESTROYED || result == CUDA_ERROR_INVALID_VALUE;
}

}  // namespace lockstep::cuda
