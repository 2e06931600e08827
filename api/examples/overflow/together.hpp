// What may fail on some ranks, before all depend on each other.
#pragma once

#include "lockstep/lockstep.hpp"

#include <exception>
#include <stdexcept>
#include <string>

namespace overflow {

/// The same on all ranks, so that one tells it.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Runs `f` on all ranks. If it throws on any, all throw Failed with the text of the lowest.
template <class F>
void together(lockstep::Session& session, F&& f) {
  std::string failure;
  try {
    f();
  } catch (const lockstep::BrokenGroup&) {
    throw;  // a member is lost: nobody is there to agree with
  } catch (const std::exception& error) {
    failure =
        "rank " + std::to_string(session.rank()) + " on " + session.host() + ": " + error.what();
  }
  for (const std::string& text : session.job().gather(failure, {.name = "has it failed?"})) {
    if (!text.empty()) throw Failed(text);
  }
}

}  // namespace overflow
