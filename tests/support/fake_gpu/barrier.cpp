// A barrier's word goes to all others of the node, theirs are awaited; if it is carried, member 0
// then asks its host, which meets those elsewhere, and releases the rest.
#include "tests/support/fake_gpu/barrier.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>
#include <thread>

namespace lockstep::fake_gpu {
namespace {

using Clock = std::chrono::steady_clock;

/// Whether those elsewhere are late is the host's to say; this is for a host that does not answer.
constexpr std::chrono::seconds kHostGrace{10};
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Window* map(int descriptor) {
  void* const memory =
      mmap(nullptr, sizeof(Window), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) throw_errno("map the memory of a fake GPU");
  return static_cast<Window*>(memory);  // zeros to begin with, from the kernel
}

/// Kernels spin; host threads that stand for them would take the cores of those they wait for.
class Pause {
 public:
  void operator()() {
    if (++turns_ < 64) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  unsigned turns_ = 0;
};

std::uint64_t load(std::uint64_t& word) {
  return std::atomic_ref(word).load(std::memory_order_acquire);
}

void store(std::uint64_t& word, std::uint64_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
}

bool is_broken(std::uint64_t word) {
  return (word & LOCKSTEP_GPU_BROKEN) != 0;
}

std::uint64_t word_of(std::uint64_t number, std::uint32_t low) {
  return number << 32 | low;
}

}  // namespace

SharedWindow::SharedWindow() : own_(memfd_create("fake GPU", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  if (own_ < 0) throw_errno("make the memory of a fake GPU");
  try {
    if (ftruncate(own_, sizeof(Window)) != 0 || fcntl(own_, F_ADD_SEALS, kSeals) != 0) {
      throw_errno("size the memory of a fake GPU");
    }
    window_ = map(own_);
  } catch (...) {
    close(own_);
    throw;
  }
}

SharedWindow::SharedWindow(int descriptor) {
  struct stat status {};
  const int seals = fcntl(descriptor, F_GET_SEALS);
  const bool is_one = seals >= 0 && (seals & kSeals) == kSeals && fstat(descriptor, &status) == 0 &&
                      status.st_size == static_cast<off_t>(sizeof(Window));
  if (!is_one) {
    throw std::system_error(EINVAL, std::generic_category(), "this is no fake GPU's memory");
  }
  window_ = map(descriptor);
}

SharedWindow::~SharedWindow() {
  munmap(window_, sizeof(Window));
  if (own_ >= 0) close(own_);
}

int SharedWindow::descriptor() const {
  const int copy = fcntl(own_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw_errno("share the memory of a fake GPU");
  return copy;
}

/// What a warp of the real one does. A step says nothing when it has gone well.
class Barrier::Turn {
 public:
  Turn(Barrier& barrier, std::uint64_t limit_ns)
      : barrier_(barrier),
        limit_(std::chrono::nanoseconds(limit_ns)),
        begin_(Clock::now()),
        number_(barrier.number_ + 1),
        bits_(std::atomic_ref(barrier.raised_).exchange(0) & ~LOCKSTEP_GPU_BROKEN) {}

  std::uint64_t number() const noexcept { return number_; }
  std::uint32_t bits() const noexcept { return bits_; }

  void tell_others() {
    for (const auto& other : barrier_.others_) {
      if (other == nullptr) continue;
      store((*other)->cells[number_ % 2][barrier_.setup_.member], word_of(number_, bits_));
    }
  }

  std::optional<Failure> await_others() {
    std::uint64_t missing = 0;
    for (std::uint32_t i = 0; i < barrier_.setup_.members; ++i) {
      if (i != barrier_.setup_.member) missing |= std::uint64_t{1} << i;
    }
    for (Pause pause; missing != 0; pause()) {
      bool is_told = false;
      for (std::uint32_t i = 0; i < barrier_.setup_.members; ++i) {
        if (i == barrier_.setup_.member) continue;
        const std::uint64_t bit = std::uint64_t{1} << i;
        // Who has come may have failed since.
        const std::uint64_t word = load(barrier_.window_->cells[number_ % 2][i]);
        is_told = is_told || is_broken(word);
        if ((missing & bit) == 0 || (!is_broken(word) && !is_of_this(word))) continue;
        if (!is_broken(word)) bits_ |= static_cast<std::uint32_t>(word);
        missing &= ~bit;
      }
      if (is_told) return Failure{LOCKSTEP_GPU_TOLD, missing};
      if (missing == 0) break;
      if (const auto end = has_to_end(missing)) return end;
    }
    return std::nullopt;
  }

  /// Member 0: what those elsewhere have raised, from its host, and on to the others here.
  std::optional<Failure> ask_host() {
    store(barrier_.line_.limit_ns, static_cast<std::uint64_t>(limit_.count()));
    store(barrier_.line_.arrived, word_of(number_, bits_));
    if (const auto failure = await(barrier_.line_.released, LOCKSTEP_GPU_STOPPED)) return failure;
    for (const auto& other : barrier_.others_) {
      if (other != nullptr) store((*other)->releases[number_ % 2], word_of(number_, bits_));
    }
    return std::nullopt;
  }

  std::optional<Failure> await_release() {
    return await(barrier_.window_->releases[number_ % 2], LOCKSTEP_GPU_TOLD);
  }

 private:
  bool is_of_this(std::uint64_t word) const { return word >> 32 == (number_ & 0xffffffffu); }

  std::optional<Failure> has_to_end(std::uint64_t missing, std::chrono::seconds more = {}) {
    if (load(barrier_.line_.give_up) != 0) return Failure{LOCKSTEP_GPU_STOPPED, missing};
    const bool is_late = limit_.count() > 0 && Clock::now() - begin_ >= limit_ + more;
    if (is_late) return Failure{LOCKSTEP_GPU_LATE, missing};
    return std::nullopt;
  }

  std::optional<Failure> await(std::uint64_t& place, lockstep_gpu_cause_t if_broken) {
    for (Pause pause;; pause()) {
      const std::uint64_t word = load(place);
      if (is_broken(word)) return Failure{if_broken, 0};
      if (is_of_this(word)) {
        bits_ = static_cast<std::uint32_t>(word);
        return std::nullopt;
      }
      if (const auto end = has_to_end(0, kHostGrace)) return end;
    }
  }

  Barrier& barrier_;
  std::chrono::nanoseconds limit_;
  Clock::time_point begin_;
  std::uint64_t number_;
  std::uint32_t bits_;
};

Barrier::Barrier(const lockstep_gpu_barrier_setup_t& setup, std::uint32_t ordinal)
    : setup_(setup), ordinal_(ordinal), others_(setup.members) {}

void Barrier::drain() const {
  for (Pause pause; on_streams_.load(std::memory_order_acquire) != 0;) pause();
}

lockstep_gpu_barrier_view_t Barrier::view() {
  lockstep_gpu_barrier_view_t view{};
  view.size = sizeof view;
  view.memory = setup_.members > 1 ? window_.descriptor() : -1;
  view.line = &line_;
  view.raised = &raised_;
  view.agreed = &agreed_;
  return view;
}

lockstep_status_t Barrier::connect(std::uint32_t member, int descriptor, std::string& why) {
  if (member >= setup_.members || member == setup_.member || others_[member] != nullptr) {
    why = "member " + std::to_string(member) + " is nobody to be connected to";
    return LOCKSTEP_E_INVALID;
  }
  others_[member] = std::make_unique<SharedWindow>(descriptor);
  return LOCKSTEP_OK;
}

lockstep_status_t Barrier::enqueue(test::FakeStream& stream, std::uint64_t limit_ns, bool reports,
                                   std::string& why) {
  if (stream.ordinal >= 0 && static_cast<std::uint32_t>(stream.ordinal) != ordinal_) {
    why = "the stream is of GPU " + std::to_string(stream.ordinal) + ", the barrier of GPU " +
          std::to_string(ordinal_);
    return LOCKSTEP_E_INVALID;
  }
  for (std::uint32_t i = 0; i < setup_.members; ++i) {
    if (i == setup_.member || others_[i] != nullptr) continue;
    why = "member " + std::to_string(i) + " is not connected";
    return LOCKSTEP_E_STATE;
  }
  stream.begin_part([this, limit_ns, reports](test::FakeStream& on) {
    ++on_streams_;
    // Also counted when it never runs, because the GPU has failed before.
    const std::shared_ptr<void> counted(
        nullptr, [this](void*) { on_streams_.fetch_sub(1, std::memory_order_release); });
    on.push([this, limit_ns, reports, counted] { run(limit_ns, reports); });
  });
  return LOCKSTEP_OK;
}

void Barrier::ask(std::uint64_t& number, std::uint32_t& low) {
  const std::lock_guard lock(mutex_);
  number = number_;
  low = std::atomic_ref(agreed_).load();
}

void Barrier::run(std::uint64_t limit_ns, bool reports) {
  if (has_failed_) {
    const std::uint64_t number = ++number_;
    if (!reports) return;
    store(line_.results[number % LOCKSTEP_GPU_RESULTS], word_of(number, LOCKSTEP_GPU_BROKEN));
    return;
  }
  Turn turn(*this, limit_ns);
  turn.tell_others();
  std::optional<Failure> failure = turn.await_others();
  if (!failure && setup_.is_carried != 0) {
    failure = setup_.member == 0 ? turn.ask_host() : turn.await_release();
  }
  if (failure) {
    fail(turn, *failure);
  } else {
    succeed(turn, reports);
  }
}

void Barrier::succeed(const Turn& turn, bool reports) {
  const std::lock_guard lock(mutex_);
  number_ = turn.number();
  std::atomic_ref(agreed_).store(turn.bits());
  if (!reports) return;
  store(line_.results[turn.number() % LOCKSTEP_GPU_RESULTS], word_of(turn.number(), turn.bits()));
}

/// The others first: they may be waiting. Their cells stay broken, as nothing is written there any
/// more.
void Barrier::fail(const Turn& turn, const Failure& failure) {
  const std::uint64_t word = word_of(turn.number(), LOCKSTEP_GPU_BROKEN);
  for (const auto& other : others_) {
    if (other == nullptr) continue;
    for (int parity = 0; parity < 2; ++parity) {
      store((*other)->cells[parity][setup_.member], word);
      if (setup_.member == 0) store((*other)->releases[parity], word);
    }
  }
  const std::lock_guard lock(mutex_);
  has_failed_ = true;
  std::atomic_ref(agreed_).fetch_or(LOCKSTEP_GPU_BROKEN);
  number_ = turn.number();
  store(line_.missing, failure.missing);
  store(line_.cause, failure.cause);
  store(line_.results[turn.number() % LOCKSTEP_GPU_RESULTS], word);
}

}  // namespace lockstep::fake_gpu
