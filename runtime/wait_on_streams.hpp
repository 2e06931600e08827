// Waits for everyone, and for what everyone has enqueued on streams of GPUs before.
#pragma once

#include <span>

#include "runtime/gpus.hpp"
#include "runtime/group.hpp"

namespace lockstep {

/// See lockstep_wait_for_everyone_on().
Status wait_for_everyone_on(Gpus& gpus, Group& group, std::span<void* const> streams, Call call);

}  // namespace lockstep
