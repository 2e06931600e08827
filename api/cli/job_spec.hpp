// Everything that `lockstep run` was asked for, checked and complete: plain values.
#pragma once

#include "api/cli/environment.hpp"
#include "api/cli/placement.hpp"
#include "api/cli/rank_process.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::cli {

struct JobSpec {
  std::string program;                 ///< Path to execute.
  std::vector<std::string> arguments;  ///< argv, the name first.
  Environment environment;             ///< Of the ranks, before PMIx adds its own.
  Placement placement;
  std::vector<std::string> switches;  ///< Above each node; empty: none are emulated.
  std::vector<CpuList> cpus;  ///< By rank; an empty list binds to nothing.
  std::optional<std::chrono::milliseconds> time_limit;
  std::chrono::milliseconds grace{2000};  ///< From SIGTERM to SIGKILL.
  bool tags_output = false;
  bool keeps_going = false;
  std::string temporary_base;  ///< Where the nodes' private folders are made.
  std::string name;            ///< Of the PMIx namespace, and of those folders.
  InheritedSettings inherited;
};

}  // namespace lockstep::cli
