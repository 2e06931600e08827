// The rounds of a search: what is known, what all find, who makes the name, who reads whose.
#include "runtime/scope_files.hpp"

#include <algorithm>
#include <bit>
#include <ctime>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/collect.hpp"
#include "runtime/filesystem/place.hpp"
#include "runtime/filesystem/probe.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {

using filesystem::Classes;
using filesystem::Facts;
using filesystem::Place;

/// Each has a bit of a round's word.
constexpr std::size_t kKnownMax = 64;

/// How long members look again for what is certainly there, and for what may be: caches of network
/// file systems lag. Others are asked once.
constexpr Nanos kCertainPatience = 120 * kSecond;
constexpr Nanos kDoubtfulPatience = 5 * kSecond;
constexpr Nanos kPause = 100 * kMillisecond;

}  // namespace

class SameFiles::Search {
 public:
  /// @param call  Waits for members who look at slow file systems.
  Search(SameFiles& memory, Group& group, Call call, const std::string& path)
      : memory_(memory), group_(group), call_(std::move(call)), path_(path) {}

  /// The number of what all members know about it, after one round.
  Result<std::optional<std::size_t>> recall(const Call& call) {
    // Rounds can only OR: so each says which do not fit.
    std::uint64_t unfit = ~std::uint64_t{0};
    if (const Result<Place> place = filesystem::look_at(path_); place.ok()) {
      for (std::size_t i = 0; i < memory_.known_.size(); ++i) {
        const Facts& then = memory_.known_[i].facts[group_.rank()];
        if (then == place.value().facts) unfit &= ~(std::uint64_t{1} << i);
      }
    }
    node::Words all;
    if (Status status = group_.round(call, {unfit, {}}, &all); !status.ok()) return status;
    const auto first = static_cast<std::size_t>(std::countr_one(all.word));
    return first < kKnownMax ? std::optional(first) : std::nullopt;
  }

  Result<Classes> run() {
    if (Status status = gather_facts(std::nullopt); !status.ok()) return status;
    // What one has made just now may be seen late by others.
    if (!filesystem::lacking(facts_).empty()) {
      if (Status status = gather_facts(least_missing()); !status.ok()) return status;
    }
    if (const auto late = filesystem::lacking(facts_); !late.empty()) return missing_on(late);
    for (const filesystem::Known& known : memory_.known_) {
      if (filesystem::holds_for(known, facts_)) return known.classes;
    }
    return probe();
  }

  filesystem::Known learnt(const Classes& classes) const { return {facts_, classes}; }

 private:
  /// Everybody's facts. Whoever lacks more of the path than that looks again for a while.
  Status gather_facts(std::optional<std::uint32_t> missing) {
    const Nanos deadline = after(now(), kDoubtfulPatience);
    Result<Place> place = filesystem::look_at(path_);
    while (missing && place.ok() && place->facts.lags != 0 && place->facts.missing > *missing &&
           now() < deadline) {
      const timespec nap{0, kPause};
      nanosleep(&nap, nullptr);
      place = filesystem::look_at(path_);
    }
    if (Status all = agree(group_, call_, place.ok() ? Status{} : place.status()); !all.ok()) {
      return all;
    }
    place_ = std::move(*place);
    Result<std::vector<Facts>> facts = share_each(group_, call_, place_.facts);
    if (!facts.ok()) return facts.status();
    facts_ = std::move(*facts);
    return {};
  }

  std::uint32_t least_missing() const {
    const auto least =
        std::min_element(facts_.begin(), facts_.end(),
                         [](const Facts& a, const Facts& b) { return a.missing < b.missing; });
    return least->missing;
  }

  Status missing_on(const std::vector<Rank>& members) {
    return {
        LOCKSTEP_E_IO,
        fmt::format("{}: {} is there for some ranks, but not for {}; make it there too, or name a "
                    "folder that all have",
                    call_.text(), path_, member_names(group_, members))};
  }

  /// One name on each file system, however many there are.
  Result<Classes> probe() {
    std::vector<NodeIndex> node_of;
    for (const Rank rank : group_.ranks()) {
      node_of.push_back(group_.around().identity.node_of[rank]);
    }
    const Classes views = filesystem::same_views(facts_, node_of);
    const bool looks = views[group_.rank()] == group_.rank();
    const std::uint64_t nonce =
        mix(mix(group_.around().page.head().session ^ group_.id()) ^ ++memory_.probes_);
    filesystem::Probe probe(place_.folder.get(), nonce);

    const Status made = looks ? probe.make(group_.rank()) : Status{};
    constexpr std::uint64_t kSomebodyCould = 1;
    constexpr std::uint64_t kSomebodyCouldNot = 2;
    node::Words all;
    const std::uint64_t mine = !looks ? 0 : made.ok() ? kSomebodyCould : kSomebodyCouldNot;
    if (Status status = group_.round(call_, {mine, {}}, &all); !status.ok()) return status;

    Status status;
    Rank found = kNoRank;
    if (looks && (all.word & kSomebodyCould) != 0) {
      found = probe.read(patience(made.ok())).value_or(kNoRank);
      if (made.ok() && found == kNoRank) {
        status = {
            LOCKSTEP_E_IO,
            fmt::format("{}/{} was made to see who shares these files, and is gone, or cannot be "
                        "read; does somebody else clean up there?",
                        place_.path, probe.name())};
      }
    }
    if (Status verdict = agree(group_, call_, status); !verdict.ok()) return verdict;
    Result<std::vector<Rank>> read = share_each(group_, call_, found);
    if (!read.ok()) return read.status();
    if (found == group_.rank()) probe.remove();
    // Not before everybody knows that it is removed does anybody stop to feel responsible.
    if (Status gone = group_.round(call_); !gone.ok()) return gone;
    probe.finish();
    if ((all.word & kSomebodyCouldNot) != 0) tell_doubt(views, *read);
    return filesystem::same_files(facts_, views, *read);
  }

  Nanos patience(bool has_made) const {
    if (place_.facts.lags == 0) return 0;
    return has_made ? kCertainPatience : kDoubtfulPatience;
  }

  /// On the lowest of those who had to guess, if they guess between nodes.
  void tell_doubt(const Classes& views, const std::vector<Rank>& read) const {
    std::vector<Rank> guessing;
    for (Rank member = 0; member < views.size(); ++member) {
      if (views[member] == member && read[member] == kNoRank) guessing.push_back(member);
    }
    if (guessing.size() < 2 || guessing.front() != group_.rank()) return;
    log::warn(
        "{}: nothing can be written to {}: who sees the same files there is told by its mounts "
        "and numbers, not by a probe",
        call_.text(), place_.path);
  }

  SameFiles& memory_;
  Group& group_;
  Call call_;
  const std::string& path_;
  Place place_;
  std::vector<Facts> facts_;
};

Result<Classes> SameFiles::find(Group& group, const Call& call, const std::string& path) {
  Search search(*this, group, patient(call), path);
  const auto recalled = search.recall(call);
  if (!recalled.ok()) return recalled.status();
  if (recalled.value()) return known_[*recalled.value()].classes;
  Result<Classes> classes = search.run();
  if (!classes.ok()) return classes;
  if (known_.size() == kKnownMax) known_.erase(known_.begin());
  known_.push_back(search.learnt(*classes));
  return classes;
}

}  // namespace lockstep
