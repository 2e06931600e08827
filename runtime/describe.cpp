// What `lockstep info` and `lockstep topo` show, as JSON.
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/bootstrap/bootstrap.hpp"
#include "runtime/bootstrap/domains.hpp"
#include "runtime/c_api_support.hpp"
#include "runtime/capabilities.hpp"
#include "runtime/collect.hpp"
#include "runtime/describe_gpus.hpp"
#include "runtime/plugin/registry.hpp"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

Json describe_settings(const Environment& environment) {
  Json rows = Json::array();
  for (const Setting& setting : settings()) {
    const auto given = environment.get(setting.name);
    rows.push_back({{"name", setting.name},
                    {"value", std::string(given.value_or(setting.fallback))},
                    {"default", setting.fallback},
                    {"set", given.has_value()},
                    {"form", setting.form},
                    {"help", setting.help}});
  }
  return rows;
}

Json describe_plugins(const Config& config) {
  Json rows = Json::array();
  bool chosen = false;
  for (const plugin::Candidate& candidate : plugin::survey(config)) {
    const auto& preferred = plugin::preferred();
    const bool is_preferred =
        std::find(preferred.begin(), preferred.end(), candidate.name) != preferred.end();
    const bool wanted = config.transport == "auto"
                            ? is_preferred && candidate.is_usable && !chosen
                            : candidate.name == config.transport && candidate.is_usable;
    std::string verdict = candidate.verdict;
    if (wanted) {
      verdict = "chosen for rounds between nodes; " + verdict;
      chosen = true;
    } else if (candidate.is_usable) {
      verdict =
          config.transport == "auto"
              ? "not chosen: " + std::string(is_preferred ? "an earlier one can be used"
                                                          : "only on request (LOCKSTEP_TRANSPORT)")
              : "not chosen: LOCKSTEP_TRANSPORT=" + config.transport;
    }
    rows.push_back({{"name", candidate.name},
                    {"version", candidate.version},
                    {"path", candidate.path},
                    {"usable", candidate.is_usable},
                    {"chosen", wanted},
                    {"verdict", verdict}});
  }
  return rows;
}

Json describe_identity(const Environment& environment) {
  if (bootstrap::has_pmix(environment)) {
    return fmt::format("PMIx: rank {} of job {}", *environment.get("PMIX_RANK"),
                       *environment.get("PMIX_NAMESPACE"));
  }
  const auto claim = bootstrap::claim_of(environment);
  if (!claim.ok()) return claim.status().text();
  if (!claim->has_value()) return "a job of one: no launcher started this process";
  return fmt::format("rank {} of {} by {}, and no PMIx server to reach the others",
                     claim.value()->rank, claim.value()->size, claim.value()->source);
}

Json describe_capabilities(const Config& config, const Environment& environment) {
  Json rows = Json::array();
  for (const Capability& one : capabilities(config, environment, look_around(environment))) {
    rows.push_back({{"name", one.name},
                    {"state", have_name(one.state)},
                    {"why", one.why},
                    {"type", one.advice}});
  }
  return rows;
}

std::string info() {
  const Environment environment = Environment::of_process();
  std::vector<std::string> warnings;
  const Result<Config> config = Config::load(environment, warnings);
  Json json;
  json["lockstep"] = lockstep_version();
  json["libraries"] = {{"pmix", bootstrap::pmix_version()}, {"hwloc", bootstrap::hwloc_version()}};
  json["identity"] = describe_identity(environment);
  json["security"] = "none: frames between nodes carry the job's random number, but no MAC";
  if (config.ok()) {
    json["capabilities"] = describe_capabilities(config.value(), environment);
    json["plugins"] = describe_plugins(config.value());
    json["gpus"] = Json::parse(describe_gpus(config.value(), environment));
  } else {
    json["error"] = config.status().text();
  }
  json["warnings"] = warnings;
  json["settings"] = describe_settings(environment);
  return json.dump(2);
}

/// What one rank says about its place: its domain, and on leaders the kind of domains.
struct Place {
  std::int32_t domain;
  std::uint32_t cores;
  std::array<char, 8> kind;
};

Result<std::string> describe_topology(Session& session) {
  const bootstrap::Identity& who = session.identity();
  Place mine{};
  mine.domain = session.page().members()[session.local_rank()].domain;
  mine.cores = session.page().head().cores;
  std::strncpy(mine.kind.data(), session.domain_kind().c_str(), mine.kind.size() - 1);
  const Call call{Operation::gather};
  const Result<std::vector<Place>> all = share_each(session.job(), call, mine);
  if (!all.ok()) return all.status();
  const std::vector<Place>& places = all.value();

  Json json;
  json["job"] = who.job;
  json["source"] = who.source;
  json["ranks"] = who.size;
  json["transport"] = session.transport();
  json["nodes"] = Json::array();
  for (NodeIndex node = 0; node < who.hosts.size(); ++node) {
    const std::vector<Rank> ranks = who.members(node);
    std::map<std::int32_t, std::vector<Rank>> domains;
    for (const Rank rank : ranks) domains[places[rank].domain].push_back(rank);
    Json tiers = Json::array();
    for (const auto& [domain, members] : domains) {
      tiers.push_back({{"index", domain}, {"leader", members.front()}, {"ranks", members}});
    }
    json["nodes"].push_back({{"index", node},
                             {"host", who.hosts[node]},
                             {"switches", session.switches()[node]},
                             {"cores", places[ranks.front()].cores},
                             {"leader", ranks.front()},
                             {"domain_kind", places[ranks.front()].kind.data()},
                             {"domains", tiers}});
  }
  const Result<std::string> gpus = describe_gpu_groups(session);
  if (!gpus.ok()) return gpus.status();
  json.update(Json::parse(gpus.value()));
  return json.dump(2);
}

}  // namespace
}  // namespace lockstep

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_info_json(char** text_p) {
  if (text_p == nullptr) return invalid("text_p is NULL");
  return guard([&] { return give_text(info(), text_p); });
}

lockstep_status_t lockstep_topology_json(lockstep_session_t session, char** text_p) {
  if (!is_live(session)) return refuse(session);
  if (text_p == nullptr) return invalid("text_p is NULL");
  return guard([&] { return give_text(describe_topology(*of(session)), text_p); });
}

}  // extern "C"
