// A plugin's levels are the log's.
#include "runtime/plugin/plugin_log.hpp"

#include "lockstep/transport.h"
#include "runtime/observe/log.hpp"

namespace lockstep::plugin {

void log_for_plugin(void*, int level, const char* text) {
  switch (level) {
    case LOCKSTEP_LOG_ERROR:
      log::error("{}", text);
      break;
    case LOCKSTEP_LOG_WARN:
      log::warn("{}", text);
      break;
    case LOCKSTEP_LOG_INFO:
      log::info("{}", text);
      break;
    default:
      log::debug("{}", text);
      break;
  }
}

}  // namespace lockstep::plugin
