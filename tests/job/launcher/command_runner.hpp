// Runs the built `lockstep` command as a user would, and finds what it may have left behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace lockstep::test {

using Words = std::vector<std::string>;

struct Result {
  int exit_code = -1;  ///< As a shell gives it: 128 + the signal if it was killed.
  std::string out;
  std::string err;
};

/// One started command. Its environment carries a mark that all its processes inherit, and its
/// temporary files go to a folder of its own: whatever is left can be told from everybody else's.
class Command {
 public:
  struct Options {
    Words environment = {};  ///< NAME=VALUE, in addition to the test's own.
    std::string input = {};  ///< What stdin gives before its end.
    bool merges_streams = false;
  };
  explicit Command(const Words& words) : Command(words, Options{}) {}
  Command(const Words& words, const Options& options);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Reads until stdout has shown `text`; fails the test after a long time.
  void wait_for_output(const std::string& text);
  /// Waits until so many processes carry the mark (one in the middle of exec shows none).
  void wait_for_processes(std::size_t count) const;
  /// Waits for the end. A command that hangs fails the test and is killed.
  Result wait();
  /// Processes that carry the mark and are not zombies: the command itself first, then by age.
  [[nodiscard]] std::vector<pid_t> processes() const;
  [[nodiscard]] std::vector<pid_t> children_of(pid_t parent) const;
  /// Fails the test if a process or a file is still there after the moment that dying takes.
  void expect_nothing_left() const;

 private:
  void read_some(std::chrono::milliseconds at_most);

  pid_t pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  Result result_;
  bool has_ended_ = false;
  std::string mark_;
  std::string folder_;
};

/// Starts, waits, and checks that nothing is left.
Result run(const Words& words, const Command::Options& options);
Result run(const Words& words);

/// `lockstep run` with these options and the probe in that mode.
Words probe(const Words& options, const Words& mode);
Words lockstep_run(const Words& options);

}  // namespace lockstep::test
