// One round while all is well; a few more to agree on what to say when it is not.
#include "runtime/agree.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "runtime/collect.hpp"

namespace lockstep {
namespace {

constexpr std::size_t kTextMax = 4000;
constexpr std::size_t kNamedMax = 8;

std::string encode(const Status& status, const std::string& text) {
  const std::int32_t code = status.code();
  std::string bytes(reinterpret_cast<const char*>(&code), sizeof code);
  return bytes + text.substr(0, kTextMax);
}

Status decode(const std::vector<std::byte>& bytes) {
  std::int32_t code = LOCKSTEP_E_IO;
  if (bytes.size() < sizeof code) return {LOCKSTEP_E_IO, "a member has failed without a reason"};
  std::memcpy(&code, bytes.data(), sizeof code);
  const auto* const text = reinterpret_cast<const char*>(bytes.data());
  return {static_cast<lockstep_status_t>(code),
          std::string(text + sizeof code, bytes.size() - sizeof code)};
}

}  // namespace

Call patient(Call call) {
  if (!call.timeout) call.timeout = kNever;
  return call;
}

std::string member_name(Group& group, Rank member) {
  const bootstrap::Identity& who = group.around().identity;
  const Rank rank = group.ranks()[member];
  return fmt::format("rank {} on {}", rank, who.hosts[who.node_of[rank]]);
}

std::string member_names(Group& group, const std::vector<Rank>& members) {
  std::string text;
  for (std::size_t i = 0; i < std::min(members.size(), kNamedMax); ++i) {
    text += (i == 0 ? "" : ", ") + member_name(group, members[i]);
  }
  if (members.size() > kNamedMax) text += fmt::format(" and {} more", members.size() - kNamedMax);
  return text;
}

Status agree(Group& group, const Call& call, const Status& mine, std::uint64_t* bits) {
  const Call waiting = patient(call);
  const std::uint64_t own = (bits != nullptr ? *bits << 1 : 0) | (mine.ok() ? 0 : 1);
  node::Words all;
  if (Status status = group.round(waiting, {own, {}}, &all); !status.ok()) return status;
  if (bits != nullptr) *bits = all.word >> 1;
  if ((all.word & 1) == 0) return {};
  Result<Rank> speaker = lowest(group, waiting, !mine.ok());
  if (!speaker.ok()) return speaker.status();
  std::string told;
  if (*speaker == group.rank()) {
    told = encode(
        mine, fmt::format("{}: {}: {}", call.text(), member_name(group, *speaker), mine.text()));
  }
  Result<std::vector<std::byte>> bytes =
      broadcast(group, waiting, *speaker, std::as_bytes(std::span(told)));
  return bytes.ok() ? decode(*bytes) : bytes.status();
}

}  // namespace lockstep
