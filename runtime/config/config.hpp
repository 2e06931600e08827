// Every setting of lockstep: one struct, filled once from one table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep {

enum class Detach { automatic, yes, no };
enum class PageKind { memfd, shm };
enum class PlanKind { automatic, tree, dissemination };

struct PlanChoice {
  PlanKind kind = PlanKind::automatic;
  std::uint32_t radix = 0;  ///< 0: automatic
};

struct Config {
  std::string bootstrap;
  Detach detach;
  std::string gpu;         ///< "auto", "none", an ordinal or a UUID; judged where GPUs are seen
  bool gpu_peers;          ///< GPUs that reach each other's memory use it
  std::string gpu_plugin;  ///< its name
  std::string interface;
  Nanos grace;
  Nanos join_timeout;
  std::string log;
  PageKind page;
  PlanChoice plan;
  std::string plugin_path;
  std::string record;  ///< a file's path, or empty
  Nanos report;
  std::vector<int> signals;
  std::string switches;  ///< "auto", "none" or a path
  Nanos spin;            ///< negative: choose by the number of ranks and cores
  bool fault_tolerance;
  Nanos stop_before_end;  ///< kNever: not asked for
  Nanos timeout;
  std::string transport;
  std::string trigger_file;  ///< a path, or empty
  Nanos yield;

  /// All settings from `environment`. Unknown LOCKSTEP_* names are put into `warnings`, each with
  /// a known name that is near, if there is one.
  static Result<Config> load(const Environment& environment, std::vector<std::string>& warnings);
};

/// One row of the table: what `lockstep info` and the manual print.
struct Setting {
  const char* name;
  const char* fallback;  ///< the default, as one would type it
  const char* form;      ///< what a value looks like, with its unit
  const char* help;
  bool (*apply)(Config&, std::string_view);  ///< false: malformed, nothing changed
};

std::span<const Setting> settings();

/// "250ms", "30s", "never"; nothing else. False: malformed.
bool parse_duration(std::string_view text, Nanos& value);

}  // namespace lockstep
