// The record's fields; docs and scripts rely on their names.
#include "runtime/end_record.hpp"

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/config/signal_names.hpp"
#include "runtime/saving/replace_file.hpp"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

std::string iso_time(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

Json describe(const lockstep_trigger_report_t& stop) {
  Json json = {{"reason", reason_name(stop.reason)},
               {"text", stop.text},
               {"rank", stop.rank},
               {"host", stop.host},
               {"check", stop.check}};
  if (stop.signal != 0) json["signal"] = signal_name(stop.signal);
  if (stop.left_ns != INT64_MAX) json["seconds_left"] = static_cast<double>(stop.left_ns) * 1e-9;
  return json;
}

Json describe(const RequeueDecision& requeue, const bootstrap::Identity& who) {
  Json json = {{"verdict", requeue.is_wanted ? "requeue" : "never"},
               {"text", requeue.text},
               {"rank", requeue.rank},
               {"host", who.hosts[who.node_of[requeue.rank]]},
               {"done", requeue.error.empty()}};
  if (!requeue.error.empty()) json["error"] = requeue.error;
  return json;
}

}  // namespace

const char* reason_name(std::int32_t reason) {
  switch (reason) {
    case LOCKSTEP_REASON_SET:
      return "set";
    case LOCKSTEP_REASON_SIGNAL:
      return "signal";
    case LOCKSTEP_REASON_TIME_LIMIT:
      return "time limit";
    case LOCKSTEP_REASON_PREEMPTION:
      return "preemption";
    case LOCKSTEP_REASON_CANCEL:
      return "cancel";
    case LOCKSTEP_REASON_REQUEST:
      return "request";
    case LOCKSTEP_REASON_SUSPEND:
      return "suspend";
    case LOCKSTEP_REASON_RESUME:
      return "resume";
    case LOCKSTEP_REASON_FILE:
      return "file";
    default:
      return "unknown";
  }
}

Status EndRecord::write(const std::string& path, const bootstrap::Identity& who) const {
  Json json = {{"job", who.job},
               {"ranks", who.size},
               {"nodes", who.hosts.size()},
               {"started", iso_time(started)},
               {"ended", iso_time(std::time(nullptr))},
               {"restarts", restarts},
               {"checks", checks},
               {"stop", stop ? describe(*stop) : Json(nullptr)},
               {"save", nullptr},
               {"requeue", requeue ? describe(*requeue, who) : Json(nullptr)}};
  if (!slurm_job.empty()) json["slurm_job"] = slurm_job;
  if (save) {
    json["save"] = {{"path", save->path}, {"at", iso_time(save->at)}, {"seconds", save->seconds}};
  }
  // A path is bytes, and JSON is not.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  Replacement file(path);
  if (Status status = file.open(); !status.ok()) return status;
  if (!write_all(file.descriptor(), text)) {
    return {LOCKSTEP_E_IO, fmt::format("{}: {}", path, std::strerror(errno))};
  }
  return file.commit();
}

}  // namespace lockstep
