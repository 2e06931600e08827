// Waiting for content: until it is there, or until the deadline, with what is there instead.
#include "runtime/saving/visible.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace lockstep::saving {
namespace {

class Visible : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  void put(const std::string& text) const {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }
  std::string path_ = testing::TempDir() + "lockstep-visible-" + std::to_string(getpid());
};

TEST_F(Visible, WaitsForTheContentWhateverIsThereBefore) {
  std::jthread saver([this] {
    for (const char* text : {"short", "other", "right"}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      put(text);
    }
  });
  const Status status = await_content(path_, digest_of("right"), now() + 60 * kSecond);
  EXPECT_TRUE(status.ok()) << status.text();
  std::ifstream in(path_);
  std::string text;
  in >> text;
  EXPECT_EQ(text, "right") << "it must not return before";
}

TEST_F(Visible, SaysAtTheDeadlineWhatIsThereInstead) {
  const auto text = [this] { return await_content(path_, digest_of("right"), now()).text(); };
  EXPECT_NE(text().find("No such file"), std::string::npos) << text();
  put("old");
  EXPECT_NE(text().find("it has 3 bytes and not 5"), std::string::npos) << text();
  put("wrong");
  EXPECT_NE(text().find("its XXH3 is "), std::string::npos) << text();
  put("right");
  EXPECT_EQ(text(), "");
}

}  // namespace
}  // namespace lockstep::saving
