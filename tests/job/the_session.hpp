// The session of a test program that runs on every rank.
#pragma once

#include "lockstep/lockstep.hpp"

lockstep::Session& the_session();
