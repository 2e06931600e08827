// Files and checkpoints that all ranks save together: what is there afterwards, and what all are
// told.
#include <atomic>
#include <functional>

#include "tests/job/saving_fixture.hpp"

namespace {

using lockstep::CheckpointOptions;
using lockstep::Checkpoints;
using lockstep::Saver;

class SaveTogether : public SavingFixture {};
class Checkpoint : public SavingFixture {
 protected:
  std::string store() const { return folder / "store"; }
  void save(Checkpoints& checkpoints, std::uint64_t step) {
    checkpoints.save(step, [&](std::ostream& out) { out << part_of(s.rank(), step); });
  }
  /// This rank's part, as read by load().
  std::string load(const Checkpoints& checkpoints, std::uint64_t step) {
    std::string mine;
    checkpoints.load(step, [&](std::istream& in) { mine += text_of(in); });
    return mine;
  }
  std::string error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const lockstep::Error& error) {
      return error.what();
    }
    return {};
  }
  /// Flips a bit of a part, or cuts it; on the main process, and all wait for it.
  void damage(std::uint64_t step, std::uint32_t part, bool cuts) {
    if (s.is_main_process()) {
      char name[64];
      std::snprintf(name, sizeof name, "step-%08llu", static_cast<unsigned long long>(step));
      char prefix[32];
      std::snprintf(prefix, sizeof prefix, "part-%05u-", part);
      for (const auto& entry : std::filesystem::directory_iterator(store() + "/" + name)) {
        if (!entry.path().filename().string().starts_with(prefix)) continue;
        if (cuts) {
          std::filesystem::resize_file(entry, std::filesystem::file_size(entry) - 1);
        } else {
          std::fstream file(entry.path(), std::ios::in | std::ios::out);
          file.seekp(3);
          file.put('#');
        }
      }
    }
    s.wait_for_everyone({.name = "damage is done"});
  }
};

TEST_F(SaveTogether, TheMainProcessSavesAndAllAreTold) {
  const auto file = folder / "model";
  std::atomic<int> calls = 0;
  for (const bool visible : {false, true}) {
    lockstep::save_together(s.job(), file,
                            [&](std::ostream& out) { ++calls, out << "model " << visible; },
                            {.visible_everywhere = visible});
    EXPECT_EQ(text_of(file), visible ? "model 1" : "model 0") << "after the call it is there";
    s.wait_for_everyone();
  }
  EXPECT_EQ(calls, s.is_main_process() ? 2 : 0);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(SaveTogether, EveryRankHasAFileOfItsOwn) {
  lockstep::save_together(s.job(), folder / "part-{rank}.bin",
                          [&](std::ostream& out) { out << part_of(s.rank(), 1); },
                          {.saver = Saver::every_rank, .visible_everywhere = true});
  for (std::uint32_t rank = 0; rank < s.size(); ++rank) {
    EXPECT_EQ(text_of(folder / ("part-" + std::to_string(rank) + ".bin")), part_of(rank, 1));
  }
  EXPECT_EQ(entries(), s.size());
}

TEST_F(SaveTogether, OneFileForEverybodyIsRefused) {
  const auto save = [&] {
    lockstep::save_together(s.job(), folder / "part.bin", [](std::ostream& out) { out << 1; },
                            {.saver = Saver::every_rank});
  };
  if (s.size() > 1) {
    EXPECT_THROW(save(), lockstep::UsageError);
  } else {
    save();
  }
}

TEST_F(SaveTogether, TheLowestRankThatFailsIsNamedToAll) {
  const std::uint32_t culprit = s.size() / 2;
  std::string text;
  try {
    lockstep::save_together(s.job(), folder / "part-{rank}",
                            [&](std::ostream& out) {
                              if (s.rank() >= culprit)
                                throw std::runtime_error("rank " + std::to_string(s.rank()));
                              out << 1;
                            },
                            {.saver = Saver::every_rank});
  } catch (const lockstep::ResourceError& error) {
    EXPECT_LT(s.rank(), culprit) << "who has failed gets its own exception";
    text = error.what();
  } catch (const std::runtime_error& error) {
    text = error.what();
    EXPECT_EQ(text, "rank " + std::to_string(s.rank()));
    text.clear();
  }
  if (s.rank() < culprit) {
    EXPECT_NE(text.find("save: rank " + std::to_string(culprit) + " on " +
                        lockstep_session_host(s.handle(), culprit) + ": save: the writer of"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(entries(), culprit) << "those below have saved, and nothing else is left";
}

TEST_F(SaveTogether, WithoutWaitingNobodyWaits) {
  // Not collective: only the main process calls it.
  if (s.is_main_process()) {
    lockstep::save_together(s.job(), folder / "model", [](std::ostream& out) { out << 1; },
                            {.wait = false});
  }
  EXPECT_EQ(entries(), 1u);
}

TEST_F(SaveTogether, BadOptionsAreRefused) {
  const auto writer = [](int, void*) { return 0; };
  const std::string path = folder / "x";
  lockstep_save_options_t options{};
  const auto status = [&] {
    return lockstep_save_together(s.job().handle(), path.c_str(), &options, writer, nullptr,
                                  nullptr);
  };
  EXPECT_EQ(status(), LOCKSTEP_E_INVALID) << "no size";
  options = {sizeof options, 3, 0};
  EXPECT_EQ(status(), LOCKSTEP_E_INVALID) << "there is no such saver";
  options = {sizeof options, 0, 1u << 31};
  EXPECT_EQ(status(), LOCKSTEP_E_INVALID);
  struct {
    lockstep_save_options_t old;
    std::uint64_t added;
  } longer{{sizeof longer, 0, 0}, 0};
  EXPECT_EQ(
      lockstep_save_together(s.job().handle(), path.c_str(), &longer.old, writer, nullptr, nullptr),
      LOCKSTEP_OK)
      << "a newer program that does not use what is new";
  longer.added = 1;
  EXPECT_EQ(
      lockstep_save_together(s.job().handle(), path.c_str(), &longer.old, writer, nullptr, nullptr),
      LOCKSTEP_E_INVALID);
}

TEST_F(Checkpoint, IsLoadedAsItWasSaved) {
  Checkpoints checkpoints(s, store(), {.visible_everywhere = true});
  EXPECT_FALSE(checkpoints.latest()) << "a store that is not there has none";
  for (const std::uint64_t step : {100u, 200u}) {
    save(checkpoints, step);
    const auto latest = checkpoints.latest();
    ASSERT_TRUE(latest);
    EXPECT_EQ(latest->step, step);
    EXPECT_EQ(latest->parts, s.size());
    std::uint64_t bytes = 0;
    for (std::uint32_t rank = 0; rank < s.size(); ++rank) bytes += part_of(rank, step).size();
    EXPECT_EQ(latest->bytes, bytes);
  }
  EXPECT_EQ(load(checkpoints, 100), part_of(s.rank(), 100));
  EXPECT_EQ(load(checkpoints, 200), part_of(s.rank(), 200));
  EXPECT_EQ(entries(), 1 + 2 * (2 + s.size())) << "folders, manifests and parts, and nothing else";
}

TEST_F(Checkpoint, APartIsReadByAnybodyAndBySmallerJobs) {
  Checkpoints checkpoints(s, store());
  save(checkpoints, 3);
  for (std::uint32_t part = 0; part < s.size(); ++part) {
    checkpoints.read(3, part, [&](std::istream& in) { EXPECT_EQ(text_of(in), part_of(part, 3)); });
  }
  EXPECT_NE(error_of([&] { checkpoints.read(3, s.size(), [](std::istream&) {}); }), "");
  // The first third of the ranks alone: each gets a share of all parts, in order.
  auto few = s.job().split(s.rank() <= s.size() / 3 ? 0 : 1);
  if (s.rank() <= s.size() / 3) {
    Checkpoints smaller(*few, store());
    EXPECT_TRUE(smaller.latest());
    std::vector<std::uint32_t> mine;
    smaller.load(3, [&](std::istream& in, std::uint32_t part) {
      EXPECT_EQ(text_of(in), part_of(part, 3));
      mine.push_back(part);
    });
    std::uint64_t sum = 0;
    for (const auto count : everybodys(*few, mine.size())) sum += count;
    EXPECT_EQ(sum, s.size());
    for (std::size_t i = 1; i < mine.size(); ++i) EXPECT_EQ(mine[i], mine[i - 1] + 1);
  }
}

TEST_F(Checkpoint, ReadingTellsHowFarItIs) {
  Checkpoints checkpoints(s, store());
  const std::string big(3'000'000 + s.rank(), 'x');
  checkpoints.save(1, [&](std::ostream& out) { out << big; });
  std::uint64_t last = 0;
  int calls = 0;
  checkpoints.load(
      1, [](std::istream& in) { in.get(); },  // what the reader leaves is checked all the same
      [&](std::uint64_t done, std::uint64_t total) {
        EXPECT_GT(done, last);
        EXPECT_EQ(total, big.size());
        last = done;
        ++calls;
      });
  EXPECT_EQ(last, big.size());
  EXPECT_GE(calls, 2);
}

TEST_F(Checkpoint, SavingAStepAgainReplacesIt) {
  Checkpoints checkpoints(s, store());
  save(checkpoints, 5);
  checkpoints.save(5, [&](std::ostream& out) { out << "again " << s.rank(); });
  EXPECT_EQ(load(checkpoints, 5), "again " + std::to_string(s.rank()));
  EXPECT_EQ(entries(), 1 + 2 + s.size()) << "the replaced parts must be gone";
}

TEST_F(Checkpoint, RetentionKeepsTheLastAndEveryMth) {
  Checkpoints checkpoints(s, store(), {.keep_last = 2, .keep_every = 4});
  for (std::uint64_t step = 1; step <= 11; ++step) save(checkpoints, step);
  s.wait_for_everyone();
  for (std::uint64_t step = 1; step <= 11; ++step) {
    const bool is_kept = step >= 10 || step % 4 == 0;
    const std::string error = error_of([&] { load(checkpoints, step); });
    EXPECT_EQ(error.empty(), is_kept) << step << ' ' << error;
    if (!is_kept) {
      EXPECT_NE(error.find("there is no checkpoint of step"), std::string::npos) << error;
    }
  }
  EXPECT_EQ(entries(), 1 + 4 * (2 + s.size()));
}

TEST_F(Checkpoint, OneThatIsDamagedIsPassedOver) {
  Checkpoints checkpoints(s, store());
  for (const std::uint64_t step : {1u, 2u, 3u, 4u}) save(checkpoints, step);
  s.wait_for_everyone();
  damage(4, s.size() - 1, false);
  EXPECT_EQ(checkpoints.latest()->step, 3u);
  EXPECT_EQ(checkpoints.latest(true)->step, 4u) << "a flipped bit changes no size";
  expect_common(error_of([&] { load(checkpoints, 4); }));
  damage(3, 0, true);
  damage(4, 0, true);
  EXPECT_EQ(checkpoints.latest(true)->step, 2u);
  if (s.is_main_process()) {
    std::ofstream(store() + "/step-00000002/manifest.json") << "{\"format\": 1}";
  }
  s.wait_for_everyone();
  EXPECT_EQ(checkpoints.latest()->step, 1u);
  EXPECT_EQ(load(checkpoints, 1), part_of(s.rank(), 1));
}

TEST_F(Checkpoint, OneWriterThatFailsLeavesNothingOfAll) {
  Checkpoints checkpoints(s, store());
  save(checkpoints, 1);
  const std::uint32_t culprit = s.size() - 1;
  bool has_thrown = false;
  const auto fail = [&](std::uint64_t step) {
    return error_of([&] {
      try {
        checkpoints.save(step, [&](std::ostream& out) {
          if (s.rank() == culprit) throw std::logic_error("mine");
          out << "half";
        });
      } catch (const std::logic_error&) {
        has_thrown = true;
      }
    });
  };
  const std::string error = fail(2);
  EXPECT_EQ(has_thrown, s.rank() == culprit);
  if (s.rank() != culprit) {
    EXPECT_NE(error.find("rank " + std::to_string(culprit) + " on "), std::string::npos) << error;
  }
  EXPECT_EQ(entries(), 1 + 2 + s.size()) << "a failed save must leave nothing";
  fail(1);  // of a step that exists already
  EXPECT_EQ(entries(), 1 + 2 + s.size());
  EXPECT_EQ(checkpoints.latest()->step, 1u);
  EXPECT_EQ(load(checkpoints, 1), part_of(s.rank(), 1)) << "the old one stays";
}

TEST_F(Checkpoint, DifferentStepsAreAnErrorOnAll) {
  Checkpoints checkpoints(s, store());
  if (s.size() == 1) return;
  const std::uint64_t step = s.is_last_process() ? 8 : 7;
  const std::string error =
      error_of([&] { checkpoints.save(step, [](std::ostream& out) { out << 1; }); });
  EXPECT_NE(error.find("pass the same step everywhere"), std::string::npos) << error;
  EXPECT_FALSE(checkpoints.latest());
}

TEST_F(Checkpoint, WhatKilledSavesHaveLeftGoesWithTheNext) {
  Checkpoints checkpoints(s, store());
  save(checkpoints, 5);
  if (s.is_main_process()) {
    namespace fs = std::filesystem;
    for (const char* step : {"step-00000003", "step-00000006", "step-00000009"}) {
      fs::create_directory(store() + "/" + step);
      std::ofstream(store() + "/" + step + "/.saving");
      std::ofstream(store() + "/" + step + "/part-00000-0000abcd") << "left";
      std::ofstream(store() + "/" + step + "/.part-00000-0000abcd.lockstep-0.tmp") << "left";
    }
  }
  s.wait_for_everyone();
  EXPECT_EQ(checkpoints.latest()->step, 5u) << "without a manifest there is no checkpoint";
  save(checkpoints, 6);
  EXPECT_EQ(entries(), 1 + 2 * (2 + s.size()) + 4) << "9 is newer, and may be in the making";
  save(checkpoints, 9);
  EXPECT_EQ(entries(), 1 + 3 * (2 + s.size()));
}

TEST_F(Checkpoint, AStoreWithoutAParentIsAnErrorThatSaysWhatToType) {
  Checkpoints checkpoints(s, folder / "nowhere" / "store");
  const std::string error = error_of([&] { save(checkpoints, 1); });
  EXPECT_NE(error.find("mkdir -p"), std::string::npos) << error;
  EXPECT_NE(error.find("rank 0 on "), std::string::npos) << error;
  expect_common(error);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Checkpoint, GoesOnBehindTheProgramsBack) {
  Checkpoints checkpoints(s, store());
  for (std::uint64_t step = 1; step <= 6; ++step) {
    std::string bytes = part_of(s.rank(), step);
    const std::string wanted = bytes;
    lockstep::Saving saving = step % 2 == 0 ? checkpoints.save_async(step, bytes)
                                            : checkpoints.save_async(step, std::move(bytes));
    if (step % 2 == 0) std::fill(bytes.begin(), bytes.end(), '!');  // they were copied
    if (step % 3 == 0) {
      while (!saving.test()) continue;
    } else {
      saving.wait();
    }
    saving.wait();  // and once more, which returns the same
    EXPECT_EQ(saving.progress().done, wanted.size());
    EXPECT_EQ(saving.progress().total, wanted.size());
    EXPECT_EQ(checkpoints.latest()->step, step);
    EXPECT_EQ(load(checkpoints, step), wanted);
  }
}

TEST_F(Checkpoint, AsManyGoOnAsMayAndTheNextWaits) {
  Checkpoints checkpoints(s, store(), {.in_flight = 2});
  const std::string big(2'000'000, 'b');
  std::vector<lockstep::Saving> savings;
  for (std::uint64_t step = 1; step <= 5; ++step) {
    savings.push_back(checkpoints.save_async(step, big));
    // Before the third was started, the first was ended: and so on.
    const auto latest = checkpoints.latest();
    EXPECT_EQ(latest ? latest->step : 0, step <= 2 ? 0 : step - 2);
  }
  std::size_t refused = 0;
  for (std::optional<lockstep::Saving> next; !next; ++refused) {
    next = checkpoints.try_save_async(6, big);
    if (next) savings.push_back(std::move(*next));
    if (!savings.empty() && savings.size() == 6) break;
  }
  for (const auto count : everybodys(s.job(), refused)) {
    EXPECT_EQ(count, refused) << "all ranks are refused alike";
  }
  for (lockstep::Saving& saving : savings) saving.wait();
  EXPECT_EQ(checkpoints.latest()->step, 6u);
}

TEST_F(Checkpoint, TheSameStepTwiceAtOnceIsTheLaterOne) {
  Checkpoints checkpoints(s, store(), {.in_flight = 3});
  for (std::uint64_t turn = 0; turn < 10; ++turn) {
    lockstep::Saving first = checkpoints.save_async(5, part_of(s.rank(), turn));
    lockstep::Saving second = checkpoints.save_async(5, part_of(s.rank(), turn + 100));
    second.wait();
    first.wait();
    EXPECT_EQ(load(checkpoints, 5), part_of(s.rank(), turn + 100));
    lockstep::Saving third = checkpoints.save_async(5, part_of(s.rank(), turn + 200));
    save(checkpoints, 5);
    third.wait();
    EXPECT_EQ(load(checkpoints, 5), part_of(s.rank(), 5));
  }
  EXPECT_EQ(entries(), 1 + 2 + s.size());
}

TEST_F(Checkpoint, OneThatNobodyWaitsForLeavesNothing) {
  Checkpoints checkpoints(s, store());
  save(checkpoints, 1);
  { const lockstep::Saving given_up = checkpoints.save_async(2, std::string(1'000'000, 'x')); }
  save(checkpoints, 3);  // whose tidying takes the empty folder along
  EXPECT_EQ(entries(), 1 + 2 * (2 + s.size()));
  EXPECT_EQ(checkpoints.latest()->step, 3u);
}

TEST_F(Checkpoint, AFailureBehindTheBackIsToldByItsWait) {
  Checkpoints good(s, store());
  Checkpoints bad(s, folder / "nowhere" / "store");
  lockstep::Saving first = bad.save_async(1, "x");
  lockstep::Saving second = good.save_async(1, "y");  // ends the first
  second.wait();
  expect_common(error_of([&] { first.wait(); }));
  expect_common(error_of([&] { first.test(); }));
  EXPECT_EQ(load(good, 1), "y");
}

}  // namespace
