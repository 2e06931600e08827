// A session in a screenful: a headline, those who wait, those who are not there, the rest.
#include "api/cli/outside/picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace lockstep::cli {
namespace {

using Ranks = std::vector<unsigned>;

constexpr double kLongWait = 1;          ///< seconds from which on those who are missing are named
constexpr std::size_t kNamedMost = 10;   ///< lines for single ranks
constexpr std::size_t kRangesMost = 60;  ///< characters of a list of ranks

/// "0-3,8" for a sorted list; what is too long is cut.
std::string ranges(const Ranks& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (text.size() > kRangesMost) return text + ",...";
    if (!text.empty()) text += ',';
    text += std::to_string(ranks[i]);
    if (last > i) text += '-' + std::to_string(ranks[last]);
    i = last + 1;
  }
  return text;
}

std::string count_of(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string duration(double seconds) {
  if (seconds < 99.9) return fmt::format("{:.3g} s", std::round(seconds * 10) / 10);
  const auto whole = static_cast<long>(seconds);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  if (whole < 48 * 3600) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86400, whole / 3600 % 24);
}

/// Ranks that are in the same place.
struct Crowd {
  Ranks ranks;
  std::optional<double> longest;
};
/// Doing, group, site.
using Place = std::tuple<std::string, std::string, std::string>;

struct Sorted {
  std::map<Place, Crowd> crowds;  ///< in some call
  std::map<std::string, Ranks> between;
  Ranks left;
  std::vector<const RankView*> gone;
  std::vector<const RankView*> missing;
  std::map<const RankView*, double> missed_for;
  Ranks unseen;
};

const CallView* main_call(const RankView& rank) {
  return rank.at < rank.calls.size() ? &rank.calls[rank.at] : nullptr;
}

bool is_in_round(const CallView& call) {
  return call.doing == "waits" || call.doing == "arrived";
}

/// Those whose round others have waited for long enough to be talked about.
void find_missing(const SessionView& session, Sorted& sorted) {
  std::map<std::string, std::pair<std::uint64_t, double>> waited;  // by group: round, longest
  for (const RankView& rank : session.members) {
    const CallView* const call = main_call(rank);
    if (!rank.is_there() || call == nullptr || !is_in_round(*call)) continue;
    if (call->seconds.value_or(0) < kLongWait) continue;
    auto& [latest, longest] = waited[call->group];
    if (call->round > latest) longest = 0;
    if (call->round >= latest) longest = std::max(longest, *call->seconds);
    latest = std::max(latest, call->round);
  }
  for (const RankView& rank : session.members) {
    if (rank.state == "left" || rank.state == "gone") continue;
    const CallView* const own = main_call(rank);
    for (const CallView& call : rank.calls) {
      const auto found = waited.find(call.group);
      if (found == waited.end() || call.round >= found->second.first) continue;
      // Who waits elsewhere stands there already.
      if (own != nullptr && own->doing != "between") continue;
      double& longest = sorted.missed_for[&rank];
      longest = std::max(longest, found->second.second);
    }
    if (sorted.missed_for.contains(&rank)) sorted.missing.push_back(&rank);
  }
}

Sorted sort(const SessionView& session) {
  Sorted sorted;
  unsigned next = 0;
  for (const RankView& rank : session.members) {
    for (; next < rank.rank && next < session.ranks; ++next) sorted.unseen.push_back(next);
    next = rank.rank + 1;
    const CallView* const call = main_call(rank);
    if (rank.state == "left") {
      sorted.left.push_back(rank.rank);
    } else if (rank.state == "gone") {
      sorted.gone.push_back(&rank);
    } else if (call != nullptr && call->doing != "between") {
      Crowd& crowd = sorted.crowds[{call->doing, call->group, call->site}];
      crowd.ranks.push_back(rank.rank);
      if (call->seconds) crowd.longest = std::max(crowd.longest.value_or(0), *call->seconds);
    }
  }
  for (; next < session.ranks; ++next) sorted.unseen.push_back(next);
  find_missing(session, sorted);
  for (const RankView& rank : session.members) {
    const CallView* const call = main_call(rank);
    const bool is_elsewhere = !rank.is_there() || sorted.missed_for.contains(&rank) ||
                              (call != nullptr && call->doing != "between");
    if (!is_elsewhere) sorted.between[call != nullptr ? call->site : ""].push_back(rank.rank);
  }
  return sorted;
}

std::string crowd_line(const Place& place, const Crowd& crowd) {
  const auto& [doing, group, site] = place;
  const bool is_one = crowd.ranks.size() == 1;
  const std::string since =
      crowd.longest.value_or(0) >= 0.05 ? " since " + duration(*crowd.longest) : "";
  const char* verb = is_one ? "is" : "are";
  if (doing == "waits") verb = is_one ? "waits" : "wait";
  if (doing == "waits for first") verb = is_one ? "waits for the first" : "wait for the first";
  if (doing == "arrived") verb = is_one ? "has arrived" : "have arrived";
  if (doing == "in section") verb = is_one ? "is in its section" : "are in their section";
  const std::string of = group == "job" ? "" : fmt::format(" (group {})", group);
  return fmt::format("  {} {} at {}{}{}: {}\n", count_of(crowd.ranks.size(), "rank"), verb, site,
                     of, since, ranges(crowd.ranks));
}

std::string last_seen(const RankView& rank) {
  const CallView* const call = main_call(rank);
  if (call == nullptr || call->site.empty()) return "has made no call yet";
  return "last seen at " + call->site;
}

template <class Line>
void add_lines(std::string& text, const std::vector<const RankView*>& ranks, Line&& line) {
  for (std::size_t i = 0; i < ranks.size() && i < kNamedMost; ++i) text += line(*ranks[i]);
  if (ranks.size() <= kNamedMost) return;
  Ranks rest;
  for (std::size_t i = kNamedMost; i < ranks.size(); ++i) rest.push_back(ranks[i]->rank);
  text += fmt::format("  and {} more: {}; --all shows them\n", count_of(rest.size(), "rank"),
                      ranges(rest));
}

std::string headline(const SessionView& session) {
  std::string slurm;
  if (!session.slurm_job.empty()) {
    const std::string step = session.slurm_step.empty() ? "" : "." + session.slurm_step;
    slurm = fmt::format(", Slurm job {}{}", session.slurm_job, step);
  }
  return fmt::format("{} ({}{}): {} on {}, up {}\n", session.name, session.user, slurm,
                     count_of(session.ranks, "rank"), count_of(session.nodes, "node"),
                     duration(session.up_seconds));
}

}  // namespace

std::string in_words(const SessionView& session) {
  const Sorted sorted = sort(session);
  std::string text = headline(session);
  for (const auto& [place, crowd] : sorted.crowds) text += crowd_line(place, crowd);
  add_lines(text, sorted.missing, [&sorted](const RankView& rank) {
    const bool is_stopped = rank.process == "stopped";
    return fmt::format("  rank {} on {}, pid {}, is missing: {}, at least {} ago; {}\n", rank.rank,
                       rank.host, rank.pid, last_seen(rank), duration(sorted.missed_for.at(&rank)),
                       is_stopped ? "its process is stopped" : "in no call now");
  });
  add_lines(text, sorted.gone, [](const RankView& rank) {
    return fmt::format("  rank {} on {}, pid {}, is gone: its process has ended; {}\n", rank.rank,
                       rank.host, rank.pid, last_seen(rank));
  });
  for (const auto& [site, ranks] : sorted.between) {
    const std::string where = site.empty() ? "no call yet" : "last seen at " + site;
    text += fmt::format("  {} {} in no call, {}: {}\n", count_of(ranks.size(), "rank"),
                        ranks.size() == 1 ? "is" : "are", where, ranges(ranks));
  }
  if (!sorted.left.empty()) {
    text += fmt::format(
        "  {} left: {}\n",
        count_of(sorted.left.size(), "rank") + (sorted.left.size() == 1 ? " has" : " have"),
        ranges(sorted.left));
  }
  if (!sorted.unseen.empty()) {
    text += fmt::format("  {} not seen, on other nodes: {}\n",
                        count_of(sorted.unseen.size(), "rank"), ranges(sorted.unseen));
  }
  if (session.broken.contains("job")) {
    text += "  the job's group is broken: calls on it fail, with the reason\n";
  }
  return text;
}

}  // namespace lockstep::cli
