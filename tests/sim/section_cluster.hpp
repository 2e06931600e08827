// One section of a group on many nodes, with production outcomes on a network that exists only in
// memory. Ranks arrive, go first, fail and die as a seed says; what the survivors see is compared.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/outcome.hpp"
#include "runtime/engine/outcomes.hpp"
#include "tests/sim/network.hpp"

namespace lockstep::sim {

/// What a rank does when it goes first.
enum class Deed {
  succeeds,
  fails,
  dies_before,    ///< before it has done anything
  dies_unheard,   ///< its record is in the page, nothing has been sent
  dies_speaking,  ///< the frames have been posted, and some of them never leave
};

struct SectionScenario {
  std::uint32_t nodes = 1;
  std::uint32_t ranks_per_node = 1;
  bool retries = false;
  Nanos grace = 2 * kSecond;
  Nanos arrival_max = kMillisecond;  ///< ranks come to the section within this time
  Nanos work = kMillisecond;         ///< how long a first takes
  Weather weather{};
  std::vector<Deed> deeds;       ///< by rank; the rest succeed
  std::map<Rank, Nanos> deaths;  ///< of ranks, whatever they are doing
  std::string text() const;
};

class SectionCluster {
 public:
  SectionCluster(const SectionScenario& scenario, std::uint64_t seed);
  ~SectionCluster();

  void run();
  /// Frames between a pair of nodes are lost for a while.
  void cut(NodeIndex from, NodeIndex to, Nanos since, Nanos until);

  struct Fate {
    bool is_dead = false;
    bool has_succeeded = false;  ///< went first, and was told that it did
    bool has_run = false;        ///< went first and did its work with success, told or not
    bool was_taken_for_dead = false;
    std::optional<engine::Outcome> seen;
  };
  const std::vector<Fate>& fates() const noexcept { return fates_; }
  Nanos now() const noexcept { return network_.now(); }
  std::uint64_t posted(engine::FrameType type) const { return network_.posted(type); }
  std::string text() const;

 private:
  struct Page;
  struct Process;

  NodeIndex node_of(Rank rank) const { return rank / scenario_.ranks_per_node; }
  std::uint32_t size() const { return scenario_.nodes * scenario_.ranks_per_node; }
  Deed deed(Rank rank) const;
  std::string record_of(Rank first, engine::OutcomeKind kind) const;
  void arrive(Rank rank);
  void go_on(Rank rank);
  bool takes_turn(Rank rank);
  void stand_by(Rank rank);
  void finish(Rank rank);
  void look(Rank rank);
  void kill(Rank rank, bool forgets);
  void tell_lost(Rank rank, Rank other);
  void make_speaker(Rank rank, bool takes_over);
  void post(Rank rank);
  void notice(NodeIndex node);
  void tick(Rank rank);

  SectionScenario scenario_;
  Random random_;
  Network network_;
  std::vector<std::unique_ptr<Page>> pages_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<Fate> fates_;
};

}  // namespace lockstep::sim
