// One poll loop, which never waits for anybody: neither for the job nor for a slow command.
#include "api/cli/shell/agent.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/poll_set.hpp"
#include "api/cli/shell/exit_codes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace lockstep::cli::shell {
namespace {

constexpr std::size_t kUnheardMax = 8192;
constexpr std::size_t kVisitorsMax = 64;

/// Standard error becomes a pipe to this process itself: the script's must not stay open here.
UniqueFd redirect_words() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw CommandError(kExitFailed, "no pipe for the agent of this task");
  }
  UniqueFd mine(ends[0]);
  const UniqueFd its(ends[1]);
  fcntl(mine.get(), F_SETFL, O_NONBLOCK);
  dup2(its.get(), STDERR_FILENO);
  return mine;
}

}  // namespace

Agent::Agent(UniqueFd listener, UniqueFd task)
    : listener_(std::move(listener)), task_(std::move(task)), words_(redirect_words()) {}

void Agent::run() {
  while (!is_over_) turn();
  visitors_.clear();
  listener_.reset();
  // In the middle of a call nobody can leave; to the others this rank is gone, as its task is.
  if (member_.is_joining() || (call_ && !call_->answer)) _exit(0);
  member_.leave();
}

void Agent::turn() {
  PollSet polls;
  polls.add(task_.get(), POLLIN, [this] { is_over_ = true; });
  polls.add(words_.get(), POLLIN, [this] { relay_words(); });
  polls.add(member_.fd(), POLLIN, [this] { take_news(); });
  // Before new ones: what a command has said before it ended comes before the next one's request.
  for (Visitor& visitor : visitors_) {
    const bool has_more = !visitor.outgoing.empty();
    polls.add(visitor.fd.get(), static_cast<short>(has_more ? POLLIN | POLLOUT : POLLIN),
              [this, &visitor] {
                flush(visitor);
                hear(visitor);
              });
  }
  if (visitors_.size() < kVisitorsMax) polls.add(listener_.get(), POLLIN, [this] { welcome(); });
  polls.wait(std::nullopt);
  visitors_.remove_if([](const Visitor& visitor) { return !visitor.fd.is_open(); });
  // Others that got further must see that it is gone, and they look for its process.
  if (visitors_.empty() && member_.has_failed()) is_over_ = true;
}

void Agent::welcome() {
  UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!fd.is_open() || getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  if (peer.uid != geteuid()) return;  // somebody else; closing says it
  visitors_.push_back({.fd = std::move(fd), .process = peer.pid});
}

void Agent::hear(Visitor& visitor) {
  std::array<char, 65536> part;
  while (visitor.fd.is_open()) {
    const ssize_t got = read(visitor.fd.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) return let_go(visitor);
    try {
      visitor.reader.add({part.data(), static_cast<std::size_t>(got)});
      while (const auto message = visitor.reader.next()) obey(visitor, *message);
    } catch (const ProtocolError& error) {
      refuse(visitor, fmt::format("the agent of this task does not understand: {}", error.what()));
      return let_go(visitor);
    }
  }
}

void Agent::obey(Visitor& visitor, const Message& message) {
  const bool is_owner = call_ && call_->owner == &visitor;
  if (const auto* const request = std::get_if<Request>(&message)) {
    if (is_owner) throw ProtocolError("a second request");
    return obey_request(visitor, *request);
  }
  if (const auto* const ended = std::get_if<Ended>(&message)) {
    if (!is_owner || !call_->runs_program) throw ProtocolError("nobody was told to go first");
    call_->runs_program = false;
    return member_.finish_first(*ended);
  }
  if (!std::holds_alternative<Taken>(message)) throw ProtocolError("not a command's to say");
  if (is_owner && call_->answer) call_.reset();
}

void Agent::obey_request(Visitor& visitor, const Request& request) {
  if (request.action == Action::set_trigger) {
    member_.set_trigger(request.name);
    return send(visitor, Answer{});
  }
  // The one before may have ended, with or without the answer, and not been heard yet.
  if (call_ && call_->owner != nullptr) hear(*call_->owner);
  if (call_ && call_->is_void && !next_) {
    next_.emplace(&visitor, request);
    return;
  }
  if (call_ && (call_->owner != nullptr || next_)) {
    return refuse(visitor, fmt::format("another command of this task is still at work: {} (process "
                                       "{}); one at a time, since all ranks must make the same "
                                       "calls in the same order",
                                       next_ ? next_->second.text() : call_->request.text(),
                                       (next_ ? next_->first : call_->owner)->process));
  }
  if (call_ && call_->request != request) {
    return refuse(visitor,
                  fmt::format("{} was ended while it waited, but to the others this rank has "
                              "arrived in it; type the same again to go on with that wait",
                              call_->request.text()));
  }
  if (!call_) return begin(visitor, request);
  call_->owner = &visitor;
  if (call_->answer) answer_owner();
}

void Agent::begin(Visitor& visitor, const Request& request) {
  call_ = Call{.request = request, .owner = &visitor};
  if (!unheard_.empty()) send(visitor, Say{std::exchange(unheard_, {})});
  member_.start(request);
}

void Agent::drop_call() {
  call_.reset();
  if (!next_) return;
  const auto [visitor, request] = *std::exchange(next_, std::nullopt);
  begin(*visitor, request);
}

void Agent::take_news() {
  while (const std::optional<Message> news = member_.take_news()) {
    if (!call_) continue;
    if (const auto* const answer = std::get_if<Answer>(&*news)) {
      call_->answer = *answer;
      if (call_->is_void) {
        drop_call();
      } else if (call_->owner != nullptr) {
        answer_owner();
      }
    } else if (call_->owner != nullptr) {
      call_->runs_program = true;
      send(*call_->owner, GoFirst{});
    } else {
      give_up(call_->request.text() + " was ended before its turn");
    }
  }
}

void Agent::answer_owner() {
  send(*call_->owner, *call_->answer);
}

/// The first cannot say any more how its program ended: the others must not wait for that, and the
/// next command of this task begins anew.
void Agent::give_up(const std::string& why) {
  call_->is_void = true;
  member_.finish_first({.exit_code = kExitFailed, .failure = why, .output = {}});
}

void Agent::let_go(Visitor& visitor) {
  visitor.fd.reset();
  if (next_ && next_->first == &visitor) next_.reset();
  if (!call_ || call_->owner != &visitor) return;
  call_->owner = nullptr;
  if (!std::exchange(call_->runs_program, false)) return;
  give_up(call_->request.text() + " was killed before its program had ended");
}

void Agent::send(Visitor& visitor, const Message& message) {
  visitor.outgoing += encode(message);
  flush(visitor);
}

void Agent::flush(Visitor& visitor) {
  while (visitor.fd.is_open() && !visitor.outgoing.empty()) {
    const ssize_t sent = ::send(visitor.fd.get(), visitor.outgoing.data(), visitor.outgoing.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return;  // later, or its end is heard
    visitor.outgoing.erase(0, static_cast<std::size_t>(sent));
  }
}

void Agent::refuse(Visitor& visitor, const std::string& why) {
  send(visitor, Answer{.exit_code = kExitFailed, .text = why});
}

void Agent::relay_words() {
  std::array<char, 4096> part;
  const ssize_t got = read(words_.get(), part.data(), part.size());
  if (got <= 0) return;
  const std::string words(part.data(), static_cast<std::size_t>(got));
  if (call_ && call_->owner != nullptr) return send(*call_->owner, Say{words});
  unheard_ += words;
  if (unheard_.size() > kUnheardMax) unheard_.erase(0, unheard_.size() - kUnheardMax);
}

}  // namespace lockstep::cli::shell
