// Pushes and pops contexts; a thread that is in the right one already pays one question.
#include "plugins/cuda/context.hpp"

#include "plugins/cuda/find.hpp"

namespace lockstep::cuda {

lockstep_status_t Contexts::find_functions(const Library& library, std::string& why) {
  LOCKSTEP_FIND(library, cuStreamGetCtx, stream_context_)
  LOCKSTEP_FIND(library, cuThreadExchangeStreamCaptureMode, exchange_mode_)
  LOCKSTEP_FIND(library, cuCtxGetCurrent, current_)
  LOCKSTEP_FIND(library, cuCtxPushCurrent, push_)
  LOCKSTEP_FIND(library, cuCtxPopCurrent, pop_)
  (void)library.find("cuCtxGetId", id_);
  return LOCKSTEP_OK;
}

CUcontext Contexts::current() const {
  CUcontext context = nullptr;
  return current_(&context) == CUDA_SUCCESS ? context : nullptr;
}

CUresult Contexts::of(CUstream stream, CUcontext& context) const {
  return stream_context_(stream, &context);
}

unsigned long long Contexts::id(CUcontext context) const {
  unsigned long long id = 0;
  if (id_ != nullptr) (void)id_(context, &id);
  return id;
}

Contexts::Inside::Inside(const Contexts& contexts, CUcontext context) : contexts_(contexts) {
  if (contexts_.current() == context) return;
  has_pushed_ = contexts_.push_(context) == CUDA_SUCCESS;
}

Contexts::Inside::~Inside() {
  CUcontext ignored = nullptr;
  if (has_pushed_) (void)contexts_.pop_(&ignored);
}

Contexts::Undisturbed::Undisturbed(const Contexts& contexts) : contexts_(contexts) {
  (void)contexts_.exchange_mode_(&mode_);
}

Contexts::Undisturbed::~Undisturbed() {
  (void)contexts_.exchange_mode_(&mode_);
}

}  // namespace lockstep::cuda
