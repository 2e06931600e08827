// Many nodes' answers as one picture: sessions with all their ranks, who waits, and for whom.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace lockstep::cli {

/// One rank in one of its groups; the fields of lockstep_sessions_json().
struct CallView {
  std::string group;
  std::string doing;
  std::uint64_t round = 0;
  std::string site;
  std::optional<double> seconds;
};

struct RankView {
  unsigned rank = 0;
  unsigned node = 0;
  std::string host;
  std::uint64_t pid = 0;
  std::string state;
  std::string process;
  std::string where;
  std::size_t at = 0;  ///< of the calls, the one it is in
  std::vector<CallView> calls;

  bool is_there() const { return state != "left" && process != "gone"; }
};

struct SessionView {
  std::string id;
  std::string job;
  std::string slurm_job;
  std::string slurm_step;
  std::string user;
  unsigned ranks = 0;
  unsigned nodes = 0;
  double up_seconds = 0;
  std::set<std::string> broken;             ///< groups
  std::map<unsigned, std::string> hosts;    ///< of nodes that were seen
  std::map<unsigned, std::string> visited;  ///< where to reach a node again, if not here
  std::vector<RankView> members;            ///< in the order of ranks

  /// As one types it: the job's name, or the number if several have that name.
  std::string name;
};

struct Picture {
  std::vector<SessionView> sessions;
  std::vector<std::string> refused;
  std::vector<std::string> silent;  ///< nodes that did not answer
};

/// Adds what one machine said. `node`: its name to Slurm, or empty. Throws what a JSON parser
/// throws.
void add_answer(Picture& picture, const std::string& answer, const std::string& node);
/// Sorts and names; after the last answer.
void complete(Picture& picture);

/// A screenful for people: who waits where, then who is not there.
std::string in_words(const SessionView& session);
/// A line for each rank.
std::string as_table(const SessionView& session);
nlohmann::ordered_json as_json(const Picture& picture);

}  // namespace lockstep::cli
