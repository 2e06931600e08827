// lockstep's C++20 interface: the C interface with values, exceptions and call sites. Header-only;
// it holds no logic of its own, so that C, C++ and Python mean the same.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ostream>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "lockstep/call.hpp"
#include "lockstep/descriptor_stream.hpp"
#include "lockstep/error.hpp"
#include "lockstep/lockstep.h"
#include "lockstep/scope.hpp"
#include "lockstep/section.hpp"
#include "lockstep/streams.h"
#include "lockstep/trigger.hpp"
#include "lockstep/trigger_report.hpp"

namespace lockstep {

namespace detail {

/// Result of running `F` on some processes only: its value there, nothing elsewhere.
template <class F>
using Elsewhere = std::optional<std::conditional_t<std::is_void_v<std::invoke_result_t<F>>,
                                                   std::monostate, std::invoke_result_t<F>>>;

template <class F>
Elsewhere<F> run_if(bool is_here, F&& f) {
  if (!is_here) return std::nullopt;
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    std::forward<F>(f)();
    return std::monostate{};
  } else {
    return std::forward<F>(f)();
  }
}

}  // namespace detail

/// A round between its two halves. Finish it with wait(), or with test() until that returns true.
class [[nodiscard]] Arrival {
 public:
  explicit Arrival(lockstep_group_t group) : group_(group) {}
  bool test() {
    const lockstep_status_t status = lockstep_test(group_);
    if (status == LOCKSTEP_AGAIN) return false;
    detail::check(status);
    return true;
  }
  void wait() { detail::check(lockstep_wait(group_)); }

 private:
  lockstep_group_t group_;
};

// ---- groups
// ---------------------------------------------------------------------------------------

/// An ordered set of ranks. Collective calls are made by all of them in the same order.
class Group {
 public:
  /// Borrows the job's or the node's group; see Session.
  static Group borrowed(lockstep_group_t handle) { return Group(handle, false); }

  std::uint32_t rank() const { return lockstep_group_rank(handle_.get()); }
  std::uint32_t size() const { return lockstep_group_size(handle_.get()); }
  /// Job rank of a member.
  std::uint32_t member(std::uint32_t rank) const {
    return lockstep_group_member(handle_.get(), rank);
  }
  lockstep_group_t handle() const noexcept { return handle_.get(); }

  /// Returns when every member has called it.
  void wait_for_everyone(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_wait_for_everyone(handle_.get(), &call));
  }
  /// The same, and when it returns all that any member has enqueued on its streams (cudaStream_t,
  /// CUstream) before has finished: wait_for_everyone_on({stream}). Members may name different
  /// streams, also none. Needs no header of CUDA's.
  void wait_for_everyone_on(std::initializer_list<void*> streams, const Options& options = {},
                            const Where& where = Where::current()) {
    wait_for_everyone_on(std::span(streams.begin(), streams.size()), options, where);
  }
  void wait_for_everyone_on(std::span<void* const> streams, const Options& options = {},
                            const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_wait_for_everyone_on(handle_.get(), streams.data(),
                                                static_cast<std::uint32_t>(streams.size()), &call));
  }
  /// Enqueues a barrier and returns: what any member enqueues on its stream (cudaStream_t,
  /// CUstream) after it starts when all that every member has enqueued before it has finished, and
  /// sees what that has written. May be captured into a CUDA graph, once the group is prepared.
  void stream_barrier(void* stream, const Options& options = {},
                      const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_stream_barrier(handle_.get(), stream, &call));
  }
  /// Before a capture; otherwise the first stream_barrier() does it. Collective.
  void prepare_stream_barrier(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_stream_barrier_prepare(handle_.get(), &call));
  }
  /// What was raised on any member for the stream barrier of that number, counted from 1; nothing:
  /// it is not over. Throws Error if it has failed. Waits for nothing.
  std::optional<std::uint32_t> stream_barrier_bits(std::uint64_t number) const {
    std::uint32_t bits = 0;
    const lockstep_status_t status =
        lockstep_stream_barrier_test(handle_.get(), number, &bits, nullptr);
    if (status == LOCKSTEP_AGAIN) return std::nullopt;
    detail::check(status);
    return bits;
  }
  /// How many stream barriers are over. As above.
  std::uint64_t stream_barriers_over() const {
    std::uint64_t over = 0;
    detail::check(lockstep_stream_barrier_test(handle_.get(), 0, nullptr, &over));
    return over;
  }
  /// First half of wait_for_everyone.
  Arrival arrive(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_arrive(handle_.get(), &call));
    return Arrival(handle_.get());
  }

  /// Runs `f` on the group's rank 0, then on the others. If it throws on rank 0, rank 0 gets its
  /// own exception and every other member FirstFailed with the text; `f` does not run there. Other
  /// policies: SectionOptions.
  template <std::invocable F>
  std::invoke_result_t<F> first(F&& f, const SectionOptions& options = {},
                                const Where& where = Where::current()) {
    FirstScope scope(handle_.get(), options, where);
    const auto run = [&]() -> std::invoke_result_t<F> {
      try {
        return std::forward<F>(f)();
      } catch (...) {
        const detail::Thrown thrown = detail::Thrown::now();
        scope.fail(thrown.text.c_str(), thrown.type.c_str());
        throw;
      }
    };
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      run();
      scope.end();
    } else {
      auto result = run();
      scope.end();
      return result;
    }
  }
  /// The same as a scope: rank 0 goes on at once, the others when its scope has ended.
  FirstScope first(const SectionOptions& options = {}, const Where& where = Where::current()) {
    return FirstScope(handle_.get(), options, where);
  }
  /// How the last section of this group ended here; nothing if there was none.
  std::optional<Outcome> last_outcome() const {
    lockstep_outcome_t outcome{};
    outcome.size = sizeof outcome;
    if (lockstep_last_outcome(handle_.get(), &outcome) != LOCKSTEP_OK) return std::nullopt;
    return Outcome(outcome);
  }

  /// The root's bytes, on every member.
  std::string broadcast(std::string_view bytes, std::uint32_t root = 0, const Options& options = {},
                        const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    void* copy = nullptr;
    std::size_t length = 0;
    detail::check(
        lockstep_broadcast(handle_.get(), root, bytes.data(), bytes.size(), &call, &copy, &length));
    const std::unique_ptr<void, void (*)(void*)> owner(copy, lockstep_free);
    return {static_cast<const char*>(copy), length};
  }
  /// The root's value, on every member.
  template <class T>
  requires std::is_trivially_copyable_v<T> T
  broadcast_value(const T& value, std::uint32_t root = 0, const Options& options = {},
                  const Where& where = Where::current()) {
    const std::string bytes =
        broadcast({reinterpret_cast<const char*>(&value), sizeof value}, root, options, where);
    if (bytes.size() != sizeof(T)) {
      throw UsageError(LOCKSTEP_E_INVALID, "broadcast_value: the root's type has another size");
    }
    std::array<char, sizeof(T)> room;
    std::copy(bytes.begin(), bytes.end(), room.begin());
    return std::bit_cast<T>(room);
  }

  /// Everybody's bytes, by group rank, on every member.
  std::vector<std::string> gather(std::string_view bytes, const Options& options = {},
                                  const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    void* all = nullptr;
    std::vector<std::size_t> lengths(size());
    detail::check(
        lockstep_gather(handle_.get(), bytes.data(), bytes.size(), &call, &all, lengths.data()));
    const std::unique_ptr<void, void (*)(void*)> owner(all, lockstep_free);
    std::vector<std::string> parts;
    const char* at = static_cast<const char*>(all);
    for (const std::size_t length : lengths) {
      parts.emplace_back(at, length);
      at += length;
    }
    return parts;
  }

  /// Runs `f` on one member and gives what it returns to all: once(f) is std::call_once for a
  /// group, with a result. If `f` throws, that member gets its own exception, the others
  /// FirstFailed.
  template <std::invocable F>
  requires std::convertible_to<std::invoke_result_t<F>, std::string> std::string once(
      F&& f, const SectionOptions& options = {}, const Where& where = Where::current()) {
    std::string all;
    once([&](std::ostream& stream) { stream << std::string(std::forward<F>(f)()); },
         [&](std::string_view piece) { all += piece; }, options, where);
    return all;
  }
  /// The same for what is too long to be held at once: what `produce` writes, in pieces.
  template <std::invocable<std::ostream&> F, std::invocable<std::string_view> G>
  void once(F&& produce, G&& consume, const SectionOptions& options = {},
            const Where& where = Where::current()) {
    struct Job {
      F& produce;
      G& consume;
      lockstep_once_work_t& work;
      std::exception_ptr failure{};
      detail::Thrown thrown{};

      /// Leaves the exception for the others.
      void explain() noexcept {
        try {
          if (failure) std::rethrow_exception(failure);
        } catch (...) {
          thrown = detail::Thrown::now();
          work.type = thrown.type.c_str();
          work.text = thrown.text.c_str();
        }
      }
    };
    lockstep_once_work_t work{};
    Job job{produce, consume, work};
    work.size = sizeof work;
    work.produce_context = work.consume_context = &job;
    work.produce = [](int descriptor, void* context) -> int {
      auto& mine = *static_cast<Job*>(context);
      if (detail::write_through(descriptor, mine.produce, mine.failure) == 0) return 0;
      mine.explain();
      return 1;
    };
    work.consume = [](const void* bytes, std::size_t length, void* context) -> int {
      auto& mine = *static_cast<Job*>(context);
      try {
        mine.consume(std::string_view(static_cast<const char*>(bytes), length));
        return 0;
      } catch (...) {
        mine.failure = std::current_exception();
        return 1;
      }
    };
    const lockstep_call_t call = options.at(where);
    const lockstep_section_t section = options.section();
    const lockstep_status_t status = lockstep_once(handle_.get(), &section, &work, &call);
    if (job.failure) std::rethrow_exception(job.failure);
    detail::check(status);
  }

  /// Prints every member's text in rank order, on the group's rank 0.
  void print_in_order(const std::string& text, const Options& options = {},
                      const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_print_in_order(handle_.get(), text.c_str(), &call));
  }

  /// One new group per colour; nothing for a member without one.
  std::optional<Group> split(std::optional<std::uint32_t> colour, const Options& options = {},
                             const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    lockstep_group_t group = nullptr;
    detail::check(
        lockstep_group_split(handle_.get(), colour.value_or(LOCKSTEP_NO_GROUP), &call, &group));
    if (group == nullptr) return std::nullopt;
    return Group(group, true);
  }

  /// The group of those who are left, after a call has thrown BrokenGroup. Collective over them.
  Group shrink(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    lockstep_group_t group = nullptr;
    detail::check(lockstep_group_shrink(handle_.get(), &call, &group));
    return Group(group, true);
  }

  /// The group's trigger of that name: trigger("stop").set("loss is not finite"). Local; asked
  /// again, the same one.
  Trigger trigger(const std::string& name, const TriggerOptions& options = {}) {
    return Trigger(handle_.get(), name, options);
  }

  // In lockstep/scopes.hpp:
  /// The members that share something with this one. Borrowed; ends with this group.
  Group group_of(const Scope& scope, const Options& options = {},
                 const Where& where = Where::current());
  /// Into how many such groups this one falls.
  std::uint32_t count_of(const Scope& scope, const Options& options = {},
                         const Where& where = Where::current());
  /// Runs `f` on all members, but on k at a time only; returns when all have.
  template <std::invocable F>
  std::invoke_result_t<F> at_most(std::uint32_t k, F&& f, const Options& options = {},
                                  const Where& where = Where::current());

 private:
  struct Free {
    bool is_owner;
    void operator()(lockstep_group_t group) const {
      if (is_owner) lockstep_group_free(group);
    }
  };
  Group(lockstep_group_t handle, bool is_owner) : handle_(handle, Free{is_owner}) {}
  std::unique_ptr<std::remove_pointer_t<lockstep_group_t>, Free> handle_;
};

// ---- session
// --------------------------------------------------------------------------------------

/// This process's membership in the job. Joins when made, leaves when destroyed.
class Session {
 public:
  Session()
      : handle_(join()),
        job_(Group::borrowed(lockstep_session_job(handle_.get()))),
        local_(Group::borrowed(lockstep_session_local(handle_.get()))) {}

  std::uint32_t rank() const { return lockstep_session_rank(handle_.get()); }
  std::uint32_t size() const { return lockstep_session_size(handle_.get()); }
  std::uint32_t local_rank() const { return lockstep_session_local_rank(handle_.get()); }
  std::uint32_t local_size() const { return lockstep_session_local_size(handle_.get()); }
  std::uint32_t node() const { return lockstep_session_node(handle_.get()); }
  std::uint32_t node_count() const { return lockstep_session_node_count(handle_.get()); }
  std::string host() const { return lockstep_session_host(handle_.get(), rank()); }
  bool is_main_process() const { return lockstep_is_main_process(handle_.get()) != 0; }
  bool is_local_main_process() const { return lockstep_is_local_main_process(handle_.get()) != 0; }
  bool is_last_process() const { return lockstep_is_last_process(handle_.get()) != 0; }
  lockstep_session_t handle() const noexcept { return handle_.get(); }

  Group& job() noexcept { return job_; }
  Group& local() noexcept { return local_; }

  void wait_for_everyone(const Options& options = {}, const Where& where = Where::current()) {
    job_.wait_for_everyone(options, where);
  }
  void wait_for_everyone_on(std::initializer_list<void*> streams, const Options& options = {},
                            const Where& where = Where::current()) {
    job_.wait_for_everyone_on(streams, options, where);
  }
  void wait_for_everyone_on(std::span<void* const> streams, const Options& options = {},
                            const Where& where = Where::current()) {
    job_.wait_for_everyone_on(streams, options, where);
  }

  /// One goes first, in the job or on each node; see Group::first. Without a callable: a scope.
  template <std::invocable F>
  std::invoke_result_t<F> main_process_first(F&& f, const SectionOptions& options = {},
                                             const Where& where = Where::current()) {
    return job_.first(std::forward<F>(f), options, where);
  }
  FirstScope main_process_first(const SectionOptions& options = {},
                                const Where& where = Where::current()) {
    return job_.first(options, where);
  }
  template <std::invocable F>
  std::invoke_result_t<F> local_main_process_first(F&& f, const SectionOptions& options = {},
                                                   const Where& where = Where::current()) {
    return local_.first(std::forward<F>(f), options, where);
  }
  FirstScope local_main_process_first(const SectionOptions& options = {},
                                      const Where& where = Where::current()) {
    return local_.first(options, where);
  }

  // In lockstep/scopes.hpp:
  /// As those of the job's group.
  Group group_of(const Scope& scope, const Options& options = {},
                 const Where& where = Where::current());
  std::uint32_t count_of(const Scope& scope, const Options& options = {},
                         const Where& where = Where::current());
  /// One goes first of those who share something: first(Scope::file_system(folder), prepare).
  template <std::invocable F>
  std::invoke_result_t<F> first(const Scope& scope, F&& f, const SectionOptions& options = {},
                                const Where& where = Where::current());
  FirstScope first(const Scope& scope, const SectionOptions& options = {},
                   const Where& where = Where::current());
  /// At most k at a time of those who share something: at_most(2, Scope::node, unpack).
  template <std::invocable F>
  std::invoke_result_t<F> at_most(std::uint32_t k, const Scope& scope, F&& f,
                                  const Options& options = {},
                                  const Where& where = Where::current());

  /// Runs `f` on some processes only. Does not wait for anybody.
  template <std::invocable F>
  detail::Elsewhere<F> on_main_process(F&& f) {
    return detail::run_if(is_main_process(), std::forward<F>(f));
  }
  template <std::invocable F>
  detail::Elsewhere<F> on_local_main_process(F&& f) {
    return detail::run_if(is_local_main_process(), std::forward<F>(f));
  }
  template <std::invocable F>
  detail::Elsewhere<F> on_last_process(F&& f) {
    return detail::run_if(is_last_process(), std::forward<F>(f));
  }
  template <std::invocable F>
  detail::Elsewhere<F> on_process(std::uint32_t process_index, F&& f) {
    return detail::run_if(rank() == process_index, std::forward<F>(f));
  }
  template <std::invocable F>
  detail::Elsewhere<F> on_local_process(std::uint32_t local_process_index, F&& f) {
    return detail::run_if(local_rank() == local_process_index, std::forward<F>(f));
  }

  /// The job's trigger of that name; see Group::trigger.
  Trigger trigger(const std::string& name, const TriggerOptions& options = {}) {
    return job_.trigger(name, options);
  }
  void set_trigger() { detail::check(lockstep_set_trigger(handle_.get())); }
  /// True on all ranks in the same matching call if any rank had set the trigger before its own.
  bool check_trigger(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    int fired = 0;
    detail::check(lockstep_check_trigger(handle_.get(), &call, &fired));
    return fired != 0;
  }

  /// The same, free while nothing is set: all ranks agree on the call in which it is true. See
  /// lockstep_poll_trigger().
  bool poll_trigger(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    int fired = 0;
    detail::check(lockstep_poll_trigger(handle_.get(), &call, &fired));
    return fired != 0;
  }

  /// Why the last check that fired did so; the same on all ranks.
  TriggerReport last_trigger() const {
    lockstep_trigger_report_t report{};
    report.size = sizeof report;
    detail::check(lockstep_last_trigger(handle_.get(), &report));
    return TriggerReport(report);
  }
  /// The signal raises the trigger instead of ending this process.
  void trigger_on_signal(int signal) {
    detail::check(lockstep_trigger_on_signal(handle_.get(), signal));
  }
  /// The trigger is raised once less than `margin`, or than another save takes, is left to the
  /// job's time limit.
  void trigger_before_end(std::chrono::nanoseconds margin) {
    detail::check(lockstep_trigger_before_end(handle_.get(), margin.count()));
  }
  /// Nothing: there is no limit, or nobody has said.
  std::optional<std::chrono::nanoseconds> time_left() const {
    std::int64_t left = 0;
    detail::check(lockstep_time_left(handle_.get(), &left));
    if (left == INT64_MAX) return std::nullopt;
    return std::chrono::nanoseconds(left);
  }

  /// Decides together whether the scheduler runs this job again once all have left: see
  /// lockstep_requeue. True on all ranks if it will be asked to.
  bool requeue(Requeue wish = Requeue::wanted, const std::string& why = {},
               const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    int will = 0;
    detail::check(lockstep_requeue(handle_.get(), static_cast<lockstep_requeue_t>(wish),
                                   why.c_str(), &call, &will));
    return will != 0;
  }
  /// How often the scheduler has started this job before.
  std::uint32_t restarts() const { return lockstep_session_restarts(handle_.get()); }

  /// This rank's half-open range of `total` items.
  std::pair<std::uint64_t, std::uint64_t> split_between_processes(std::uint64_t total) const {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    detail::check(lockstep_split_range(total, rank(), size(), &begin, &end));
    return {begin, end};
  }
  /// This rank's share of `inputs`: contiguous, the first ranks get one more, empty where there are
  /// fewer items than ranks. With padding every share is as long as the longest: the last item of
  /// the whole input is repeated.
  template <std::ranges::random_access_range R>
  std::vector<std::ranges::range_value_t<R>> split_between_processes(
      const R& inputs, bool apply_padding = false) const {
    const auto total = static_cast<std::uint64_t>(std::ranges::size(inputs));
    const auto [begin, end] = split_between_processes(total);
    const auto first = std::ranges::begin(inputs);
    using Difference = std::ranges::range_difference_t<R>;
    std::vector<std::ranges::range_value_t<R>> share(first + static_cast<Difference>(begin),
                                                     first + static_cast<Difference>(end));
    const std::uint64_t longest = (total + size() - 1) / size();
    while (apply_padding && total > 0 && share.size() < longest) {
      share.push_back(first[static_cast<Difference>(total - 1)]);
    }
    return share;
  }

  /// Prints once per node (as Accelerate does) or once per job.
  void print(const std::string& text, const Scope& scope = Scope::node) {
    detail::check(lockstep_print(handle_.get(), scope.scope(), text.c_str()));
  }
  void print_in_order(const std::string& text, const Options& options = {},
                      const Where& where = Where::current()) {
    job_.print_in_order(text, options, where);
  }

  /// Saves on the main process what `writer` puts into the stream; see lockstep_save.
  template <std::invocable<std::ostream&> F>
  void save(const std::string& path, F&& writer) {
    struct Job {
      F& writer;
      std::exception_ptr failure;
    } job{writer, nullptr};
    const auto write = [](int descriptor, void* context) -> int {
      auto& mine = *static_cast<Job*>(context);
      return detail::write_through(descriptor, mine.writer, mine.failure);
    };
    const lockstep_status_t status = lockstep_save(handle_.get(), path.c_str(), write, &job);
    if (job.failure) std::rethrow_exception(job.failure);
    detail::check(status);
  }

  std::uint64_t counter(const char* name) const {
    std::uint64_t value = 0;
    detail::check(lockstep_session_counter(handle_.get(), name, &value));
    return value;
  }

 private:
  struct Leave {
    void operator()(lockstep_session_t session) const { lockstep_session_leave(session); }
  };
  static lockstep_session_t join() {
    lockstep_session_t session = nullptr;
    detail::check(lockstep_session_join(&session));
    return session;
  }
  std::unique_ptr<std::remove_pointer_t<lockstep_session_t>, Leave> handle_;
  Group job_;
  Group local_;
};

}  // namespace lockstep

#include "lockstep/saving.hpp"  // files and checkpoints that all ranks save together
#include "lockstep/scopes.hpp"  // groups of those who share something; at most k at a time
