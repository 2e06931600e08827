// The task as a member of the job: the one thread that waits for others in the library's calls.
#pragma once

#include "api/cli/shell/protocol.hpp"
#include "api/cli/unique_fd.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>

namespace lockstep {
class Session;
class Group;
}  // namespace lockstep

namespace lockstep::cli::shell {

/// Joins in its own thread with the first call, and leaves when it is told to. One call at a time.
class Member {
 public:
  Member();
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() = default;

  /// Readable when there is news.
  [[nodiscard]] int fd() const { return news_.get(); }
  /// GoFirst: the program of the call is to be run here, then finish_first(). Answer: it is over.
  [[nodiscard]] std::optional<Message> take_news();

  void start(const Request& request);
  void finish_first(const Ended& ended);
  /// Local, at any time: the next check of that name on any rank fires.
  void set_trigger(const std::string& name);
  /// It waits for the others to join.
  [[nodiscard]] bool is_joining();
  /// It could not join; every call is answered with the reason.
  [[nodiscard]] bool has_failed();
  /// Leaves in order, once the call is over that it is in, and returns when that is done.
  void leave();

 private:
  void work();
  void join_and_serve();
  /// There is a first request; false: leave without having joined.
  bool is_needed();
  /// The next request; nothing: leave.
  std::optional<Request> next_request();
  /// Tells that this rank goes first, and waits until its program has ended.
  Ended go_first();
  void tell(const Message& message);
  Answer perform(Session& session, const Request& request);
  Answer barrier(Group group, const Request& request);
  Answer first(Group group, const Request& request);
  Answer once(Group group, const Request& request);
  Answer check(Session& session, const Request& request);

  UniqueFd news_;
  std::mutex mutex_;  // of all below but the thread
  std::condition_variable changed_;
  std::deque<Message> told_;
  std::optional<Request> request_;
  std::optional<Ended> ended_;
  std::set<std::string> triggers_;  ///< set here, and not yet brought to a check
  bool is_joining_ = false;
  bool has_failed_ = false;
  bool is_leaving_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace lockstep::cli::shell
