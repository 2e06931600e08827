// A failure of one rank becomes the failure of all at the same place, and is told once.
#pragma once

#include "lockstep/lockstep.hpp"

#include <functional>

namespace ngram {

/// Runs `f` on every rank, then asks whether it went well everywhere. Collective.
///
/// After a failure on any rank the first rank that failed says why, and every rank throws so that
/// told_once() ends it. Without this, ranks on which `f` worked would walk on and find others gone.
void together(lockstep::Session& session, const char* what, const std::function<void()>& f);

/// Runs the whole program. Returns its exit code: 0, or 1 after a failure that one rank has told.
int told_once(lockstep::Session& session, const std::function<void()>& program);

}  // namespace ngram
