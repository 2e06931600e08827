// The one place where a visitor writes.
#include "runtime/outside/ask.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "runtime/node/page.hpp"
#include "runtime/outside/find.hpp"

namespace lockstep::outside {
namespace {

/// The page's head, mapped for writing.
class Front {
 public:
  static Result<Front> open(const FoundPage& page) {
    const UniqueFd memory(::open(page.holders.front().path.c_str(), O_RDWR | O_CLOEXEC));
    const auto refusal = [](const char* why) {
      return Status(LOCKSTEP_E_IO, fmt::format("the session's page cannot be written: {}", why));
    };
    if (!memory) return refusal(std::strerror(errno));
    // Memory that shrinks under a mapping kills whoever touches it. What has seals at all must have
    // this one; shared memory has none, and is taken as it is.
    const int seals = fcntl(memory.get(), F_GET_SEALS);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) == 0 && (seals & F_SEAL_SEAL) == 0) {
      return refusal("it is not sealed");
    }
    void* const mapped =
        mmap(nullptr, sizeof(node::PageHead), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (mapped == MAP_FAILED) return refusal(std::strerror(errno));
    return Front(static_cast<node::PageHead*>(mapped));
  }
  Front(Front&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  Front& operator=(Front&&) = delete;
  ~Front() {
    if (head_ != nullptr) munmap(head_, sizeof(node::PageHead));
  }
  request::Box& box() const { return head_->requests; }

 private:
  explicit Front(node::PageHead* head) : head_(head) {}
  node::PageHead* head_;
};

Result<Part> find_node_0(const std::string& session) {
  Result<Visit> visited = visit(now());
  if (!visited.ok()) return visited.status();
  std::vector<Part>& parts = visited->parts;
  std::erase_if(parts, [&session](const Part& part) {
    return part.seen.job != session && session_id(part.seen.session) != session;
  });
  if (parts.empty()) {
    return Status(LOCKSTEP_E_PEER,
                  fmt::format("there is no session '{}' on this machine, or it is another user's; "
                              "type: lockstep status",
                              session));
  }
  std::set<std::uint64_t> sessions;
  for (const Part& part : parts) sessions.insert(part.seen.session);
  if (sessions.size() > 1) {
    std::string ids;
    for (const std::uint64_t one : sessions) ids += " " + session_id(one);
    return Status(LOCKSTEP_E_INVALID,
                  fmt::format("{} sessions are called '{}'; type one of these instead:{}",
                              sessions.size(), session, ids));
  }
  const auto first = std::find_if(parts.begin(), parts.end(),
                                  [](const Part& part) { return part.seen.node == 0; });
  if (first == parts.end()) {
    return Status(
        LOCKSTEP_E_PEER,
        fmt::format("session '{}' has its rank 0 on another machine: ask there", session));
  }
  return std::move(*first);
}

const MemberView* rank_0(const Snapshot& seen) {
  const auto found = std::find_if(seen.members.begin(), seen.members.end(),
                                  [](const MemberView& member) { return member.rank == 0; });
  return found != seen.members.end() ? &*found : nullptr;
}

/// Says why rank 0 will not notice it any more; nothing while it may.
std::optional<std::string> why_too_late(const Part& part, const Snapshot& seen) {
  const MemberView* const first = rank_0(seen);
  if (first == nullptr || first->has_left) return "rank 0 has left";
  return part.page.process_of(*first) == Process::gone ? std::optional("rank 0 is gone")
                                                       : std::nullopt;
}

Status not_noticed(const Part& part, const Snapshot& seen, const std::string& check,
                   Nanos patience) {
  const MemberView& first = *rank_0(seen);
  const bool is_stopped = part.page.process_of(first) == Process::stopped;
  return {LOCKSTEP_AGAIN,
          fmt::format("not noticed within {:.3g} s: rank 0 on {} {}{}; it will be at its next {}",
                      static_cast<double>(patience) / kSecond, seen.host, in_words(first, now()),
                      is_stopped ? ", and its process is stopped" : "",
                      check.empty() ? "check_trigger" : fmt::format("check of '{}'", check))};
}

Result<std::uint64_t> wait_for_answer(const Part& part, request::Box& box,
                                      const request::Ticket& ticket, const std::string& check,
                                      Nanos patience) {
  const Nanos deadline = after(now(), patience);
  for (int pause_ms = 1;; pause_ms = std::min(pause_ms * 2, 50)) {
    // The answer is read last: whoever has told it and has ended since has told it.
    const Result<Snapshot> seen = look_at(part.page.reader(), part.page.size, now());
    const auto too_late = seen.ok() ? why_too_late(part, seen.value()) : "its page is damaged";
    const request::Answer answer = look(box, ticket);
    if (answer.progress == request::Progress::told) {
      finish(box, ticket);
      return answer.check;
    }
    if (answer.progress == request::Progress::lost) {
      return Status(LOCKSTEP_E_PEER, "the request was lost among others; ask again");
    }
    if (too_late) {
      return Status(LOCKSTEP_E_PEER, fmt::format("asked too late: {}", *too_late));
    }
    if (now() >= deadline) return not_noticed(part, seen.value(), check, patience);
    poll(nullptr, 0, pause_ms);
  }
}

}  // namespace

std::string session_id(std::uint64_t session) {
  return fmt::format("{:016x}", session);
}

Result<std::uint64_t> ask(const std::string& session, const request::Wish& wish, Nanos patience) {
  Result<Part> part = find_node_0(session);
  if (!part.ok()) return part.status();
  Result<Front> front = Front::open(part->page);
  if (!front.ok()) return front.status();
  std::uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    return Status(LOCKSTEP_E_RESOURCE, "no random number for the request");
  }
  Result<request::Ticket> ticket = request::post(front->box(), wish, number, now());
  if (!ticket.ok()) return ticket.status();
  return wait_for_answer(*part, front->box(), *ticket, wish.name, patience);
}

}  // namespace lockstep::outside
