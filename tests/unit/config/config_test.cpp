// Settings: what is typed is what is meant, and a typing error is never silent.
// Method: every row of the table is tried with its default, with good values and with bad ones.
#include "runtime/config/config.hpp"

#include <gtest/gtest.h>
#include <csignal>

#include <algorithm>
#include <map>

namespace lockstep {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

struct Loaded {
  Result<Config> config;
  std::vector<std::string> warnings;
};

Loaded load(Values values) {
  std::vector<std::string> warnings;
  Result<Config> config = Config::load(Environment(std::move(values)), warnings);
  return {std::move(config), std::move(warnings)};
}

Config good(Values values) {
  Loaded loaded = load(std::move(values));
  EXPECT_TRUE(loaded.config.ok()) << loaded.config.status().text();
  EXPECT_TRUE(loaded.warnings.empty());
  return loaded.config.ok() ? *loaded.config : Config{};
}

const std::vector<std::string>& bad_durations() {
  static const std::vector<std::string> bad = {
      "",    "1",    "s",    "-1s",  "1 s",   " 1s",  "1s ",    "+1s",   "1S",      "1sec", "one s",
      "nan", "nans", "infs", "0x1s", "1e99h", "1,5s", "1.2.3s", "Never", "never s", "1m",   "1d"};
  return bad;
}

std::vector<std::string> bad_durations_and(std::initializer_list<std::string> more) {
  std::vector<std::string> bad = bad_durations();
  bad.insert(bad.end(), more);
  return bad;
}

/// Values that must be refused, for every setting whose values have a form.
const std::map<std::string, std::vector<std::string>>& bad_values() {
  static const std::map<std::string, std::vector<std::string>> bad = {
      {"LOCKSTEP_BOOTSTRAP", {"", "PMIX", "pmi2", "auto "}},
      {"LOCKSTEP_DETACH", {"", "true", "1", "Yes"}},
      {"LOCKSTEP_FAULT_TOLERANCE", {"", "true", "1", "Yes", "auto"}},
      {"LOCKSTEP_GPU_PEERS", {"", "off", "1", "YES"}},
      {"LOCKSTEP_GPU_PLUGIN", {"", "CUDA", "../evil", "a b", "cuda.so"}},
      {"LOCKSTEP_GRACE", bad_durations_and({"0s", "499ms", "1ns"})},
      {"LOCKSTEP_JOIN_TIMEOUT", bad_durations()},
      {"LOCKSTEP_LOG", {"", "verbose", "WARN", "3"}},
      {"LOCKSTEP_PAGE", {"", "posix", "auto", "memfd,shm"}},
      {"LOCKSTEP_PLAN",
       {"", "ring", "tree:", "tree:1", "tree:0", "tree:65", "tree:-2", "tree:+4", "tree:4x",
        "tree: 4", "tree:4:4", "tree:4294967298", "auto:4", ":4", "Tree", "dissemination:1"}},
      {"LOCKSTEP_REPORT", bad_durations_and({"0s", "99ms"})},
      {"LOCKSTEP_SIGNALS",
       {"KILL", "STOP", "SEGV", "term", "TERM,", ",TERM", "TERM,,USR1", "TERM USR1", "0", "99"}},
      {"LOCKSTEP_STOP_BEFORE_END", bad_durations()},
      {"LOCKSTEP_SPIN", bad_durations_and({"never"})},
      {"LOCKSTEP_SWITCHES",
       {"", ".", ".s0", "s0.", "core..s0", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17",
        std::string(1'025, 's')}},
      {"LOCKSTEP_TIMEOUT", bad_durations()},
      {"LOCKSTEP_TRANSPORT", {"", "UCX", "../evil", "a b", "ucx.so"}},
      {"LOCKSTEP_YIELD", bad_durations()},
  };
  return bad;
}

bool takes_any_text(const Setting& setting) {
  return setting.name == std::string_view("LOCKSTEP_GPU") ||  // judged where GPUs are seen
         setting.name == std::string_view("LOCKSTEP_INTERFACE") ||
         setting.name == std::string_view("LOCKSTEP_PLUGIN_PATH") ||
         setting.name == std::string_view("LOCKSTEP_RECORD") ||
         setting.name == std::string_view("LOCKSTEP_TRIGGER_FILE");
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Config, TheTableIsSortedAndComplete) {
  const auto rows = settings();
  ASSERT_FALSE(rows.empty());
  for (const Setting& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(std::string_view(row.name).starts_with("LOCKSTEP_"));
    EXPECT_NE(std::string_view(row.form), "");
    EXPECT_NE(std::string_view(row.help), "");
    const bool is_tested = takes_any_text(row) || bad_values().count(row.name) == 1;
    EXPECT_TRUE(is_tested) << "a setting without bad values in this test";
  }
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(), [](const Setting& a, const Setting& b) {
    return std::string_view(a.name) < b.name;
  }));
}

TEST(Config, EveryDefaultIsAcceptedAsIfTyped) {
  good({});
  for (const Setting& row : settings()) {
    SCOPED_TRACE(row.name);
    good({{row.name, row.fallback}});
  }
}

TEST(Config, DefaultsAreWhatTheTableSays) {
  const Config config = good({});
  EXPECT_EQ(config.bootstrap, "auto");
  EXPECT_EQ(config.detach, Detach::automatic);
  EXPECT_EQ(config.gpu, "auto");
  EXPECT_EQ(config.gpu_plugin, "cuda");
  EXPECT_EQ(config.interface, "");
  EXPECT_FALSE(config.fault_tolerance);
  EXPECT_EQ(config.grace, 2 * kSecond);
  EXPECT_EQ(config.log, "warn");
  EXPECT_EQ(config.page, PageKind::memfd);
  EXPECT_EQ(config.plan.kind, PlanKind::automatic);
  EXPECT_EQ(config.plan.radix, 0u);
  EXPECT_EQ(config.report, 30 * kSecond);
  EXPECT_EQ(config.record, "");
  EXPECT_TRUE(config.signals.empty());
  EXPECT_LT(config.spin, 0);
  EXPECT_EQ(config.stop_before_end, kNever);
  EXPECT_EQ(config.switches, "auto");
  EXPECT_EQ(config.timeout, 600 * kSecond);
  EXPECT_EQ(config.transport, "auto");
  EXPECT_EQ(config.trigger_file, "");
  EXPECT_EQ(config.yield, kMillisecond);
}

TEST(Config, GoodValuesArriveInTheirFields) {
  const Config config = good({{"LOCKSTEP_BOOTSTRAP", "single"},
                              {"LOCKSTEP_DETACH", "no"},
                              {"LOCKSTEP_FAULT_TOLERANCE", "yes"},
                              {"LOCKSTEP_GPU", "GPU-anything"},
                              {"LOCKSTEP_GPU_PEERS", "no"},
                              {"LOCKSTEP_GPU_PLUGIN", "mine"},
                              {"LOCKSTEP_GRACE", "3s"},
                              {"LOCKSTEP_INTERFACE", "ib0"},
                              {"LOCKSTEP_JOIN_TIMEOUT", "5s"},
                              {"LOCKSTEP_LOG", "debug"},
                              {"LOCKSTEP_PAGE", "shm"},
                              {"LOCKSTEP_PLAN", "dissemination:64"},
                              {"LOCKSTEP_PLUGIN_PATH", "/a:/b"},
                              {"LOCKSTEP_REPORT", "7s"},
                              {"LOCKSTEP_RECORD", "/a/b.json"},
                              {"LOCKSTEP_SIGNALS", "TERM,SIGUSR1,12,TERM"},
                              {"LOCKSTEP_SPIN", "0us"},
                              {"LOCKSTEP_STOP_BEFORE_END", "5min"},
                              {"LOCKSTEP_TIMEOUT", "never"},
                              {"LOCKSTEP_TRANSPORT", "pmix_fence"},
                              {"LOCKSTEP_YIELD", "9ms"}});
  EXPECT_EQ(config.bootstrap, "single");
  EXPECT_EQ(config.detach, Detach::no);
  EXPECT_TRUE(config.fault_tolerance);
  EXPECT_EQ(config.gpu, "GPU-anything");
  EXPECT_EQ(config.gpu_plugin, "mine");
  EXPECT_EQ(config.grace, 3 * kSecond);
  EXPECT_EQ(config.interface, "ib0");
  EXPECT_EQ(config.join_timeout, 5 * kSecond);
  EXPECT_EQ(config.record, "/a/b.json");
  EXPECT_EQ(config.signals, (std::vector<int>{SIGTERM, SIGUSR1, SIGUSR2}));
  EXPECT_EQ(config.stop_before_end, 300 * kSecond);
  EXPECT_EQ(config.log, "debug");
  EXPECT_EQ(config.page, PageKind::shm);
  EXPECT_EQ(config.plan.kind, PlanKind::dissemination);
  EXPECT_EQ(config.plan.radix, 64u);
  EXPECT_EQ(config.plugin_path, "/a:/b");
  EXPECT_EQ(config.report, 7 * kSecond);
  EXPECT_EQ(config.spin, 0);
  EXPECT_EQ(config.timeout, kNever);
  EXPECT_EQ(config.transport, "pmix_fence");
  EXPECT_EQ(config.yield, 9 * kMillisecond);
  EXPECT_EQ(good({{"LOCKSTEP_PLAN", "tree:2"}}).plan.kind, PlanKind::tree);
  EXPECT_EQ(good({{"LOCKSTEP_PLAN", "tree"}}).plan.radix, 0u);
  EXPECT_EQ(good({{"LOCKSTEP_DETACH", "yes"}}).detach, Detach::yes);
}

TEST(Config, AMalformedValueIsAnErrorThatNamesVariableValueAndForm) {
  for (const Setting& row : settings()) {
    if (takes_any_text(row)) continue;
    for (const std::string& value : bad_values().at(row.name)) {
      SCOPED_TRACE(std::string(row.name) + "=" + value);
      const Loaded loaded = load({{row.name, value}});
      ASSERT_FALSE(loaded.config.ok());
      const Status& status = loaded.config.status();
      EXPECT_TRUE(status.is(LOCKSTEP_E_CONFIG));
      EXPECT_TRUE(contains(status.text(), std::string(row.name) + "=" + value)) << status.text();
      EXPECT_TRUE(contains(status.text(), row.form)) << status.text();
    }
  }
}

TEST(Config, AMalformedValueChangesNothing) {
  for (const Setting& row : settings()) {
    if (takes_any_text(row)) continue;
    for (const std::string& value : bad_values().at(row.name)) {
      SCOPED_TRACE(std::string(row.name) + "=" + value);
      Config before = good({{"LOCKSTEP_PLAN", "tree:7"}});
      EXPECT_FALSE(row.apply(before, value));
      EXPECT_EQ(before.plan.kind, PlanKind::tree);
      EXPECT_EQ(before.plan.radix, 7u);
      EXPECT_EQ(before.grace, 2 * kSecond);
      EXPECT_EQ(before.timeout, 600 * kSecond);
      EXPECT_EQ(before.yield, kMillisecond);
      EXPECT_LT(before.spin, 0);
      EXPECT_EQ(before.transport, "auto");
    }
  }
}

TEST(Config, AnUnknownNameWarnsWithTheNearest) {
  const std::map<std::string, std::string> typed = {
      {"LOCKSTEP_TIMOUT", "LOCKSTEP_TIMEOUT"},
      {"LOCKSTEP_TIME_OUT", "LOCKSTEP_TIMEOUT"},
      {"LOCKSTEP_TRANSPORTS", "LOCKSTEP_TRANSPORT"},
      {"LOCKSTEP_LGO", "LOCKSTEP_LOG"},
      {"LOCKSTEP_PLAN_", "LOCKSTEP_PLAN"},
      {"LOCKSTEP_PLUGINPATH", "LOCKSTEP_PLUGIN_PATH"}};
  for (const auto& [name, meant] : typed) {
    SCOPED_TRACE(name);
    const Loaded loaded = load({{name, "1s"}});
    ASSERT_TRUE(loaded.config.ok());
    ASSERT_EQ(loaded.warnings.size(), 1u);
    EXPECT_TRUE(contains(loaded.warnings[0], name)) << loaded.warnings[0];
    EXPECT_TRUE(contains(loaded.warnings[0], meant + "?")) << loaded.warnings[0];
  }
}

TEST(Config, OtherPeoplesVariablesAreNotItsBusiness) {
  const Loaded loaded = load({{"PATH", "/bin"}, {"SLURM_PROCID", "3"}, {"XLOCKSTEP_LOG", "loud"}});
  EXPECT_TRUE(loaded.config.ok());
  EXPECT_TRUE(loaded.warnings.empty());
}

TEST(Config, WhatSlurmsPluginGivesTheTasksIsNoTypingError) {
  const Loaded loaded = load({{"LOCKSTEP_KEY_FD", "16"}, {"LOCKSTEP_EXIT_PAGE_FD", "17"}});
  EXPECT_TRUE(loaded.config.ok());
  EXPECT_TRUE(loaded.warnings.empty());
  EXPECT_EQ(load({{"LOCKSTEP_KEY_FDS", "16"}}).warnings.size(), 1u);
}

TEST(Duration, UnitsAreExact) {
  const std::map<std::string, Nanos> values = {{"0s", 0},
                                               {"1ns", 1},
                                               {"1us", 1'000},
                                               {"250ms", 250'000'000},
                                               {"1s", kSecond},
                                               {"1.5s", 1'500'000'000},
                                               {"2min", 120 * kSecond},
                                               {"1h", 3600 * kSecond},
                                               {"1e3ms", kSecond},
                                               {".5s", kSecond / 2},
                                               {"never", kNever}};
  for (const auto& [text, expected] : values) {
    SCOPED_TRACE(text);
    Nanos value = -7;
    ASSERT_TRUE(parse_duration(text, value));
    EXPECT_EQ(value, expected);
  }
}

TEST(Duration, NothingElseIsOne) {
  for (const std::string& text : bad_durations()) {
    SCOPED_TRACE(text);
    Nanos value = -7;
    EXPECT_FALSE(parse_duration(text, value));
    EXPECT_EQ(value, -7) << "outputs are set only on success";
  }
}

TEST(Duration, EveryWholeNumberOfMillisecondsIsExact) {
  for (Nanos ms = 0; ms <= 100'000; ms += 7) {
    Nanos value = -1;
    ASSERT_TRUE(parse_duration(std::to_string(ms) + "ms", value));
    ASSERT_EQ(value, ms * kMillisecond);
  }
}

TEST(Duration, AfterStaysAtNever) {
  EXPECT_EQ(after(5, 7), 12);
  EXPECT_EQ(after(5, kNever), kNever);
  EXPECT_EQ(after(kNever - 1, 5), kNever);
}

TEST(EnvironmentSnapshot, NumbersAreDecimalAndWhole) {
  const Environment environment(Values{{"A", "42"},
                                       {"B", "-1"},
                                       {"C", "4x"},
                                       {"D", ""},
                                       {"E", "4294967296"},
                                       {"F", " 1"},
                                       {"G", "4294967295"}});
  EXPECT_EQ(environment.number("A"), 42u);
  EXPECT_EQ(environment.number("G"), 4294967295u);
  for (const char* name : {"B", "C", "D", "E", "F", "absent"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(environment.number(name), std::nullopt);
  }
}

TEST(EnvironmentSnapshot, IsTakenOnce) {
  ASSERT_EQ(setenv("LOCKSTEP_TEST_SNAPSHOT", "before=x", 1), 0);
  const Environment environment = Environment::of_process();
  ASSERT_EQ(setenv("LOCKSTEP_TEST_SNAPSHOT", "after", 1), 0);
  EXPECT_EQ(environment.get("LOCKSTEP_TEST_SNAPSHOT"), "before=x");
  unsetenv("LOCKSTEP_TEST_SNAPSHOT");
}

}  // namespace
}  // namespace lockstep
