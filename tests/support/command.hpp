// Runs a command as a user would and keeps what it printed: for tests of whole programs.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace lockstep::test {

struct Finished {
  int status = -1;     ///< exit status; 128 + signal if a signal ended it; 124 if it took too long
  std::string output;  ///< stdout and stderr as they came
};

/// Runs `command` in a shell under timeout(1). Arguments are the test's own: no quoting is done.
inline Finished run(const std::string& command, int limit_s = 60) {
  const std::string line =
      "timeout -k 5 " + std::to_string(limit_s) + " bash -c '" + command + "' 2>&1";
  FILE* const pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  Finished finished;
  std::array<char, 4096> room;
  while (const std::size_t got = fread(room.data(), 1, room.size(), pipe)) {
    finished.output.append(room.data(), got);
  }
  const int status = pclose(pipe);
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

}  // namespace lockstep::test
