// Which tables are accepted, whatever their length, and what the survey makes of files that are no
// plugins.
#include "runtime/plugin/registry.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace lockstep::plugin {
namespace {

TEST(Survey, APipeInTheFolderIsRefusedAndNotWaitedFor) {
  std::string folder = testing::TempDir() + "lockstep-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  ASSERT_EQ(mkfifo((folder + "/lockstep_pipe.so").c_str(), 0600), 0);
  Config config;
  config.plugin_path = folder;
  alarm(20);  // ends the test if the survey waits for a writer
  const std::vector<Candidate> candidates = survey(config);
  alarm(0);
  std::filesystem::remove_all(folder);
  const auto pipe = std::find_if(candidates.begin(), candidates.end(),
                                 [](const Candidate& one) { return one.name == "pipe"; });
  ASSERT_NE(pipe, candidates.end());
  EXPECT_FALSE(pipe->is_usable);
  EXPECT_NE(pipe->verdict.find("not a plain file"), std::string::npos) << pipe->verdict;
}

/// ODD_TABLE as the plugin of odd tables finds it.
class Tables : public testing::Test {
 protected:
  Result<std::unique_ptr<Plugin>> load(const char* name) const {
    setenv("ODD_TABLE", name, 1);
    return Plugin::load(ODD_TABLES);
  }
  void expect_refused(const char* name, const std::string& why) const {
    const auto plugin = load(name);
    ASSERT_FALSE(plugin.ok()) << name;
    EXPECT_NE(plugin.status().text().find(why), std::string::npos) << plugin.status().text();
  }
  void TearDown() override { unsetenv("ODD_TABLE"); }
};

TEST_F(Tables, OneFromBeforeThereWereGpusIsATransport) {
  const auto plugin = load("old");
  ASSERT_TRUE(plugin.ok()) << plugin.status().text();
  EXPECT_TRUE(plugin.value()->is_transport());
  EXPECT_EQ(plugin.value()->gpu(), nullptr) << "read behind the table's end";
}

TEST_F(Tables, ANewerOneIsRead) {
  const auto plugin = load("newer");
  ASSERT_TRUE(plugin.ok()) << plugin.status().text();
  EXPECT_TRUE(plugin.value()->is_transport());
}

TEST_F(Tables, OneThatKnowsGpusOnlyIsNoTransport) {
  const auto plugin = load("gpu_only");
  ASSERT_TRUE(plugin.ok()) << plugin.status().text();
  EXPECT_NE(plugin.value()->gpu(), nullptr);
  EXPECT_FALSE(plugin.value()->is_transport());
}

TEST_F(Tables, OneMayDoBoth) {
  const auto plugin = load("both");
  ASSERT_TRUE(plugin.ok()) << plugin.status().text();
  EXPECT_NE(plugin.value()->gpu(), nullptr);
  EXPECT_TRUE(plugin.value()->is_transport());
}

TEST_F(Tables, ThoseThatAreTooShortOrOfferNothingAreRefused) {
  expect_refused("too_short", "its table is too short");
  expect_refused("short_gpu", "its GPU table is too short");
  expect_refused("nothing", "nor knows about GPUs");
  expect_refused("old_nothing", "nor knows about GPUs");
}

TEST_F(Tables, TheSurveyOfTransportsLeavesOutWhatIsNone) {
  Config config;
  config.plugin_path = std::filesystem::path(ODD_TABLES).parent_path();
  const auto has = [&](const char* table) {
    setenv("ODD_TABLE", table, 1);
    const auto all = survey(config);
    return std::any_of(all.begin(), all.end(),
                       [](const Candidate& one) { return one.name == "odd_tables"; });
  };
  EXPECT_TRUE(has("old"));
  EXPECT_FALSE(has("gpu_only"));
}

}  // namespace
}  // namespace lockstep::plugin
