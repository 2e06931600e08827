// Carries what is typed at a terminal to rank 0, which is not in the terminal's foreground group.
#pragma once

#include "api/cli/poll_set.hpp"
#include "api/cli/unique_fd.hpp"

#include <string>

namespace lockstep::cli {

/// Ranks have process groups of their own (Ctrl-C is for the launcher), and such a group is stopped
/// when it reads the terminal. Files and pipes have no such rule; they go to rank 0 as they are.
class StdinRelay {
 public:
  /// Does nothing unless stdin is a terminal.
  StdinRelay();

  /// The end that rank 0 reads, to be given away once; closed if stdin is no terminal.
  [[nodiscard]] UniqueFd take_reader() { return std::move(reader_); }
  void watch(PollSet& polls);
  /// When to look again whether the launcher has become the foreground job.
  [[nodiscard]] Deadline deadline() const;
  /// In a forked process, which must not keep the pipe alive.
  void close() { writer_.reset(); }

 private:
  void read_terminal();
  void write_pipe();

  UniqueFd reader_;
  UniqueFd writer_;
  std::string typed_;
};

}  // namespace lockstep::cli
