// Where plugins log: the runtime's own log.
#pragma once

namespace lockstep::plugin {

/// For lockstep_environment_t::log; needs no context.
void log_for_plugin(void* context, int level, const char* text);

}  // namespace lockstep::plugin
