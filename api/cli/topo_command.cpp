// `lockstep topo`: the tiers of the job it runs in, with the ranks in them.
#include "api/cli/commands.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>

#include <memory>
#include <nlohmann/json.hpp>
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

void print_text(const Json& topology) {
  const Json& nodes = topology["nodes"];
  const auto ranks = topology["ranks"].get<std::size_t>();
  const std::string transport = topology["transport"].get<std::string>();
  fmt::print("job {}: {} rank{} on {} node{}, known from {}{}\n",
             topology["job"].get<std::string>(), ranks, plural(ranks), nodes.size(),
             plural(nodes.size()), topology["source"].get<std::string>(),
             transport.empty() ? "" : fmt::format(", nodes joined by {}", transport));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Json& node = nodes[i];
    const bool is_last = i + 1 == nodes.size();
    const Json& domains = node["domains"];
    std::vector<unsigned> all;
    for (const Json& domain : domains) {
      for (const Json& rank : domain["ranks"]) all.push_back(rank.get<unsigned>());
    }
    std::sort(all.begin(), all.end());
    const auto cores = node["cores"].get<std::size_t>();
    fmt::print("{} node {} {}  ranks {}  leader {}  {} cpu{}\n", is_last ? "└─" : "├─",
               node["index"].get<unsigned>(), node["host"].get<std::string>(), ranges(all),
               node["leader"].get<unsigned>(), cores, plural(cores));
    const std::string kind = node["domain_kind"].get<std::string>();
    if (domains.size() < 2 && kind == "node") continue;
    for (std::size_t k = 0; k < domains.size(); ++k) {
      const Json& domain = domains[k];
      fmt::print("{} {} {} {}  ranks {}  leader {}\n", is_last ? "  " : "│ ",
                 k + 1 == domains.size() ? "└─" : "├─", kind, domain["index"].get<int>(),
                 ranges(domain["ranks"].get<std::vector<unsigned>>()),
                 domain["leader"].get<unsigned>());
    }
  }
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
