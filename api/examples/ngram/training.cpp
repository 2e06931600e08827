// Act together on a trigger: each rank judges by its own numbers, and one that has seen enough
// stops all of them.
#include "training.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>
#include <thread>

namespace ngram {
namespace {

/// Half-open range of words.
struct WordRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] std::uint64_t size() const { return end - begin; }

  /// The words of one of `steps` equal steps; some are empty where there are fewer words.
  [[nodiscard]] WordRange slice(std::uint64_t step, std::uint64_t steps) const {
    return {begin + size() * step / steps, begin + size() * (step + 1) / steps};
  }
};

/// Notices when a number that should fall does not any more.
class Patience {
 public:
  struct Limits {
    std::uint64_t poor_steps = 1;
    double min_gain = 0;  ///< fraction of the best so far
  };
  explicit Patience(Limits limits) : limits_(limits) {}

  /// True from the time on when `poor_steps` steps in a row have gained less than `min_gain`.
  bool is_over_after(double value) {
    const bool is_first = best_ == std::numeric_limits<double>::infinity();
    poor_ = is_first || value < best_ * (1 - limits_.min_gain) ? 0 : poor_ + 1;
    best_ = std::min(best_, value);
    return poor_ >= limits_.poor_steps;
  }

 private:
  Limits limits_;
  double best_ = std::numeric_limits<double>::infinity();
  std::uint64_t poor_ = 0;
};

/// Some held-out words, others for every rank.
std::vector<std::string_view> held_out_sample(const Dataset& data, std::uint64_t seed) {
  constexpr std::uint64_t kSample = 400;
  const std::uint64_t total = data.held_out_words();
  const std::uint64_t first = Random(seed).below(total);
  std::vector<std::string_view> words;
  for (std::uint64_t i = 0; i < std::min(kSample, total); ++i) {
    words.push_back(data.held_out((first + i) % total));
  }
  return words;
}

}  // namespace

Training train(lockstep::Session& session, const Options& options, const Dataset& data,
               const std::function<void(const Training&)>& after_step) {
  const auto [begin, end] = session.split_between_processes(data.words());
  const WordRange share{begin, end};
  const auto held_out = held_out_sample(data, options.seed + session.rank());
  Patience patience({.poor_steps = options.patience, .min_gain = options.min_gain / 100});
  Training training(options.order);
  training.share = share.size();

  while (training.steps < options.steps && !training.has_stopped) {
    const WordRange slice = share.slice(training.steps, options.steps);
    for (std::uint64_t i = slice.begin; i < slice.end; ++i) training.model.learn(data.word(i));
    training.perplexity = perplexity(training.model, held_out);
    training.words += slice.size();
    training.steps += 1;

    if (options.stop_early) {
      // A rank that had nothing to learn in a step cannot judge it.
      if (slice.size() > 0 && patience.is_over_after(training.perplexity)) {
        session.set_trigger();
        training.has_asked = true;
      }
      training.has_stopped = session.check_trigger({.name = "early stop"});
    }
    after_step(training);
    std::this_thread::sleep_for(std::chrono::milliseconds(options.pause_ms));
  }
  return training;
}

std::vector<std::uint32_t> find_askers(lockstep::Session& session, bool has_asked) {
  // Who asked is in one group, who did not in the other; knowing one is knowing both.
  const auto mine = session.job().split(has_asked ? 1 : 0, {.name = "who asked"});
  std::vector<bool> is_asker(session.size(), !has_asked);
  for (std::uint32_t i = 0; i < mine->size(); ++i) is_asker[mine->member(i)] = has_asked;
  std::vector<std::uint32_t> askers;
  for (std::uint32_t rank = 0; rank < session.size(); ++rank) {
    if (is_asker[rank]) askers.push_back(rank);
  }
  return askers;
}

}  // namespace ngram
