// Plain text in columns: it reads the same on a terminal, in a log, and in Slurm's output file.
#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace ngram {
namespace {

constexpr std::uint64_t kLinesMax = 40;

/// 12345678 as 12,345,678.
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::string plural(std::uint64_t number, const char* thing) {
  return fmt::format("{} {}{}", grouped(number), thing, number == 1 ? "" : "s");
}

std::string names(const std::vector<std::uint32_t>& ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  if (ranks.size() == 2) return fmt::format("ranks {} and {}", ranks[0], ranks[1]);
  return fmt::format("ranks {}, {} and {} more", ranks[0], ranks[1], ranks.size() - 2);
}

}  // namespace

void Report::say(const std::string& text) {
  if (!options_.quiet) session_.print(text, lockstep::Scope::job);
}

void Report::greeting() {
  say(fmt::format("ngram: {} on {} learning from {} which letters follow which",
                  plural(session_.size(), "rank"), plural(session_.node_count(), "node"),
                  options_.data.string()));
}

void Report::dataset(const std::string& where, bool is_new) {
  say(fmt::format("  data set      {} {}", is_new ? "prepared by rank 0 as" : "found as", where));
}

void Report::node_caches(const Dataset& data, std::uint32_t copies) {
  const std::string how_many =
      copies == 1 ? "one copy" : fmt::format("{} copies, one on each file system,", copies);
  say(fmt::format("  node caches   {} of {} and {} held-out words, below {}", how_many,
                  grouped(data.words()), grouped(data.held_out_words()),
                  options_.node_cache.string()));
  say(fmt::format("  early stop    {}",
                  options_.stop_early
                      ? fmt::format("when {} in a row gain less than {} % on any rank",
                                    plural(options_.patience, "step"), options_.min_gain)
                      : "off"));
}

void Report::start_of_steps(const Training& training) {
  if (training.steps > 0) {
    say(fmt::format("  goes on       after step {}, from {}", training.steps,
                    options_.checkpoint.string()));
  }
  say("\n      step      words of rank 0   perplexity       gain");
  last_shown_ = training.perplexity;
}

void Report::progress(const Training& training) {
  const std::uint64_t stride = (options_.steps + kLinesMax - 1) / kLinesMax;
  const bool is_last = training.has_stopped || training.steps == options_.steps;
  if (training.steps % stride != 0 && !is_last) return;
  const std::string gain =
      last_shown_ > 0 ? fmt::format("{:+.2f} %", 100 * (1 - training.perplexity / last_shown_))
                      : "";
  say(fmt::format("{:>10}   {:>18} {:>12.3f} {:>10}",
                  fmt::format("{}/{}", training.steps, options_.steps),
                  fmt::format("{}/{}", grouped(training.words), grouped(training.share)),
                  training.perplexity, gain));
  last_shown_ = training.perplexity;
}

void Report::end_of_steps(const Training& training, const std::vector<std::uint32_t>& askers) {
  if (training.has_stopped) {
    const std::string why =
        askers.empty() ? session_.last_trigger().text : names(askers) + " asked to";
    say(fmt::format("\nall stopped at step {} of {}: {}\n", training.steps, options_.steps, why));
  } else {
    say(fmt::format("\nall have done {}\n", plural(options_.steps, "step")));
  }
}

void Report::rank_table(const Training& training, const std::vector<std::uint32_t>& askers) {
  std::string row;
  if (!options_.quiet) {
    std::string why = training.share == 0 ? "had no words" : "did all its steps";
    if (training.has_stopped) {
      why = askers.empty() ? session_.last_trigger().text : names(askers) + " asked";
    }
    if (training.has_asked) {
      why = fmt::format("asked: {} gained too little", plural(options_.patience, "step"));
    }
    if (session_.is_main_process()) {
      row =
          "  rank  node  host              words of share    steps   perplexity   stopped "
          "because\n";
    }
    row += fmt::format("{:>6} {:>5}  {:<12} {:>19} {:>8} {:>12.3f}   {}", session_.rank(),
                       session_.node(), session_.host(),
                       fmt::format("{}/{}", grouped(training.words), grouped(training.share)),
                       training.steps, training.perplexity, why);
  }
  session_.print_in_order(row, {.name = "table of ranks"});
}

void Report::interruption(bool runs_again) {
  say(fmt::format("\ncheckpoint      {}", std::filesystem::absolute(options_.checkpoint).string()));
  say(runs_again ? "  goes on       when Slurm starts this job again"
                 : "  goes on       when the same command is typed again");
}

void Report::result(const Model& model, std::uint64_t hash, double perplexity) {
  say(fmt::format("\nmodel           {}", std::filesystem::absolute(options_.output).string()));
  say(fmt::format("  counts        {} of up to {} letters, from {}", plural(model.size(), "n-gram"),
                  model.order(), plural(model.words(), "word")));
  say(fmt::format(
      "  hash          {:016x} (FNV-1a), the same on {}", hash,
      session_.size() == 1 ? "the only rank" : fmt::format("all {} ranks", session_.size())));
  say(fmt::format("  perplexity    {:.3f} on all held-out words", perplexity));
  std::string words;
  Random random(options_.seed);
  for (int i = 0; i < 10; ++i) words += " " + model.make_up_word(random);
  say("  makes up     " + words);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
  say(fmt::format("  took          {:.2f} s", took.count()));
}

}  // namespace ngram
