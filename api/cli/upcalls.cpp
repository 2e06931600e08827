// The queue and the eventfd that wakes the poll loop.
#include "api/cli/upcalls.hpp"

#include "api/cli/command_error.hpp"

#include <sys/eventfd.h>

#include <utility>

namespace lockstep::cli {

UpcallQueue::UpcallQueue() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_.is_open()) throw CommandError(1, "no eventfd for the PMIx server");
}

void UpcallQueue::push(Upcall upcall) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(upcall));
  }
  eventfd_write(event_.get(), 1);
}

std::vector<Upcall> UpcallQueue::take() {
  eventfd_t ignored = 0;
  eventfd_read(event_.get(), &ignored);
  const std::lock_guard lock(mutex_);
  return std::exchange(queue_, {});
}

}  // namespace lockstep::cli
