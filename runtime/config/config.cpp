// The table of settings, and how their values are read.
#include "runtime/config/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/config/signal_names.hpp"

namespace lockstep {
namespace {

constexpr const char* kDuration = "a number and ns, us, ms, s, min or h, or never";

template <Nanos Config::*Member>
bool duration(Config& config, std::string_view text) {
  return parse_duration(text, config.*Member);
}

template <Nanos Config::*Member, Nanos Min>
bool duration_from(Config& config, std::string_view text) {
  Nanos value = 0;
  if (!parse_duration(text, value) || value < Min) return false;
  config.*Member = value;
  return true;
}

/// An idle leader looks around every 200 ms; a shorter grace would take that for a stand-still.
constexpr Nanos kGraceMin = 500 * kMillisecond;
constexpr Nanos kReportMin = 100 * kMillisecond;

template <std::string Config::*Member>
bool any_text(Config& config, std::string_view text) {
  config.*Member = text;
  return true;
}

template <std::string Config::*Member>
bool word(Config& config, std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (text.empty() || !std::all_of(text.begin(), text.end(), fits)) return false;
  config.*Member = text;
  return true;
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool bootstrap(Config& config, std::string_view text) {
  if (!one_of(text, {"auto", "pmix", "single"})) return false;
  config.bootstrap = text;
  return true;
}

bool log_level(Config& config, std::string_view text) {
  if (!one_of(text, {"off", "error", "warn", "info", "debug"})) return false;
  config.log = text;
  return true;
}

bool detach(Config& config, std::string_view text) {
  if (!one_of(text, {"auto", "yes", "no"})) return false;
  config.detach = text == "auto" ? Detach::automatic : text == "yes" ? Detach::yes : Detach::no;
  return true;
}

template <bool Config::*field>
bool yes_or_no(Config& config, std::string_view text) {
  if (!one_of(text, {"yes", "no"})) return false;
  config.*field = text == "yes";
  return true;
}

bool page(Config& config, std::string_view text) {
  if (!one_of(text, {"memfd", "shm"})) return false;
  config.page = text == "memfd" ? PageKind::memfd : PageKind::shm;
  return true;
}

bool spin(Config& config, std::string_view text) {
  if (text == "auto") {
    config.spin = -1;
    return true;
  }
  return text != "never" && parse_duration(text, config.spin);
}

bool signals(Config& config, std::string_view text) {
  const auto list = read_signals(text);
  if (!list) return false;
  config.signals = *list;
  return true;
}

bool switches(Config& config, std::string_view text) {
  constexpr std::size_t kTextMax = 1'024;
  const bool has_gap = text.empty() || text.front() == '.' || text.back() == '.' ||
                       text.find("..") != std::string_view::npos;
  constexpr std::ptrdiff_t kLevelsMax = 16;
  if (has_gap || text.size() > kTextMax) return false;
  if (std::count(text.begin(), text.end(), '.') >= kLevelsMax) return false;
  config.switches = text;
  return true;
}

bool plan(Config& config, std::string_view text) {
  PlanChoice choice;
  const auto colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (!one_of(kind, {"auto", "tree", "dissemination"})) return false;
  choice.kind = kind == "auto"   ? PlanKind::automatic
                : kind == "tree" ? PlanKind::tree
                                 : PlanKind::dissemination;
  if (colon != std::string_view::npos) {
    const std::string_view radix = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(radix.data(), radix.data() + radix.size(), choice.radix);
    if (error != std::errc() || end != radix.data() + radix.size()) return false;
    if (choice.radix < 2 || choice.radix > 64 || kind == "auto") return false;
  }
  config.plan = choice;
  return true;
}

// In alphabetical order: it is printed as it stands.
constexpr std::array kSettings = {
    Setting{"LOCKSTEP_BOOTSTRAP", "auto", "auto, pmix or single",
            "Where this process learns who it is. auto: PMIx if a server is there, then what the "
            "launcher left in the environment, then a job of one.",
            bootstrap},
    Setting{"LOCKSTEP_DETACH", "auto", "auto, yes or no",
            "Leave PMIx after start-up, so that a rank's death cannot take the others with it. "
            "auto: yes, unless something else in the process uses PMIx.",
            detach},
    Setting{
        "LOCKSTEP_FAULT_TOLERANCE", "no", "yes or no",
        "yes: the job means to go on without ranks that died; what would end it all the same is "
        "said at the start.",
        yes_or_no<&Config::fault_tolerance>},
    Setting{"LOCKSTEP_GPU", "auto", "auto, none, an ordinal, or a UUID (GPU-..., MIG-...)",
            "This rank's GPU. auto: that of the current CUDA context, or the only one, or the "
            "local rank modulo how many this process sees.",
            any_text<&Config::gpu>},
    Setting{"LOCKSTEP_GPU_PEERS", "yes", "yes or no",
            "no: GPUs meet through their hosts, also where they reach each other's memory: slower, "
            "and a way to see whether that memory is what is wrong.",
            yes_or_no<&Config::gpu_peers>},
    Setting{"LOCKSTEP_GPU_PLUGIN", "cuda", "a plugin's name", "Which plugin is asked about GPUs.",
            word<&Config::gpu_plugin>},
    Setting{"LOCKSTEP_GRACE", "2s", "500ms or more: a number and ms, s, min or h, or never",
            "After a deadline: how long the other nodes have to answer who is missing.",
            duration_from<&Config::grace, kGraceMin>},
    Setting{"LOCKSTEP_INTERFACE", "", "a network interface's name",
            "Bind the transport to this interface only. Empty: the transport's own choice.",
            any_text<&Config::interface>},
    Setting{"LOCKSTEP_JOIN_TIMEOUT", "300s", kDuration,
            "How long the processes of a job have to find each other at start-up.",
            duration<&Config::join_timeout>},
    Setting{"LOCKSTEP_LOG", "warn", "off, error, warn, info or debug", "What is written to stderr.",
            log_level},
    Setting{"LOCKSTEP_PAGE", "memfd", "memfd or shm",
            "Kind of memory behind the node's shared page. shm: where memfd_create is forbidden.",
            page},
    Setting{"LOCKSTEP_PLAN", "auto",
            "auto, tree, tree:K, dissemination or dissemination:K (K 2..64)",
            "Who sends to whom between nodes.", plan},
    Setting{"LOCKSTEP_PLUGIN_PATH", "", "folders, separated by colons",
            "Where plugins are looked for before the installed ones.",
            any_text<&Config::plugin_path>},
    Setting{"LOCKSTEP_RECORD", "", "a file's path",
            "Where the main process writes, when it leaves, how the run ended (JSON). Empty: "
            "nowhere.",
            any_text<&Config::record>},
    Setting{"LOCKSTEP_REPORT", "30s", "100ms or more: a number and ms, s, min or h, or never",
            "How often a long wait says on stderr who is waited for.",
            duration_from<&Config::report, kReportMin>},
    Setting{"LOCKSTEP_SIGNALS", "", "names separated by commas, e.g. TERM,USR1",
            "Signals that set the trigger instead of ending the process. Empty: none.", signals},
    Setting{"LOCKSTEP_SPIN", "auto", "auto, or a number and ns, us, ms or s",
            "How long a wait spins before it yields its core. auto: 50us when every rank of this "
            "machine has a core of its own, else 0.",
            spin},
    Setting{"LOCKSTEP_STOP_BEFORE_END", "never", kDuration,
            "The trigger is set when less than this is left before the job's time limit, or less "
            "than another save would take.",
            duration<&Config::stop_before_end>},
    Setting{"LOCKSTEP_SWITCHES", "auto", "auto, none, or names like core.s1, the outermost first",
            "The switches above this node; the tree between nodes follows them. auto: what Slurm "
            "says (SLURM_TOPOLOGY_ADDR).",
            switches},
    Setting{"LOCKSTEP_TIMEOUT", "600s", kDuration, "Deadline of a round whose call names none.",
            duration<&Config::timeout>},
    Setting{"LOCKSTEP_TRANSPORT", "auto", "auto or a plugin's name",
            "What carries rounds between nodes. auto: ucx, then pmix_fence.",
            word<&Config::transport>},
    Setting{"LOCKSTEP_TRIGGER_FILE", "", "a file's path",
            "Who touches this file sets the trigger; the main process looks once a second. Empty: "
            "none.",
            any_text<&Config::trigger_file>},
    Setting{"LOCKSTEP_YIELD", "1ms", kDuration, "How long a wait yields its core before it sleeps.",
            duration<&Config::yield>},
};

/// What slurm/spank hands to the tasks is no setting of the library.
bool is_from_slurm(std::string_view name) {
  return one_of(name, {"LOCKSTEP_EXIT_PAGE_FD", "LOCKSTEP_KEY_FD"});
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

/// The nearest name, if it is near enough to be what was meant.
std::string suggestion_for(std::string_view name) {
  constexpr std::size_t kTypingErrors = 3;
  std::string_view best;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const Setting& setting : kSettings) {
    const std::size_t distance = edit_distance(name, setting.name);
    if (distance < best_distance) {
      best_distance = distance;
      best = setting.name;
    }
  }
  if (best_distance > kTypingErrors) return "type: lockstep info, to see them all";
  return fmt::format("did you mean {}?", best);
}

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

bool parse_duration(std::string_view text, Nanos& value) {
  if (text == "never") {
    value = kNever;
    return true;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return false;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double scale = 0;
  if (unit == "ns") scale = 1;
  if (unit == "us") scale = kMicrosecond;
  if (unit == "ms") scale = kMillisecond;
  if (unit == "s") scale = kSecond;
  if (unit == "min") scale = 60.0 * kSecond;
  if (unit == "h") scale = 3600.0 * kSecond;
  constexpr double kLongest = 9.0e18;  // below 2^63 ns, about 285 years
  if (scale == 0 || number * scale > kLongest) return false;
  value = static_cast<Nanos>(number * scale);
  return true;
}

Result<Config> Config::load(const Environment& environment, std::vector<std::string>& warnings) {
  Config config{};
  for (const Setting& setting : kSettings) {
    const auto given = environment.get(setting.name);
    const std::string_view text = given.value_or(setting.fallback);
    if (!setting.apply(config, text)) {
      return Status(LOCKSTEP_E_CONFIG, fmt::format("{}={} is not understood: expected {}",
                                                   setting.name, text, setting.form));
    }
  }
  for (const auto& entry : environment) {
    const std::string& name = entry.first;
    if (!name.starts_with("LOCKSTEP_") || is_from_slurm(name)) continue;
    const bool known = std::any_of(kSettings.begin(), kSettings.end(),
                                   [&](const Setting& s) { return name == s.name; });
    if (known) continue;
    warnings.push_back(
        fmt::format("{} is not a setting of lockstep; {}", name, suggestion_for(name)));
  }
  return config;
}

}  // namespace lockstep
