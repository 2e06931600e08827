// `lockstep topo`: the tiers of the job it runs in, with the ranks in them.
#include "api/cli/commands.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "api/cli/command_error.hpp"

namespace lockstep::cli {
namespace {

using Json = nlohmann::ordered_json;

/// "0-3,8" for a sorted list.
std::string ranges(const std::vector<unsigned>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(ranks[i]);
    if (last > i) text += '-' + std::to_string(ranks[last]);
    i = last + 1;
  }
  return text;
}

const char* plural(std::size_t count) {
  return count == 1 ? "" : "s";
}

/// One tier and what is below it.
struct Tier {
  std::string text;
  std::vector<Tier> below;
};

void print_below(const Tier& tier, const std::string& margin) {
  for (std::size_t i = 0; i < tier.below.size(); ++i) {
    const bool is_last = i + 1 == tier.below.size();
    fmt::print("{}{} {}\n", margin, is_last ? "└─" : "├─", tier.below[i].text);
    print_below(tier.below[i], margin + (is_last ? "   " : "│  "));
  }
}

std::vector<unsigned> ranks_of(const Json& node) {
  std::vector<unsigned> all;
  for (const Json& domain : node["domains"]) {
    for (const Json& rank : domain["ranks"]) all.push_back(rank.get<unsigned>());
  }
  std::sort(all.begin(), all.end());
  return all;
}

Tier tier_of_node(const Json& node) {
  const auto cores = node["cores"].get<std::size_t>();
  Tier tier{fmt::format("node {} {}  ranks {}  leader {}  {} cpu{}", node["index"].get<unsigned>(),
                        node["host"].get<std::string>(), ranges(ranks_of(node)),
                        node["leader"].get<unsigned>(), cores, plural(cores)),
            {}};
  const Json& domains = node["domains"];
  const std::string kind = node["domain_kind"].get<std::string>();
  if (domains.size() < 2 && kind == "node") return tier;
  for (const Json& domain : domains) {
    tier.below.push_back(
        {fmt::format("{} {}  ranks {}  leader {}", kind, domain["index"].get<int>(),
                     ranges(domain["ranks"].get<std::vector<unsigned>>()),
                     domain["leader"].get<unsigned>()),
         {}});
  }
  return tier;
}

/// The nodes as they hang below their switches from that level on, in the order of their numbers.
std::vector<Tier> tiers_of(const std::vector<Json>& nodes, std::size_t level) {
  std::vector<Tier> tiers;
  std::map<std::string, std::vector<Json>> switches;
  for (const Json& node : nodes) {
    if (node["switches"].size() > level) {
      switches[node["switches"][level].get<std::string>()].push_back(node);
    }
  }
  std::set<std::string> shown;
  for (const Json& node : nodes) {
    if (node["switches"].size() <= level) {
      tiers.push_back(tier_of_node(node));
      continue;
    }
    const std::string name = node["switches"][level].get<std::string>();
    if (!shown.insert(name).second) continue;
    const std::vector<Json>& members = switches[name];
    std::vector<unsigned> ranks;
    std::vector<unsigned> indices;
    for (const Json& member : members) {
      const std::vector<unsigned> more = ranks_of(member);
      ranks.insert(ranks.end(), more.begin(), more.end());
      indices.push_back(member["index"].get<unsigned>());
    }
    std::sort(ranks.begin(), ranks.end());
    tiers.push_back({fmt::format("switch {}  node{} {}  ranks {}", name, plural(indices.size()),
                                 ranges(indices), ranges(ranks)),
                     tiers_of(members, level + 1)});
  }
  return tiers;
}

/// Who else is on that rank's GPU: ", shared with ranks 2,3".
std::string sharers(const Json& gpus, const Json& own) {
  std::vector<unsigned> others;
  for (const Json& one : gpus) {
    if (one.contains("uuid") && one["uuid"] == own["uuid"] && one["rank"] != own["rank"]) {
      others.push_back(one["rank"].get<unsigned>());
    }
  }
  if (others.empty()) return {};
  return fmt::format(", shared with rank{} {}", plural(others.size()), ranges(others));
}

void print_gpus(const Json& topology) {
  if (!topology.contains("gpus")) return;
  const Json& gpus = topology["gpus"];
  fmt::print("GPUs\n");
  for (const Json& one : gpus) {
    const auto rank = one["rank"].get<unsigned>();
    if (one.contains("why")) {
      fmt::print("   rank {}  none: {}\n", rank, one["why"].get<std::string>());
    } else {
      fmt::print("   rank {}  {}  {}  {} ({}{})\n", rank, one["ordinal"].get<unsigned>(),
                 one["uuid"].get<std::string>(), one["name"].get<std::string>(),
                 one["rule"].get<std::string>(), sharers(gpus, one));
    }
  }
  if (!topology.contains("gpu_groups")) {
    fmt::print("no GPU groups: not every rank has a GPU\n");
    return;
  }
  fmt::print("GPU groups\n");
  for (const Json& group : topology["gpu_groups"]) {
    fmt::print("   ranks {}\n", ranges(group.get<std::vector<unsigned>>()));
  }
}

void print_text(const Json& topology) {
  const std::vector<Json> nodes = topology["nodes"];
  const auto ranks = topology["ranks"].get<std::size_t>();
  const std::string transport = topology["transport"].get<std::string>();
  fmt::print("job {}: {} rank{} on {} node{}, known from {}{}\n",
             topology["job"].get<std::string>(), ranks, plural(ranks), nodes.size(),
             plural(nodes.size()), topology["source"].get<std::string>(),
             transport.empty() ? "" : fmt::format(", nodes joined by {}", transport));
  print_below({"", tiers_of(nodes, 0)}, "");
  print_gpus(topology);
}

void show(bool json) {
  lockstep_session_t session = nullptr;
  if (lockstep_session_join(&session) != LOCKSTEP_OK) throw CommandError(1, lockstep_last_error());
  const std::unique_ptr<lockstep_session, lockstep_status_t (*)(lockstep_session_t)> leave(
      session, lockstep_session_leave);
  char* text = nullptr;
  if (lockstep_topology_json(session, &text) != LOCKSTEP_OK) {
    throw CommandError(1, lockstep_last_error());
  }
  const std::unique_ptr<char, void (*)(void*)> owner(text, lockstep_free);
  if (lockstep_is_main_process(session) == 0) return;
  if (json) {
    fmt::print("{}\n", text);
  } else {
    print_text(Json::parse(text));
  }
}

}  // namespace

void add_topo_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command = app.add_subcommand(
      "topo", "Show the tiers of the job it is started in, with the ranks in them");
  command->footer(
      "Start it as you would start your program:\n"
      "  lockstep topo                                 this machine, a job of one\n"
      "  lockstep run -n 8 --nodes 4 lockstep topo     emulated nodes\n"
      "  srun --mpi=pmix -N 4 -n 16 lockstep topo      a cluster");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print JSON");
  command->callback([json, &context] {
    show(*json);
    context.exit_code = 0;
  });
}

}  // namespace lockstep::cli
