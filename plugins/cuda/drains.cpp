// An idle stream costs a question. Any other is given one more thing to do: a write to a word of
// the host, by the stream's own front end, which needs no room on the GPU.
#include "plugins/cuda/drains.hpp"

#include <algorithm>

#include "plugins/cuda/find.hpp"

namespace lockstep::cuda {
namespace {

/// A GPU that fails never writes: so a stream is asked now and then as well.
constexpr unsigned kLooksPerQuestion = 4096;

}  // namespace

lockstep_status_t Drains::find_functions(std::string& why) {
  const Library& library = driver_.library();
  LOCKSTEP_FIND(library, cuStreamQuery, query_)
  LOCKSTEP_FIND(library, cuStreamIsCapturing, is_capturing_)
  LOCKSTEP_FIND(library, cuStreamWriteValue32, write_value_)
  return memory_.find(library, why);
}

lockstep_status_t Drains::fail(CUresult result, std::string& why) const {
  why += driver_.text_of(result);
  return is_no_stream(result) ? LOCKSTEP_E_INVALID : LOCKSTEP_E_RESOURCE;
}

/// All of them first: asking one whether it is idle would break its capture.
lockstep_status_t Drains::check_captures(std::span<void* const> streams, std::string& why) const {
  for (std::size_t i = 0; i < streams.size(); ++i) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUresult result = is_capturing_(static_cast<CUstream>(streams[i]), &status);
    const bool is_captured = result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT ||
                             (result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE);
    why = "stream " + std::to_string(i) + " of " + std::to_string(streams.size());
    if (is_captured) {
      why +=
          " is being captured into a CUDA graph, so that nothing runs on it: end the capture first";
      return LOCKSTEP_E_STATE;
    }
    why += ": ";
    if (result != CUDA_SUCCESS) return fail(result, why);
  }
  return LOCKSTEP_OK;
}

lockstep_status_t Drains::start(std::span<void* const> streams, std::uint64_t& ticket,
                                std::string& why) {
  const Contexts::Undisturbed undisturbed(contexts_);
  if (const auto status = check_captures(streams, why); status != LOCKSTEP_OK) return status;
  ticket = 0;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto stream = static_cast<CUstream>(streams[i]);
    const CUresult idle = query_(stream);
    if (idle == CUDA_SUCCESS) continue;
    why = "stream " + std::to_string(i) + " of " + std::to_string(streams.size()) + ": ";
    lockstep_status_t status = LOCKSTEP_OK;
    if (idle != CUDA_ERROR_NOT_READY) {
      status = fail(idle, why);
    } else {
      if (ticket == 0) ticket = open_ticket();
      status = begin(stream, drains_[ticket - 1], why);
    }
    if (status != LOCKSTEP_OK) {
      if (ticket != 0) drop(ticket);
      return status;
    }
  }
  return LOCKSTEP_OK;
}

lockstep_status_t Drains::begin(CUstream stream, Drain& drain, std::string& why) {
  Pending pending{stream, nullptr, nullptr, {}};
  if (const CUresult result = contexts_.of(stream, pending.context); result != CUDA_SUCCESS) {
    return fail(result, why);
  }
  const Contexts::Inside inside(contexts_, pending.context);
  Words* const words = words_of(pending.context);
  if (words != nullptr) {
    if (const auto given = words->give()) {
      const CUresult result = write_value_(stream, given->address, given->value, 0);
      if (result == CUDA_SUCCESS) {
        pending.words = words;
        pending.given = *given;
      } else {
        words->take_back(*given);
        if (result != CUDA_ERROR_NOT_SUPPORTED) return fail(result, why);
      }
    }
  }
  drain.pending.push_back(pending);
  return LOCKSTEP_OK;
}

Words* Drains::words_of(CUcontext context) {
  std::unique_ptr<Words>& words = words_[{context, contexts_.id(context)}];
  if (words == nullptr) {
    CUresult result = CUDA_SUCCESS;
    words = std::make_unique<Words>(memory_, result);
    if (result != CUDA_SUCCESS) words.reset();
  }
  return words.get();
}

/// Streams are asked in their own context, since the default stream has no other name.
CUresult Drains::ask(const Pending& pending) const {
  const Contexts::Inside inside(contexts_, pending.context);
  const Contexts::Undisturbed undisturbed(contexts_);
  return query_(pending.stream);
}

lockstep_status_t Drains::test(std::uint64_t ticket, std::string& why) {
  Drain& drain = drains_[ticket - 1];
  const bool asks = ++drain.looks % kLooksPerQuestion == 0;
  CUresult failure = CUDA_SUCCESS;
  std::erase_if(drain.pending, [&](const Pending& one) {
    if (one.words != nullptr && one.words->has_come(one.given)) return true;
    if (one.words != nullptr && !asks) return false;
    const CUresult result = ask(one);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY) failure = result;
    return result == CUDA_SUCCESS;
  });
  if (failure == CUDA_SUCCESS && !drain.pending.empty()) return LOCKSTEP_AGAIN;
  drop(ticket);
  if (failure == CUDA_SUCCESS) return LOCKSTEP_OK;
  why = "the GPU has failed: " + driver_.text_of(failure);
  return LOCKSTEP_E_RESOURCE;
}

void Drains::drop(std::uint64_t ticket) {
  Drain& drain = drains_[ticket - 1];
  drain.pending.clear();
  drain.is_open = false;
}

std::uint64_t Drains::open_ticket() {
  auto place =
      std::find_if(drains_.begin(), drains_.end(), [](const Drain& one) { return !one.is_open; });
  if (place == drains_.end()) place = drains_.insert(drains_.end(), Drain{});
  place->is_open = true;
  place->looks = 0;
  return static_cast<std::uint64_t>(place - drains_.begin()) + 1;
}

}  // namespace lockstep::cuda
