// What a process that is started as this one would get from its surroundings, and what is missing.
#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/config/environment.hpp"

namespace lockstep {

/// What cannot be read from the environment. Found cheaply: nobody is joined, nothing is started.
struct Facts {
  std::string pmix;                ///< the client library: "PMIx 4.2.2"
  bool has_server_folder = false;  ///< PMIX_SERVER_TMPDIR names a folder that is seen here
  bool has_squeue = false;         ///< there is one in PATH
  bool has_scontrol = false;       ///< likewise
  bool has_key = false;            ///< LOCKSTEP_KEY_FD is a sealed memory as long as a key
  bool has_exit_page = false;      ///< LOCKSTEP_EXIT_PAGE_FD is this step's page of exits
};

Facts look_around(const Environment& environment);

enum class Have { present, degraded, absent };

struct Capability {
  std::string name;
  Have state;
  std::string why;
  std::string advice;  ///< what to type to have more; empty: nothing helps, or nothing is missing
};

/// In the order in which a job needs them. Pure.
std::vector<Capability> capabilities(const Config& config, const Environment& environment,
                                     const Facts& facts);

const char* have_name(Have state);

}  // namespace lockstep
