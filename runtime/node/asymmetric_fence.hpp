// A fence that costs one side nothing: the frequent side stops only the compiler, and the rare side
// makes the kernel run a barrier on the processors of all processes that take part.
//
// It is for Dekker's handshake between processes that share memory: each stores its own word and
// then loads the other's, and at least one must see the other's store.
//
//   frequent                           rare
//   mine.store(n, relaxed);            state.store(held);
//   fence.light();                     fence.heavy();
//   if (state.load(relaxed) != 0) ...  n = mine.load();
//
// Who may do what is settled once, before the first handshake, because processes may differ: a
// filter of system calls (seccomp), or an old kernel in a container, may refuse membarrier(2) to
// one.
//
//  1. Each process joins and gets its `Barrier` (join_barrier), which it tells the others, e.g. by
//  a
//     byte in its cell.
//  2. When all have told, all conclude the same from all of these bytes (agree): asymmetric only if
//     every single one can. Otherwise all fence for themselves on both sides, which needs nobody's
//     help: any member may then be the rare side, with or without membarrier.
//
// A mixture in which only the refused fence for themselves would keep polls of the others free, but
// then not every member could hold the others, and a holder's successor would have to be chosen
// among those who can. Nothing is gained by that where it happens, so there is none.
//
// A process is registered with all of its threads, those to come as well; a child of fork() and a
// new program (exec) join for themselves. All members of a handshake must use the same conclusion,
// so it is for good: whoever comes later is not part of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace lockstep::node {

/// What a process can do; a byte of shared memory. Zero is "has not said", which counts as none.
enum class Barrier : std::uint8_t {
  unknown = 0,
  none = 1,      ///< membarrier is refused or missing: neither hit by it nor able to ask for it
  expedited = 2  ///< registered: others' heavy fences reach it, and it can ask for them
};

static_assert(Barrier{} == Barrier::unknown, "a new page is all zeros");

/// Registers this process, once for all of its threads; may be called again. A system call.
Barrier join_barrier() noexcept;

/// How the two sides of a handshake fence; the same for all processes that take part in it.
class AsymmetricFence {
 public:
  /// Both sides fence for themselves: right for everybody, at the price of a fence a poll.
  constexpr AsymmetricFence() noexcept = default;

  /// What all members conclude from what each of them has said. `own` of the caller is among it.
  static AsymmetricFence agree(std::span<const Barrier> members) noexcept;

  bool is_asymmetric() const noexcept { return is_asymmetric_; }

  /// Between the store and the load of the frequent side. No system call; where asymmetric, no
  /// instruction.
  void light() const noexcept {
    if (is_asymmetric_) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
  }

  /// Between the store and the load of the rare side: when it returns, every member has either done
  /// its light() before, with its store visible, or will do it later and see the caller's store. A
  /// system call where asymmetric, some microseconds. False: the kernel has refused what it granted
  /// to join_barrier() (a filter that was installed since); nothing may be concluded then.
  [[nodiscard]] bool heavy() const noexcept;

 private:
  explicit constexpr AsymmetricFence(bool is_asymmetric) noexcept : is_asymmetric_(is_asymmetric) {}

  bool is_asymmetric_ = false;
};

}  // namespace lockstep::node
