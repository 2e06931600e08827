// Act together on a trigger: each rank judges by its own numbers, and one that has seen enough
// stops all of them.
#include "training.hpp"

#include <algorithm>
#include <chrono>
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

bool Patience::is_over_after(double value, const Limits& limits) {
  const bool is_first = best == std::numeric_limits<double>::infinity();
  poor = is_first || value < best * (1 - limits.min_gain) ? 0 : poor + 1;
  best = std::min(best, value);
  return poor >= limits.poor_steps;
}

void train(lockstep::Session& session, const Options& options, const Dataset& data,
           Training& training, const std::function<void(const Training&)>& after_step) {
  const auto [begin, end] = session.split_between_processes(data.words());
  const WordRange share{begin, end};
  const auto held_out = held_out_sample(data, options.seed + session.rank());
  const Patience::Limits limits{.poor_steps = options.patience, .min_gain = options.min_gain / 100};
  // Signals and the time limit raise the trigger too: it is worth asking where they can be obeyed.
  const bool may_stop = options.stop_early || !options.checkpoint.empty();
  training.share = share.size();

  while (training.steps < options.steps && !training.has_stopped) {
    const WordRange slice = share.slice(training.steps, options.steps);
    for (std::uint64_t i = slice.begin; i < slice.end; ++i) training.model.learn(data.word(i));
    training.perplexity = perplexity(training.model, held_out);
    training.words += slice.size();
    training.steps += 1;

    // A rank that had nothing to learn in a step cannot judge it.
    if (options.stop_early && slice.size() > 0 &&
        training.patience.is_over_after(training.perplexity, limits)) {
      session.set_trigger();
      training.has_asked = true;
    }
    if (may_stop) training.has_stopped = session.check_trigger({.name = "stop"});
    after_step(training);
    std::this_thread::sleep_for(std::chrono::milliseconds(options.pause_ms));
  }
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
