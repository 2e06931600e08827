// Futexes across processes: the bells of the page.
#include "runtime/node/wait.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace lockstep::node {

void sleep_on(Bell& bell, std::uint32_t seen, Nanos limit) noexcept {
  if (limit <= 0) return;
  const timespec relative{.tv_sec = static_cast<time_t>(limit / kSecond),
                          .tv_nsec = static_cast<long>(limit % kSecond)};
  // Errors (changed value, signal, time out) all mean the same: look again.
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&bell.value), FUTEX_WAIT, seen, &relative,
          nullptr, 0);
}

void wake_all(Bell& bell) noexcept {
  bell.value.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&bell.value), FUTEX_WAKE, INT_MAX, nullptr,
          nullptr, 0);
}

}  // namespace lockstep::node
