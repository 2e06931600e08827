// Asleep but for moments.
#include "runtime/progress/lookout.hpp"

#include <utility>

#include "runtime/base/quiet_thread.hpp"
#include "runtime/node/wait.hpp"

namespace lockstep::progress {

Lookout::Lookout(node::Bell& bell, std::function<Nanos()> look)
    : bell_(bell),
      thread_(quiet_thread([&bell, look = std::move(look)](const std::stop_token& stop) {
        for (;;) {
          const std::uint32_t seen = bell.value.load(std::memory_order_acquire);
          bell.sleepers.fetch_add(1, std::memory_order_relaxed);
          std::atomic_thread_fence(std::memory_order_seq_cst);  // as in a ladder's sleep
          if (stop.stop_requested()) break;
          if (const Nanos pause = look(); pause > 0) node::sleep_on(bell, seen, pause);
          bell.sleepers.fetch_sub(1, std::memory_order_relaxed);
        }
        bell.sleepers.fetch_sub(1, std::memory_order_relaxed);
      })) {}

Lookout::~Lookout() {
  thread_.request_stop();
  node::wake_all(bell_);
}

}  // namespace lockstep::progress
