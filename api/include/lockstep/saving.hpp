// lockstep's C++20 interface, its second part: files and checkpoints that all ranks save together.
// Part of lockstep/lockstep.hpp, and as thin.
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <streambuf>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lockstep/lockstep.hpp"

namespace lockstep {

namespace detail {

/// Reads a part through; hashes are checked below.
class PartBuffer final : public std::streambuf {
 public:
  explicit PartBuffer(lockstep_part_t part) : part_(part) {}

 protected:
  int_type underflow() override {
    std::size_t length = 0;
    if (lockstep_part_read(part_, room_.data(), room_.size(), &length) != LOCKSTEP_OK) {
      return traits_type::eof();
    }
    setg(room_.data(), room_.data(), room_.data() + length);
    return length == 0 ? traits_type::eof() : traits_type::to_int_type(room_[0]);
  }

 private:
  lockstep_part_t part_;
  std::array<char, 1 << 16> room_;
};

/// A callable behind the C interface. What it throws is thrown again when all have been told.
template <class F>
struct Callback {
  F& callable;
  std::exception_ptr failure = nullptr;

  static int write(int descriptor, void* context) {
    return run(context, [&](F& f) {
      DescriptorBuffer buffer(descriptor);
      std::ostream stream(&buffer);
      f(stream);
      stream.flush();
      return stream.good();
    });
  }
  static int read(lockstep_part_t part, void* context) {
    return run(context, [&](F& f) {
      PartBuffer buffer(part);
      std::istream stream(&buffer);
      if constexpr (std::invocable<F, std::istream&, std::uint32_t>) {
        f(stream, lockstep_part_index(part));
      } else {
        f(stream);
      }
      return !stream.bad();
    });
  }
  void check(lockstep_status_t status) const {
    if (failure) std::rethrow_exception(failure);
    detail::check(status);
  }

 private:
  template <class Body>
  static int run(void* context, Body&& body) {
    auto& mine = *static_cast<Callback*>(context);
    try {
      return body(mine.callable) ? 0 : 1;
    } catch (...) {
      mine.failure = std::current_exception();
      return 1;
    }
  }
};

}  // namespace detail

enum class Saver : std::int32_t {
  main = LOCKSTEP_SAVER_MAIN,
  every_rank = LOCKSTEP_SAVER_EVERY_RANK,  ///< {rank} in the path is the rank in the job
  each_file_system = LOCKSTEP_SAVER_EACH_FILE_SYSTEM,  ///< one of those who see the same files
};

struct SaveOptions {
  Saver saver = Saver::main;
  bool wait = true;                 ///< the outcome of all is told to all: collective
  bool visible_everywhere = false;  ///< return when every node sees the new content
};

/// Saves what `writer` puts into the stream; see lockstep_save_together.
template <std::invocable<std::ostream&> F>
void save_together(Group& group, const std::string& path, F&& writer, const SaveOptions& how = {},
                   const Options& options = {}, const Where& where = Where::current()) {
  const lockstep_call_t call = options.at(where);
  lockstep_save_options_t asked{};
  asked.size = sizeof asked;
  asked.saver = static_cast<std::int32_t>(how.saver);
  asked.flags =
      (how.wait ? LOCKSTEP_SAVE_WAIT : 0) | (how.visible_everywhere ? LOCKSTEP_SAVE_VISIBLE : 0);
  detail::Callback<F> mine{writer};
  mine.check(lockstep_save_together(group.handle(), path.c_str(), &asked,
                                    detail::Callback<F>::write, &mine, &call));
}

/// A save that goes on behind the program's back until wait(), or test() returns true. One that is
/// destroyed before leaves nothing.
class [[nodiscard]] Saving {
 public:
  explicit Saving(lockstep_saving_t handle) : handle_(handle) {}

  bool test(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    const lockstep_status_t status = lockstep_saving_test(handle_.get(), &call);
    if (status == LOCKSTEP_AGAIN) return false;
    detail::check(status);
    return true;
  }
  void wait(const Options& options = {}, const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::check(lockstep_saving_wait(handle_.get(), &call));
  }
  struct Progress {
    std::uint64_t done;
    std::uint64_t total;
  };
  Progress progress() const {
    Progress now{};
    detail::check(lockstep_saving_progress(handle_.get(), &now.done, &now.total));
    return now;
  }

 private:
  struct Free {
    void operator()(lockstep_saving_t saving) const { lockstep_saving_free(saving); }
  };
  std::unique_ptr<std::remove_pointer_t<lockstep_saving_t>, Free> handle_;
};

/// What a store of checkpoints keeps, and when its saves return.
struct CheckpointOptions {
  std::uint64_t keep_last = 0;      ///< so many of the highest steps; 0: all
  std::uint64_t keep_every = 0;     ///< and the multiples of this; 0: none
  bool visible_everywhere = false;  ///< save returns when every node sees the new checkpoint
  std::uint32_t in_flight = 1;      ///< asynchronous saves at a time
};

struct Checkpoint {
  std::uint64_t step;
  std::uint64_t bytes;
  std::uint32_t parts;
};

/// A folder of checkpoints; see lockstep/saving.h. All calls but read() are collective.
class Checkpoints {
 public:
  using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

  Checkpoints(Group& group, std::string store, const CheckpointOptions& options = {})
      : group_(group.handle()), store_(std::move(store)), options_(asked(options)) {}
  Checkpoints(Session& session, std::string store, const CheckpointOptions& options = {})
      : Checkpoints(session.job(), std::move(store), options) {}

  /// Every rank's `writer` fills its part.
  template <std::invocable<std::ostream&> F>
  void save(std::uint64_t step, F&& writer, const Options& options = {},
            const Where& where = Where::current()) {
    const lockstep_call_t call = options.at(where);
    detail::Callback<F> mine{writer};
    mine.check(lockstep_checkpoint_save(group_, store_.c_str(), step, &options_,
                                        detail::Callback<F>::write, &mine, &call));
  }

  /// Copies `bytes`, and writes them while the program goes on.
  Saving save_async(std::uint64_t step, std::string_view bytes, const Options& options = {},
                    const Where& where = Where::current()) {
    return *start(step, bytes, nullptr, nullptr, options_, options.at(where));
  }
  /// Takes the string over instead.
  template <std::same_as<std::string> String>
  Saving save_async(std::uint64_t step, String&& bytes, const Options& options = {},
                    const Where& where = Where::current()) {
    auto owner = std::make_unique<std::string>(std::forward<String>(bytes));
    std::optional<Saving> saving =
        start(step, *owner, release, owner.get(), options_, options.at(where));
    owner.release();
    return std::move(*saving);
  }
  /// Nothing, on all ranks, while as many saves are going as may (CheckpointOptions::in_flight).
  std::optional<Saving> try_save_async(std::uint64_t step, std::string_view bytes,
                                       const Options& options = {},
                                       const Where& where = Where::current()) {
    lockstep_checkpoint_options_t impatient = options_;
    impatient.flags |= LOCKSTEP_SAVE_NO_WAIT;
    return start(step, bytes, nullptr, nullptr, impatient, options.at(where));
  }

  /// The newest checkpoint that is whole; the same on all ranks.
  std::optional<Checkpoint> latest(bool sizes_only = false, const Options& options = {},
                                   const Where& where = Where::current()) const {
    const lockstep_call_t call = options.at(where);
    lockstep_checkpoint_t found{};
    found.size = sizeof found;
    int is_there = 0;
    detail::check(lockstep_checkpoint_latest(group_, store_.c_str(),
                                             sizes_only ? LOCKSTEP_CHECKPOINT_SIZES_ONLY : 0, &call,
                                             &is_there, &found));
    if (is_there == 0) return std::nullopt;
    return Checkpoint{found.step, found.bytes, found.parts};
  }

  /// `reader` takes this rank's parts, one call each: (std::istream&) or (std::istream&, part).
  template <class F>
  void load(std::uint64_t step, F&& reader, const Progress& progress = {},
            const Options& options = {}, const Where& where = Where::current()) const {
    const lockstep_call_t call = options.at(where);
    const lockstep_load_options_t asked = asked_of(progress);
    detail::Callback<F> mine{reader};
    mine.check(lockstep_checkpoint_load(group_, store_.c_str(), step, &asked,
                                        detail::Callback<F>::read, &mine, &call));
  }
  /// Any one part, by this process alone.
  template <class F>
  void read(std::uint64_t step, std::uint32_t part, F&& reader,
            const Progress& progress = {}) const {
    const lockstep_load_options_t asked = asked_of(progress);
    detail::Callback<F> mine{reader};
    mine.check(lockstep_checkpoint_read(store_.c_str(), step, part, &asked,
                                        detail::Callback<F>::read, &mine));
  }

  const std::string& store() const noexcept { return store_; }

 private:
  static lockstep_checkpoint_options_t asked(const CheckpointOptions& options) {
    lockstep_checkpoint_options_t asked{};
    asked.size = sizeof asked;
    asked.flags = options.visible_everywhere ? LOCKSTEP_SAVE_VISIBLE : 0;
    asked.in_flight = options.in_flight;
    asked.keep_last = options.keep_last;
    asked.keep_every = options.keep_every;
    return asked;
  }
  static lockstep_load_options_t asked_of(const Progress& progress) {
    lockstep_load_options_t asked{};
    asked.size = sizeof asked;
    if (!progress) return asked;
    asked.progress = [](std::uint64_t done, std::uint64_t total, void* context) {
      (*static_cast<const Progress*>(context))(done, total);
    };
    asked.progress_context = const_cast<Progress*>(&progress);
    return asked;
  }
  static void release(void* context) { delete static_cast<std::string*>(context); }

  std::optional<Saving> start(std::uint64_t step, std::string_view bytes,
                              lockstep_release_t give_back, void* context,
                              const lockstep_checkpoint_options_t& asked,
                              const lockstep_call_t& call) {
    lockstep_saving_t saving = nullptr;
    const lockstep_status_t status =
        lockstep_checkpoint_save_async(group_, store_.c_str(), step, &asked, bytes.data(),
                                       bytes.size(), give_back, context, &call, &saving);
    if (status == LOCKSTEP_AGAIN) return std::nullopt;
    detail::check(status);
    return std::optional<Saving>(std::in_place, saving);
  }

  lockstep_group_t group_;
  std::string store_;
  lockstep_checkpoint_options_t options_;
};

}  // namespace lockstep
