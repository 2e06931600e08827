// Line assembly per rank and stream, and queues that are written only where poll(2) allows it.
#include "api/cli/output.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace lockstep::cli {
namespace {

constexpr std::size_t kCongestedBytes = std::size_t{4} << 20;
// A line beyond this is broken in two, so that a binary stream cannot fill the memory.
constexpr std::size_t kLineMax = std::size_t{1} << 20;

// With 2>&1 two queues would mix inside lines as soon as one write is cut short.
bool is_same_file(int a, int b) {
  struct stat facts_a {};
  struct stat facts_b {};
  return fstat(a, &facts_a) == 0 && fstat(b, &facts_b) == 0 && facts_a.st_dev == facts_b.st_dev &&
         facts_a.st_ino == facts_b.st_ino;
}

}  // namespace

Output::Output(const Placement& placement)
    : placement_(placement),
      sinks_{{{.fd = STDOUT_FILENO, .waiting = {}}, {.fd = STDERR_FILENO, .waiting = {}}}},
      is_one_file_(is_same_file(STDOUT_FILENO, STDERR_FILENO)) {}

Output::Sink& Output::sink(Stream stream) {
  return stream == Stream::err || is_one_file_ ? sinks_[1] : sinks_[0];
}

void Output::write_line(Rank rank, Stream stream, std::string_view line) {
  Sink& to = sink(stream);
  if (to.is_lost) return;
  to.waiting += fmt::format("[{}@{}] {}\n", rank, node_name(placement_.places[rank].node), line);
}

void Output::add(Rank rank, Stream stream, std::string_view bytes) {
  std::string& tail = unfinished_[{rank, stream}];
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    if (newline == std::string_view::npos && tail.size() + bytes.size() < kLineMax) break;
    const std::size_t length = std::min({newline, bytes.size(), kLineMax});
    tail.append(bytes.substr(0, length));
    write_line(rank, stream, tail);
    tail.clear();
    bytes.remove_prefix(length == newline ? length + 1 : length);
  }
  tail.append(bytes);
}

void Output::end_lines(Rank rank) {
  for (const Stream stream : {Stream::out, Stream::err}) {
    const auto found = unfinished_.find({rank, stream});
    if (found == unfinished_.end()) continue;
    if (!found->second.empty()) write_line(rank, stream, found->second);
    unfinished_.erase(found);
  }
}

void Output::say(std::string_view message) {
  Sink& to = sinks_[1];
  if (to.is_lost) return;
  to.waiting += fmt::format("lockstep run: {}\n", message);
  write_some(to);
}

bool Output::is_congested() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const Sink& sink) {
    return sink.waiting.size() - sink.written > kCongestedBytes;
  });
}

void Output::write_some(Sink& sink) {
  while (sink.written < sink.waiting.size() && !sink.is_lost) {
    // POLLOUT promises room for PIPE_BUF bytes, no more; the descriptor is shared with the shell
    // and must not be made non-blocking behind its back.
    pollfd ready{.fd = sink.fd, .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, 0) != 1) break;
    const std::size_t length = std::min<std::size_t>(sink.waiting.size() - sink.written, PIPE_BUF);
    const ssize_t count = write(sink.fd, sink.waiting.data() + sink.written, length);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) break;
    if (count < 0) sink.is_lost = true;
    sink.written += count < 0 ? 0 : static_cast<std::size_t>(count);
  }
  if (sink.is_lost || sink.written == sink.waiting.size()) {
    sink.waiting.clear();
    sink.written = 0;
  } else if (sink.written > kCongestedBytes) {
    sink.waiting.erase(0, sink.written);
    sink.written = 0;
  }
}

void Output::watch(PollSet& polls) {
  for (Sink& sink : sinks_) {
    if (sink.waiting.empty()) continue;
    polls.add(sink.fd, POLLOUT, [&sink] { write_some(sink); });
  }
}

bool Output::has_lost_reader() const {
  return sinks_[is_one_file_ ? 1 : 0].is_lost;
}

bool Output::is_waiting() const {
  return std::any_of(sinks_.begin(), sinks_.end(),
                     [](const Sink& sink) { return !sink.waiting.empty(); });
}

}  // namespace lockstep::cli
