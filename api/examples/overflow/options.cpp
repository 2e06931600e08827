// The command line of the example. All ranks parse the same one, so all come to the same result.
#include "options.hpp"

#include <CLI/CLI.hpp>

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace overflow {
namespace {

/// Of the whole text; nothing if it is no number.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || at != end) return std::nullopt;
  return number;
}

Poison parse_poison(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) {
    const std::string_view whole = text;
    const auto rank = number_in<std::uint32_t>(whole.substr(0, colon));
    const auto step = number_in<std::uint64_t>(whole.substr(colon + 1));
    if (rank && step && *step > 0) return {*rank, *step};
  }
  throw std::runtime_error("--poison " + text + ": a rank and a step from 1 on, as in 1:500");
}

constexpr const char* kFooter =
    "Examples:\n"
    "  lockstep run -n 4 overflow                   a rank on each of 4 GPUs\n"
    "  lockstep run -n 4 overflow --poison 1:500    see all of them stop\n"
    "  srun --mpi=pmix --gpus-per-node=4 --ntasks-per-node=4 --gpu-bind=none overflow\n"
    "\n"
    "Only the main process reads --data. --store must be a folder that all nodes share.\n"
    "Exit code: 0 if all went well, also when an overflow has stopped it; else 1.";

void add_options(CLI::App& app, Options& options, std::string& poison) {
  using CLI::Range;
  app.add_option("--data", options.data, "Words to learn, one a line")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--store", options.store, "Folder of the checkpoints")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--steps", options.steps, "Steps of the training")
      ->type_name("N")
      ->check(Range(1, 1'000'000'000))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "Examples of a step on each rank")
      ->type_name("N")
      ->check(Range(1, 65'536))
      ->capture_default_str();
  app.add_option("--hidden", options.hidden, "Units of the hidden layer")
      ->type_name("N")
      ->check(Range(1, 4096))
      ->capture_default_str();
  app.add_option("--rate", options.rate, "Learning rate")
      ->type_name("X")
      ->check(Range(0.0, 1000.0))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the first weights, and of who is learnt when")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--poison", poison,
                 "Make the gradients of that rank infinite in that step, counted from 1")
      ->type_name("RANK:STEP");
}

}  // namespace

CommandLine parse(int argc, char** argv) {
  CommandLine line;
  std::string poison;
  CLI::App app(
      "Learns on several GPUs which letter of a word comes next, until a gradient is not finite "
      "on\n"
      "one of them: no rank applies that step, all stop, and the last good weights are saved.",
      "overflow");
  app.footer(kFooter);
  add_options(app, line.options, poison);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.help = app.help();
  } catch (const CLI::ParseError& error) {
    throw std::runtime_error(std::string(error.what()) + "; 'overflow --help' shows what there is");
  }
  if (!poison.empty()) line.options.poison = parse_poison(poison);
  return line;
}

}  // namespace overflow
