// One rank's part of the learning: its words, its steps, and when it has seen enough.
#pragma once

#include "lockstep/lockstep.hpp"

#include "dataset.hpp"
#include "model.hpp"
#include "options.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace ngram {

/// Notices when a number that should fall does not any more.
class Patience {
 public:
  struct Limits {
    std::uint64_t poor_steps = 1;
    double min_gain = 0;  ///< fraction of the best so far
  };
  /// True from the time on when `poor_steps` steps in a row have gained less than `min_gain`.
  bool is_over_after(double value, const Limits& limits);

  /// What it has seen, so that another run can go on with it.
  double best = std::numeric_limits<double>::infinity();
  std::uint64_t poor = 0;
};

/// What a rank has to show for its work.
struct Training {
  explicit Training(std::uint32_t order) : model(order) {}
  Model model;
  std::uint64_t share = 0;  ///< words to count
  std::uint64_t words = 0;  ///< words counted
  std::uint64_t steps = 0;
  double perplexity = 0;  ///< of this rank's held-out words, as its own counts see them
  Patience patience;
  bool has_asked = false;    ///< it has raised the trigger
  bool has_stopped = false;  ///< it has seen the trigger, as all have
};

/// Counts this rank's share of the words in steps, from where `training` is, and calls `after_step`
/// after each. Collective. All ranks leave after the same step, whoever has raised the trigger.
void train(lockstep::Session& session, const Options& options, const Dataset& data,
           Training& training, const std::function<void(const Training&)>& after_step);

/// The ranks that raised the trigger, told to every rank. Collective.
std::vector<std::uint32_t> find_askers(lockstep::Session& session, bool has_asked);

}  // namespace ngram
