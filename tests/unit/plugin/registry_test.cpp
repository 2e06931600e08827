// What the survey of plugins makes of files that are none: a verdict each, and it comes to an end.
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

}  // namespace
}  // namespace lockstep::plugin
