// A thread that looks whether there is something to see to, since a free poll does not: when a bell
// rings, and now and then.
#pragma once

#include <functional>
#include <thread>

#include "runtime/base/time.hpp"
#include "runtime/node/page.hpp"

namespace lockstep::progress {

class Lookout {
 public:
  /// Calls `look`, on a thread of its own, whenever the bell has rung and after the pause that it
  /// has returned, until destroyed. The bell outlives this.
  Lookout(node::Bell& bell, std::function<Nanos()> look);
  ~Lookout();
  Lookout(const Lookout&) = delete;
  Lookout& operator=(const Lookout&) = delete;

 private:
  node::Bell& bell_;
  std::jthread thread_;
};

}  // namespace lockstep::progress
