// The command line of the example. All ranks parse the same one, so all come to the same result.
#include "options.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <stdexcept>

namespace ngram {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Home folders are what clusters share most often, so the cache goes there.
std::filesystem::path default_cache() {
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return std::filesystem::path(cache) / "lockstep-ngram";
  }
  if (const std::string home = environment("HOME"); !home.empty()) {
    return std::filesystem::path(home) / ".cache" / "lockstep-ngram";
  }
  return "/tmp/lockstep-ngram-" + std::to_string(getuid());
}

/// Debian calls it by the second name too; some systems have that one only.
std::filesystem::path default_data() {
  const std::filesystem::path words = "/usr/share/dict/words";
  const std::filesystem::path american = "/usr/share/dict/american-english";
  return !std::filesystem::exists(words) && std::filesystem::exists(american) ? american : words;
}

std::filesystem::path default_node_cache() {
  const std::string folder = environment("TMPDIR");
  return folder.empty() ? "/tmp" : folder;
}

constexpr const char* kFooter =
    "Examples:\n"
    "  lockstep run -n 8 --nodes 4 ngram                     8 ranks on 4 emulated nodes\n"
    "  srun --mpi=pmix ngram --data book.txt                 on a cluster\n"
    "  lockstep run -n 8 ngram --no-trigger --output a.model the same model for any number of "
    "ranks\n"
    "\n"
    "On a cluster --cache must be on a file system that all nodes share, and so must the "
    "folders\n"
    "of --output and --checkpoint, as every rank loads them. Only the main process reads --data.\n"
    "Exit code: 0 if all went well, else 1 on every rank.";

void add_options(CLI::App& app, Options& options, bool& no_trigger) {
  using CLI::Range;
  app.add_option("--data", options.data, "Text to learn from; only the main process reads it")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--output", options.output, "Where the model is saved")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--checkpoint", options.checkpoint,
                 "When asked to stop (LOCKSTEP_SIGNALS, time limit), save the state here and ask "
                 "Slurm to run again; go on from here if it is there")
      ->type_name("FILE");
  app.add_option("--order", options.order, "Letters of an n-gram")
      ->type_name("N")
      ->check(Range(1, 8))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Order in which words are learnt, and made up at the end")
      ->type_name("N")
      ->capture_default_str();

  app.add_option("--steps", options.steps, "Steps in which each rank counts its share")
      ->type_name("N")
      ->check(Range(1, 1'000'000))
      ->capture_default_str()
      ->group("Steps");
  app.add_option("--patience", options.patience,
                 "Poor steps in a row before a rank asks all to stop")
      ->type_name("K")
      ->check(Range(1, 1'000'000))
      ->capture_default_str()
      ->group("Steps");
  app.add_option("--min-gain", options.min_gain, "A step whose perplexity gains less is a poor one")
      ->type_name("PERCENT")
      ->check(Range(0.0, 100.0))
      ->capture_default_str()
      ->group("Steps");
  app.add_flag("--no-trigger", no_trigger, "Never stop early: all words are counted")
      ->group("Steps");
  app.add_option("--pause", options.pause_ms, "Sleep after each step, to have time to watch")
      ->type_name("MS")
      ->check(Range(0, 60'000))
      ->group("Steps");

  app.add_option("--cache", options.cache, "Folder that all nodes share")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Cache");
  app.add_option("--node-cache", options.node_cache, "Folder on each node's own disk")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Cache");
  app.add_flag("--keep-cache", options.keep_cache,
               "Keep the prepared data set; use the kept one if there is one")
      ->group("Cache");
  app.add_flag("--quiet", options.quiet, "Print errors only");
}

}  // namespace

CommandLine parse(int argc, char** argv) {
  CommandLine line;
  Options& options = line.options;
  options.data = default_data();
  options.cache = default_cache();
  options.node_cache = default_node_cache();
  bool no_trigger = false;

  CLI::App app("Learns from a text which letters follow which, on many ranks, and makes up words.",
               "ngram");
  app.footer(kFooter);
  add_options(app, options, no_trigger);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.help = app.help();
  } catch (const CLI::ParseError& error) {
    throw std::runtime_error(std::string(error.what()) + "; 'ngram --help' shows what there is");
  }
  options.stop_early = !no_trigger;
  return line;
}

}  // namespace ngram
