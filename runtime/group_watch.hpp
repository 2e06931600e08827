// The body of every wait of a group: climb the ladder, and look for trouble between the rungs.
#pragma once

#include "runtime/group.hpp"

namespace lockstep {

/// How often processes of this node are looked at.
inline constexpr Nanos kLifeSigns = 500 * kMillisecond;

struct Group::Watch {
  const Call& call;
  enum class What { round, section, poll, roll };
  What what;             ///< the end of the round, the first's section, a hold, or a roll call
  Attempt attempt{};     ///< of the section
  bool retries = false;  ///< the next member tries if its first fails
  bool is_turn = false;  ///< it is this member's own: the wait is for leave to begin
  Nanos look_pause = kLifeSigns;  ///< between two looks at processes
  Nanos start = 0;
  Nanos deadline = 0;  ///< 0: not computed yet
  Nanos next_report = 0;
  Nanos next_life_sign = 0;
  Nanos last_look = 0;
  bool is_test = false;      ///< looks once and does not wait
  bool is_said = false;      ///< visitors see that this member waits
  bool has_expired = false;  ///< who can ask the other nodes was told, and now has time to
};

template <class Ready>
Status Group::watch(node::Bell& bell, Watch& watch, Ready&& ready) {
  constexpr Nanos kSleep = 100 * kMillisecond;  // how long a missed wake-up could cost at worst
  node::Ladder ladder(around_.policy);
  bool polls_port = speaks();
  if (polls_port) around_.port->enter();
  Status status;
  for (;;) {
    node::Waited waited;
    if (ladder.is_sleeping()) {
      around_.counters.add(Counter::sleeps);
      if (polls_port) {
        // From here on the port's thread watches the network and rings the bell.
        around_.port->leave();
        around_.port->hand_over();
      }
      waited = ladder.climb(bell, ready, kSleep);
      if (polls_port) around_.port->enter();
    } else {
      waited = ladder.climb(bell, ready, kSleep);
    }
    if (waited == node::Waited::ready) break;
    status = look(watch);
    if (!polls_port && speaks()) {  // since now
      polls_port = true;
      around_.port->enter();
    }
    // What is ready counts, even if a deadline has passed meanwhile.
    if (!status.ok()) {
      if (ready()) status = {};
      break;
    }
  }
  if (polls_port) around_.port->leave();
  if (watch.is_said) local_->say_waiting(0, 0);
  return status;
}

}  // namespace lockstep
