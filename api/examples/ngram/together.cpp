// Three kinds of failure: an error that all have agreed on, a rank that is lost, and anything else.
#include "together.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace ngram {
namespace {

using lockstep::Session;

/// The job has failed and the user knows why; there is nothing left but to leave.
struct Failed {};

void complain(const Session& session, const std::string& text) {
  fmt::print(stderr, "ngram: rank {} on {}: {}\n", session.rank(), session.host(), text);
}

/// Of those who are left, the first tells what all of them know.
bool speaks_for_survivors(const Session& session, const std::vector<std::uint32_t>& missing) {
  std::uint32_t first = 0;
  for (const std::uint32_t rank : missing) first += rank == first ? 1 : 0;
  return session.rank() == first;
}

}  // namespace

void together(Session& session, const char* what, const std::function<void()>& f) {
  std::optional<std::string> failure;
  try {
    f();
  } catch (const lockstep::BrokenGroup&) {
    throw;  // A member is lost: nobody is there to agree with.
  } catch (const std::exception& error) {
    failure = error.what();
  }
  // Not by the trigger, which a signal may raise at any time: by who is in the same boat.
  const auto like_me = session.job().split(failure ? 1 : 0, {.name = what});
  if (!failure && like_me->size() == session.size()) return;
  // When one goes first and fails, all who waited for it fail too; the lowest rank is the cause.
  if (failure && like_me->rank() == 0) complain(session, *failure);
  throw Failed{};
}

int told_once(Session& session, const std::function<void()>& program) {
  try {
    program();
    return 0;
  } catch (const Failed&) {
    // A launcher ends all ranks when one ends badly: not before all have told why and tidied up.
    session.wait_for_everyone({.name = "all have tidied up"});
  } catch (const lockstep::BrokenGroup& lost) {
    if (speaks_for_survivors(session, lost.missing())) complain(session, lost.what());
  } catch (const std::exception& error) {
    complain(session, error.what());
  }
  return 1;
}

}  // namespace ngram
