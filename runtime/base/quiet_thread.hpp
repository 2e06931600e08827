// A thread of the runtime's own: signals are the program's business, and never delivered to it.
#pragma once

#include <csignal>
#include <stop_token>
#include <thread>
#include <utility>

namespace lockstep {

/// @param body  Called with a std::stop_token or without.
template <class Body>
std::jthread quiet_thread(Body&& body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::jthread thread(std::forward<Body>(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace lockstep
