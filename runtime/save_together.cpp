// Saving with others: who saves, what all are told, and until when.
#include "runtime/save_together.hpp"

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/collect.hpp"
#include "runtime/saving/visible.hpp"

namespace lockstep {
namespace {

constexpr std::string_view kRank = "{rank}";
/// Twice what NFS may keep an attribute, by default.
constexpr Nanos kVisiblePatience = 120 * kSecond;

struct Saved {
  saving::Digest digest;
  std::uint64_t is_there = 0;
};

std::string path_of_rank(std::string path, Rank rank) {
  const std::string number = std::to_string(rank);
  for (auto at = path.find(kRank); at != path.npos; at = path.find(kRank, at + number.size())) {
    path.replace(at, kRank.size(), number);
  }
  return path;
}

/// This member among those of its node: number and count.
std::pair<std::size_t, std::size_t> place_on_node(Group& group) {
  const bootstrap::Identity& who = group.around().identity;
  std::size_t self = 0;
  std::size_t count = 0;
  for (const Rank rank : group.ranks()) {
    if (who.node_of[rank] != who.node()) continue;
    if (rank == who.rank) self = count;
    ++count;
  }
  return {self, count};
}

}  // namespace

Status await_everywhere(Group& group, const Call& call, const std::optional<saving::Digest>& mine,
                        const std::function<std::string(Rank)>& path_of) {
  const Saved own{mine.value_or(saving::Digest{}), mine ? 1u : 0u};
  Result<std::vector<Saved>> all = share_each(group, patient(call), own);
  if (!all.ok()) return all.status();
  // The members of a node share out the looking.
  const auto [self, count] = place_on_node(group);
  const Nanos deadline = after(now(), call.timeout.value_or(kVisiblePatience));
  Status status;
  for (Rank member = 0; member < group.size() && status.ok(); ++member) {
    const Saved& saved = all.value()[member];
    if (saved.is_there == 0 || member % count != self) continue;
    status = saving::await_content(path_of(member), saved.digest, deadline);
  }
  Call rest = call;  // the time limit was for the files; all have kept to it
  rest.timeout = kNever;
  return agree(group, rest, status);
}

Status save_together(Group& group, const Call& call, const std::string& path,
                     const SaveWishes& wishes, const saving::Writer& writer) {
  if (wishes.by_everyone && group.size() > 1 && path.find(kRank) == path.npos) {
    return {LOCKSTEP_E_INVALID,
            fmt::format("{}: {} would be everybody's file: put {{rank}} into its name", call.text(),
                        path)};
  }
  const auto path_of = [&](Rank member) {
    return wishes.by_everyone ? path_of_rank(path, group.ranks()[member]) : path;
  };
  Status status;
  std::optional<saving::Digest> saved;
  Group& readers = wishes.readers != nullptr ? *wishes.readers : group;
  if (wishes.by_everyone || readers.rank() == 0) {
    saving::Digest digest;
    status =
        saving::save_file(path_of(group.rank()), writer, wishes.is_everywhere ? &digest : nullptr);
    saved = digest;
  }
  if (!wishes.tells_all && !wishes.is_everywhere) return status;
  if (Status verdict = agree(group, call, status); !verdict.ok()) return verdict;
  if (!wishes.is_everywhere) return {};
  const Status seen = await_everywhere(readers, call, saved, path_of);
  return &readers == &group ? seen : agree(group, call, seen);
}

}  // namespace lockstep
