// One real PMIx server that believes to be on a node of its own: all of libpmix's server side.
#pragma once

#include "api/cli/placement.hpp"
#include "api/cli/rank_process.hpp"
#include "api/cli/upcalls.hpp"

#include <cstdint>
#include <string>

namespace lockstep::cli {

struct PmixServerSetup {
  std::string name_space;
  std::string folder;  ///< Private; everything libpmix writes goes below it.
  NodeIndex node;
  const Placement* placement;
};

/// At most one per process, because libpmix is one per process. Main thread only. There is no way
/// to stop it but to end the process: libpmix 4.2 may hang for ever in its shutdown when a rank was
/// killed in the middle of a connection.
class PmixServer {
 public:
  /// Starts the server and registers the job. Throws CommandError with libpmix's reason.
  PmixServer(const PmixServerSetup& setup, UpcallQueue& upcalls);
  PmixServer(const PmixServer&) = delete;
  PmixServer& operator=(const PmixServer&) = delete;
  ~PmixServer() = delete;

  /// Adds what the rank's PMIx_Init needs in order to find this server.
  void add_to_environment(Rank rank, CStringList& environment) const;
  /// The answer comes as a ModexFound upcall, possibly never if the rank commits nothing.
  void find_modex(Rank rank, std::uint64_t id);
  /// Gives an answer to libpmix; copies `data`.
  static void reply(const ModexReply& to, pmix_status_t status, const std::string& data);

 private:
  void register_job(const Placement& placement, NodeIndex node) const;
  void register_clients(const std::vector<Rank>& local_ranks) const;

  std::string name_space_;
  UpcallQueue& upcalls_;
};

/// What waiting processes are told when somebody they wait for is gone.
[[nodiscard]] std::int32_t lost_peer_status();

}  // namespace lockstep::cli
