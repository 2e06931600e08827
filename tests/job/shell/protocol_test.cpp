// What the agent of a task and its commands say to each other, byte by byte.
// Method: what was written is read again, whole and in pieces; then damaged in every way, where the
// only other outcome than a message is a ProtocolError.
#include "api/cli/shell/protocol.hpp"

#include <gtest/gtest.h>
#include <lockstep/lockstep.h>

#include <random>
#include <vector>

namespace lockstep::cli::shell {
namespace {

std::vector<Message> examples() {
  return {Request{.action = Action::once,
                  .scope = Scope::file_system,
                  .timeout_ns = LOCKSTEP_FOREVER,
                  .name = "epoch \xff end",
                  .path = "/a b"},
          Ended{.exit_code = 137, .failure = "killed", .output = std::string("a\0b\n", 4)},
          Taken{},
          GoFirst{},
          Say{.text = "has waited"},
          Answer{.exit_code = 125,
                 .text = "why",
                 .output = std::string(100'000, '\0'),
                 .is_ready = true,
                 .is_speaker = true}};
}

std::optional<Message> read_all(const std::string& bytes) {
  Reader reader;
  reader.add(bytes);
  return reader.next();
}

TEST(Protocol, ReadsWhatItHasWritten) {
  for (const Message& message : examples()) EXPECT_EQ(read_all(encode(message)), message);
}

TEST(Protocol, ReadsAStreamInWhateverPieces) {
  std::string bytes;
  for (const Message& message : examples()) bytes += encode(message);
  for (const std::size_t piece : {1u, 3u, 7u, 65536u}) {
    Reader reader;
    std::vector<Message> read;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      reader.add(std::string_view(bytes).substr(at, piece));
      while (auto message = reader.next()) read.push_back(*message);
    }
    EXPECT_EQ(read, examples());
  }
}

TEST(Protocol, WaitsForTheRestOfAMessage) {
  for (const Message& message : examples()) {
    const std::string bytes = encode(message);
    EXPECT_FALSE(read_all(bytes.substr(0, bytes.size() - 1)).has_value());
  }
}

TEST(Protocol, RefusesAnotherVersion) {
  std::string bytes = encode(Taken{});
  bytes[4] = 2;
  EXPECT_THROW((void)read_all(bytes), ProtocolError);
}

TEST(Protocol, RefusesAKindThatIsNotDefined) {
  std::string bytes = encode(Taken{});
  bytes[5] = 6;
  EXPECT_THROW((void)read_all(bytes), ProtocolError);
}

// Before there is memory for it.
TEST(Protocol, RefusesALengthBeyondTheLimit) {
  EXPECT_THROW((void)read_all("\xff\xff\xff\xff"), ProtocolError);
}

TEST(Protocol, RefusesFieldsThatAreShortOrLong) {
  for (const Message& message : examples()) {
    const std::string bytes = encode(message);
    std::string longer = bytes + '\0';
    ++longer[0];
    ASSERT_NE(longer[0], 0);
    EXPECT_THROW((void)read_all(longer), ProtocolError);
    if (bytes.size() <= 6) continue;
    std::string shorter = bytes.substr(0, bytes.size() - 1);
    ASSERT_NE(shorter[0], 0);
    --shorter[0];
    EXPECT_THROW((void)read_all(shorter), ProtocolError);
  }
}

TEST(Protocol, RefusesARequestThatTheLibraryCouldNotTake) {
  constexpr std::size_t kAction = 6;
  constexpr std::size_t kScope = 7;
  constexpr std::size_t kTimeoutTop = 15;
  const std::string good = encode(Request{.name = "n"});
  ASSERT_TRUE(read_all(good).has_value());
  for (const std::size_t at : {kAction, kScope}) {
    std::string bad = good;
    bad[at] = 99;
    EXPECT_THROW((void)read_all(bad), ProtocolError);
  }
  std::string negative = good;
  negative[kTimeoutTop] = '\x80';
  EXPECT_THROW((void)read_all(negative), ProtocolError);
  EXPECT_THROW((void)read_all(encode(Request{.name = std::string(kNameMax + 1, 'n')})),
               ProtocolError);
  EXPECT_THROW((void)read_all(encode(Request{.name = std::string("a\0b", 3)})), ProtocolError);
  EXPECT_THROW((void)read_all(encode(Request{.path = std::string("a\0b", 3)})), ProtocolError);
  EXPECT_THROW((void)read_all(encode(Request{.path = std::string(kPathMax + 1, 'p')})),
               ProtocolError);
}

TEST(Protocol, SurvivesAnyDamage) {
  constexpr unsigned kSeed = 20261126;
  std::mt19937 random(kSeed);
  std::size_t refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::vector<Message> all = examples();
    std::string bytes = encode(all[random() % (all.size() - 1)]);
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t j = 0; j < changes; ++j) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    try {
      (void)read_all(bytes);
    } catch (const ProtocolError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u) << "seed " << kSeed;
}

TEST(Request, SaysWhatWasTyped) {
  EXPECT_EQ((Request{.action = Action::check_trigger, .name = "stop"}).text(),
            "lockstep trigger check 'stop'");
  EXPECT_EQ(Request{}.text(), "lockstep barrier");
}

}  // namespace
}  // namespace lockstep::cli::shell
