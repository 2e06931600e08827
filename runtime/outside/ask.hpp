// Leaves a request for a job's trigger in the page of its node 0, and waits for the answer.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/request/box.hpp"

namespace lockstep::outside {

/// The number of the check that told it to all ranks; see lockstep_request_trigger() for failures.
/// @param session   Its job's name or its number in hex.
/// @param patience  How long to wait for the answer.
Result<std::uint64_t> ask(const std::string& session, const request::Wish& wish, Nanos patience);

/// A session's number as people see and type it.
std::string session_id(std::uint64_t session);

}  // namespace lockstep::outside
