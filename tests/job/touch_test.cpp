// Files that set triggers, on all ranks of a job. The main process looks once a second: tests go on
// until it has, and never ask how long that took.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/job/everybody.hpp"
#include "tests/job/shared_folder.hpp"

namespace {

using lockstep::check_triggers;
using lockstep::Reason;
using lockstep::Session;
using lockstep::Trigger;
using lockstep::UsageError;

void expect_touched(const Trigger& trigger, const std::string& path) {
  const lockstep::TriggerReport report = trigger.report();
  EXPECT_EQ(report.reason, Reason::file);
  EXPECT_EQ(report.text, "the file " + path + " was touched");
  EXPECT_EQ(report.rank, 0u);
  EXPECT_EQ(report.setters, 1u);
  EXPECT_EQ(report.signal, 0);
}

TEST(Touch, AFileThatAppearsOrIsTouchedAgainFiresOnAllAndStays) {
  Session& s = the_session();
  const SharedFolder folder;
  const std::string path = folder / "save";
  const std::string there = folder / "there";
  touch(there);
  Trigger save = s.trigger("save");
  Trigger other = s.trigger("other");
  save.on_file(path);
  other.on_file(there);
  bool has_other = false;
  for (int turn = 0; turn < 2; ++turn) {
    touch(path);
    for (bool has_fired = false; !has_fired;) {
      const auto [saves, others] = check_triggers({save, other});
      has_fired = saves;
      has_other |= others;
    }
    expect_touched(save, path);
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_FALSE(save.check()) << "once for each touch";
  }
  EXPECT_FALSE(has_other) << "it was there before, and nobody has touched it since";
  save.close();
  other.close();
}

TEST(Touch, FiresInTheSamePollOnAllRanks) {
  Session& s = the_session();
  const SharedFolder folder;
  const std::string path = folder / "polled";
  Trigger save = s.trigger("polled");
  save.on_file(path);
  std::uint64_t polls = 0;
  do {
    if (++polls == 100) touch(path);
    usleep(100);
  } while (!save.poll());
  expect_touched(save, path);
  for (const std::uint64_t other : everybodys(s.job(), polls)) ASSERT_EQ(other, polls);
  save.close();
}

TEST(Touch, AFolderMayComeLaterAndTheMainProcesssPathCounts) {
  Session& s = the_session();
  const SharedFolder folder;
  const std::string path = folder / "run/save";
  const std::string wrong = folder / "wrong";
  Trigger save = s.trigger("save");
  save.on_file(folder / "replaced");
  save.on_file(s.is_main_process() ? path : wrong);
  touch(wrong);
  touch(folder / "replaced");
  if (s.is_main_process()) std::filesystem::create_directory(folder / "run");
  touch(path);
  while (!save.check()) {
  }
  expect_touched(save, path);
  save.close();
}

TEST(Touch, ARelativePathIsWhereItWasBound) {
  Session& s = the_session();
  const SharedFolder folder;
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(folder / ".");
  Trigger save = s.trigger("save");
  save.on_file("save");
  std::filesystem::current_path(before);
  touch(folder / "save");
  while (!save.check()) {
  }
  expect_touched(save, "save");
  save.close();
}

TEST(Touch, BadUseIsRefused) {
  Session& s = the_session();
  Trigger save = s.trigger("save");
  EXPECT_THROW(save.on_file(""), UsageError);
  EXPECT_THROW(save.on_file(std::string(5'000, 'x')), UsageError);
  EXPECT_THROW(save.on_file(std::string("a\0b", 3)), UsageError);
  EXPECT_NO_THROW(save.on_file("/nobody/has/made/this"));
  EXPECT_THROW(save.before_end(std::chrono::nanoseconds(-1)), UsageError);
  EXPECT_THROW(s.local().trigger("save").on_file("save"), UsageError);
  EXPECT_THROW(s.local().trigger("save").before_end(std::chrono::seconds(1)), UsageError);
  EXPECT_EQ(lockstep_trigger_bind_file(nullptr, "save"), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_bind_file(save.handle(), nullptr), LOCKSTEP_E_INVALID);
  EXPECT_EQ(lockstep_trigger_bind_end(nullptr, 0), LOCKSTEP_E_INVALID);
  save.close();
}

}  // namespace
