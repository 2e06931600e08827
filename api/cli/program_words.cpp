// "--" ends the options, and is one of the program's own words anywhere else.
#include "api/cli/program_words.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/commands.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lockstep::cli {

std::vector<std::string> program_words(const CLI::App& command) {
  std::vector<std::string> words = command.remaining();
  const auto mark = std::find(words.begin(), words.end(), kEndOfOptions);
  if (mark == words.begin() && mark != words.end()) {
    words.erase(mark);
  } else if (mark != words.end()) {
    *mark = "--";  // one of the program's own words
  } else if (!words.empty() && words.front().starts_with("-")) {
    throw CommandError(kExitBadUse, fmt::format("unknown option {}; 'lockstep {} --help' lists the "
                                                "known ones",
                                                words.front(), command.get_name()));
  }
  if (words.empty()) throw CommandError(kExitBadUse, "which program? none is given");
  return words;
}

}  // namespace lockstep::cli
