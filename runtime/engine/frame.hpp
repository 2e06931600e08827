// The wire format between nodes: a 64-byte little-endian header and up to 1 KiB of payload. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lockstep/transport.h"
#include "runtime/base/ids.hpp"

namespace lockstep::engine {

inline constexpr std::uint32_t kFrameMagic = 0x5453'4b4cu;  // "LKST" as bytes
inline constexpr std::uint8_t kFrameVersion = 1;
inline constexpr std::size_t kHeaderSize = 64;
inline constexpr std::size_t kSiteRoom = 64;  ///< beside a whole vector, in answers
inline constexpr std::size_t kPayloadMax = LOCKSTEP_VECTOR_MAX + kSiteRoom;
static_assert(kHeaderSize + kPayloadMax <= LOCKSTEP_FRAME_MAX);

enum class FrameType : std::uint8_t {
  fact = 1,    ///< "my part of the plan reached this step of this epoch", with word and vector
  ask = 2,     ///< "who of your members has not entered this epoch?"; freezes the epoch there
  answer = 3,  ///< the missing members, or the finished round's result
  resume = 4,  ///< ends the freeze: everybody has entered
  broken = 5,  ///< the verdict: this epoch never completes, and why
  // Of sections; `epoch` is the section, `step` the attempt.
  outcome = 6,         ///< how it ended
  outcome_ask = 7,     ///< "how did it end?"
  outcome_answer = 8,  ///< a record, or that there is none here; also the receipt for one
  hello = 9,  ///< "I speak for my node now", with a piece of an address; `epoch`: after how many
  // Of polls; `epoch` is the agreement, `site` and `signature` the ballot's count and node.
  poll_raise = 10,    ///< "members here have set something"
  poll_hold = 11,     ///< "hold whoever enters a poll, and say how far they are"
  poll_held = 12,     ///< `word`: the furthest poll
  poll_commit = 13,   ///< `word`: the poll in which all meet
  poll_receipt = 14,  ///< "I have it"
  // Of who is left; the same, and the payload is who is missing.
  roll_raise = 15,  ///< "members here call the roll"
  roll_hold = 16,   ///< "say who is missing, once all others have come"
  roll_held = 17,
  roll_commit = 18,
  roll_receipt = 19,
};
inline constexpr std::uint8_t kFrameTypeLast = 19;

/// Flags of a frame; the meaning of each belongs to one type.
enum : std::uint16_t {
  kAnswerComplete = 1,  ///< answer, resume: the epoch is complete here, and this is its result
  kTruncated = 2,       ///< answer: more ranks are missing than fit
  kAnswerEntered = 4,   ///< answer: nobody is missing here, and this is what they brought
  kDecided = 1,         ///< outcome: agreed after its first was gone; everybody is told directly
  kWantsReceipt = 2,    ///< outcome: say that you have it
  kDecides = 1,         ///< outcome_ask: promise to take this from nobody but me
  kFirstIsGone = 2,     ///< outcome_ask: you are the one to decide; the payload is what to decide
  kTakesTurn = 4,       ///< outcome_ask: I am about to go first in this attempt
  kHasRecord = 1,       ///< outcome_answer: this is it
  kFirstIsAlive = 2,    ///< outcome_answer: who goes first lives on this node
  kReceipt = 4,         ///< outcome_answer: your record has come
  kGoAhead = 8,         ///< outcome_answer: your attempt is not decided
  kAtOnce = 1,          ///< raise, hold: wait for no member, and not for silent nodes
  kHeldCommitted = 1,   ///< held: this is what was agreed on
  kHeldOutdated = 2,    ///< held: `word` is a higher ballot, to which this node is bound
};

struct Frame {
  FrameType type = FrameType::fact;
  std::uint64_t session = 0;  ///< number of this incarnation of the job: strangers are rejected
  GroupId group = 0;
  Epoch epoch = 0;              ///< round, or section for `outcome`
  std::uint64_t word = 0;       ///< OR of the words of everybody heard of so far
  Rank sender = 0;              ///< job rank
  std::uint32_t signature = 0;  ///< of the call: members in different calls differ
  std::uint16_t step = 0;       ///< round number within the plan
  std::uint16_t flags = 0;
  std::uint32_t site = 0;              ///< source line of the sender's call
  std::span<const std::byte> payload;  ///< borrowed
};

/// Writes header and payload. Precondition: payload fits kPayloadMax, room fits the whole.
/// The last 8 header bytes are the place of the message authentication code and are zero for now.
std::size_t encode(const Frame& frame, std::span<std::byte> room) noexcept;

/// Nothing if the bytes are not a whole well-formed frame. The payload points into `bytes`.
std::optional<Frame> decode(std::span<const std::byte> bytes) noexcept;

}  // namespace lockstep::engine
