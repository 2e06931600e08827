// GPUs as JSON: of one process for info, of all ranks for topo.
#include "runtime/describe_gpus.hpp"

#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/collect.hpp"
#include "runtime/gpu/choice.hpp"
#include "runtime/gpu/driver.hpp"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;

Json describe_device(const gpu::Device& device, std::uint32_t ordinal) {
  Json row = {{"ordinal", ordinal},
              {"uuid", gpu::uuid_text(device.uuid, device.is_instance)},
              {"name", device.name},
              {"address", device.address},
              {"memory", device.memory}};
  if (device.fabric.is_known()) {
    const std::string cluster = gpu::uuid_text(device.fabric.cluster, false);
    row["fabric"] =
        fmt::format("{}.{}", cluster.substr(cluster.find('-') + 1), device.fabric.clique);
  }
  return row;
}

/// Which a process that is started as this one would take; its local rank is not known yet.
Json describe_choice(const Config& config, const gpu::Driver& driver) {
  if (gpu::is_none(config.gpu)) return {{"none", "LOCKSTEP_GPU=none"}};
  const Result<gpu::Choice> choice =
      gpu::choose({config.gpu, driver.devices(), driver.current(), 0});
  if (!choice.ok()) return {{"none", choice.status().text()}};
  Json row = {{"rule", gpu::rule_text(choice.value().rule)}};
  if (choice.value().rule != gpu::Rule::local_rank) row["ordinal"] = choice.value().ordinal;
  return row;
}

/// What a rank says of its own.
Json describe_own(const Gpus::Own& own, Rank rank) {
  Json row = {{"rank", rank}};
  if (!own.choice) {
    row["why"] = own.why;
    return row;
  }
  row.update(describe_device(own.device, own.choice->ordinal));
  row["rule"] = gpu::rule_text(own.choice->rule);
  return row;
}

Json describe_groups(const gpu::Classes& classes) {
  std::map<Rank, std::vector<Rank>> groups;
  for (Rank rank = 0; rank < classes.size(); ++rank) groups[classes[rank]].push_back(rank);
  Json rows = Json::array();
  for (const auto& [lowest, ranks] : groups) rows.push_back(ranks);
  return rows;
}

}  // namespace

std::string describe_gpus(const Config& config, const Environment& environment) {
  Json json = {{"plugin", config.gpu_plugin}, {"present", false}};
  const gpu::Driver::Who who{environment.number("PMIX_RANK").value_or(0), 1};
  const Result<std::unique_ptr<gpu::Driver>> opened = gpu::Driver::open(config, who);
  if (!opened.ok()) {
    json["why"] = opened.status().text();
    return json.dump();
  }
  const gpu::Driver& driver = *opened.value();
  json["present"] = true;
  json["path"] = driver.plugin().path();
  json["description"] = driver.plugin().table().description;
  json["driver"] = driver.version();
  json["devices"] = Json::array();
  for (std::uint32_t ordinal = 0; ordinal < driver.devices().size(); ++ordinal) {
    json["devices"].push_back(describe_device(driver.devices()[ordinal], ordinal));
  }
  json["choice"] = describe_choice(config, driver);
  return json.dump();
}

Result<std::string> describe_gpu_groups(Session& session) {
  Group& job = session.job();
  const Call call{Operation::gather};
  const Result<Gpus::Survey> survey = session.gpus().survey(job, call);
  if (!survey.ok()) return survey.status();
  const auto& has = survey.value().has_gpu;
  const bool is_none = std::none_of(has.begin(), has.end(), [](bool one) { return one; });
  if (is_none && !survey.value().has_mistake) return std::string("{}");
  const std::string mine = describe_own(session.gpus().own(), session.identity().rank).dump();
  const auto all = gather_all(job, call, std::as_bytes(std::span(mine)));
  if (!all.ok()) return all.status();
  Json topology;
  topology["gpus"] = Json::array();
  for (const std::vector<std::byte>& bytes : all.value()) {
    const auto* const text = reinterpret_cast<const char*>(bytes.data());
    topology["gpus"].push_back(Json::parse(text, text + bytes.size()));
  }
  if (!survey.value().seats.empty()) {
    topology["gpu_groups"] = describe_groups(survey.value().groups.classes);
  }
  return topology.dump();
}

}  // namespace lockstep
