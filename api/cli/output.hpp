// Writes whole lines to stdout and stderr: the ranks' under --tag-output, and the launcher's own.
#pragma once

#include "api/cli/placement.hpp"
#include "api/cli/poll_set.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace lockstep::cli {

/// Which of a rank's streams; the value is the file descriptor, here and in the rank.
enum class Stream : std::int32_t { out = 1, err = 2 };

/// Never blocks in a write: a paused terminal or pager must not keep the launcher from its signals.
class Output {
 public:
  explicit Output(const Placement& placement);

  /// Bytes of a rank as they come; written line by line, each with "[rank@node] " before it.
  void add(Rank rank, Stream stream, std::string_view bytes);
  /// Ends a last line that has no newline; for a rank that has ended.
  void end_lines(Rank rank);
  /// A message of the launcher itself.
  void say(std::string_view message);

  /// Too much is waiting to be written; take nothing more from the ranks for now.
  [[nodiscard]] bool is_congested() const;
  /// Nobody reads stdout any more, as with `| head`; what comes for it is thrown away.
  [[nodiscard]] bool has_lost_reader() const;
  /// Something is waiting to be written.
  [[nodiscard]] bool is_waiting() const;
  void watch(PollSet& polls);

 private:
  struct Sink {
    int fd;
    std::string waiting;
    std::size_t written = 0;
    bool is_lost = false;  ///< The reader has gone away.
  };
  [[nodiscard]] Sink& sink(Stream stream);
  void write_line(Rank rank, Stream stream, std::string_view line);
  static void write_some(Sink& sink);

  const Placement& placement_;
  std::array<Sink, 2> sinks_;
  bool is_one_file_;
  std::map<std::pair<Rank, Stream>, std::string> unfinished_;
};

}  // namespace lockstep::cli
