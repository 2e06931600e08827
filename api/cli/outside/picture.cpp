// Merges nodes' answers into sessions, and shows them as a table or as JSON.
#include "api/cli/outside/picture.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lockstep::cli {
namespace {

using Json = nlohmann::ordered_json;

CallView read_call(const Json& json) {
  CallView call;
  call.group = json.at("group");
  call.doing = json.at("doing");
  call.round = json.at("round");
  call.site = json.at("site");
  if (json.at("seconds").is_number()) call.seconds = json.at("seconds").get<double>();
  return call;
}

RankView read_rank(const Json& json) {
  RankView rank;
  rank.rank = json.at("rank");
  rank.pid = json.at("pid");
  rank.state = json.at("state");
  rank.process = json.at("process");
  rank.where = json.at("where");
  rank.at = json.at("at");
  for (const Json& call : json.at("calls")) rank.calls.push_back(read_call(call));
  return rank;
}

SessionView& session_of(Picture& picture, const Json& part, double time) {
  const std::string id = part.at("id");
  const auto found = std::find_if(picture.sessions.begin(), picture.sessions.end(),
                                  [&id](const SessionView& one) { return one.id == id; });
  if (found != picture.sessions.end()) return *found;
  SessionView& session = picture.sessions.emplace_back();
  session.id = id;
  session.job = part.at("job");
  session.slurm_job = part.at("slurm_job");
  session.slurm_step = part.at("slurm_step");
  session.user = part.at("user");
  session.ranks = part.at("ranks");
  session.nodes = part.at("nodes");
  session.up_seconds = std::max(0.0, time - part.at("started").get<double>());
  return session;
}

void add_part(Picture& picture, const Json& part, double time, const std::string& node) {
  SessionView& session = session_of(picture, part, time);
  const unsigned index = part.at("node");
  if (!session.hosts.emplace(index, part.at("host").get<std::string>()).second) return;
  if (!node.empty()) session.visited[index] = node;
  for (const Json& group : part.at("broken")) session.broken.insert(group.get<std::string>());
  for (const Json& member : part.at("members")) {
    RankView rank = read_rank(member);
    rank.node = index;
    rank.host = session.hosts[index];
    session.members.push_back(std::move(rank));
  }
}

Json describe(const RankView& rank) {
  Json calls = Json::array();
  for (const CallView& call : rank.calls) {
    calls.push_back({{"group", call.group},
                     {"doing", call.doing},
                     {"round", call.round},
                     {"site", call.site},
                     {"seconds", call.seconds ? Json(*call.seconds) : Json(nullptr)}});
  }
  return {{"rank", rank.rank},   {"node", rank.node},        {"host", rank.host},
          {"pid", rank.pid},     {"state", rank.state},      {"process", rank.process},
          {"where", rank.where}, {"calls", std::move(calls)}};
}

}  // namespace

void add_answer(Picture& picture, const std::string& answer, const std::string& node) {
  const Json json = Json::parse(answer);
  for (const Json& part : json.at("parts")) add_part(picture, part, json.at("time"), node);
  for (const Json& refusal : json.at("refused")) {
    picture.refused.push_back(json.at("host").get<std::string>() + ": " +
                              refusal.get<std::string>());
  }
}

void complete(Picture& picture) {
  std::map<std::string, int> names;
  for (SessionView& session : picture.sessions) {
    ++names[session.job];
    std::sort(session.members.begin(), session.members.end(),
              [](const RankView& a, const RankView& b) { return a.rank < b.rank; });
  }
  for (SessionView& session : picture.sessions) {
    session.name = names[session.job] == 1 ? session.job : session.id;
  }
  std::sort(picture.sessions.begin(), picture.sessions.end(),
            [](const SessionView& a, const SessionView& b) { return a.name < b.name; });
}

std::string as_table(const SessionView& session) {
  std::size_t width = 4;
  for (const RankView& rank : session.members) width = std::max(width, rank.host.size());
  std::string text =
      fmt::format("  {:>6}  {:<{}}  {:>8}  {}\n", "RANK", "HOST", width, "PID", "IS");
  for (const RankView& rank : session.members) {
    const bool is_gone = rank.state == "gone";
    const std::string note = is_gone                     ? "process is gone; "
                             : rank.process == "stopped" ? "process is stopped; "
                                                         : "";
    text += fmt::format("  {:>6}  {:<{}}  {:>8}  {}{}\n", rank.rank, rank.host, width, rank.pid,
                        note, rank.where);
  }
  return text;
}

Json as_json(const Picture& picture) {
  Json sessions = Json::array();
  for (const SessionView& session : picture.sessions) {
    Json members = Json::array();
    for (const RankView& rank : session.members) members.push_back(describe(rank));
    sessions.push_back({{"name", session.name},
                        {"id", session.id},
                        {"job", session.job},
                        {"slurm_job", session.slurm_job},
                        {"slurm_step", session.slurm_step},
                        {"user", session.user},
                        {"ranks", session.ranks},
                        {"nodes", session.nodes},
                        {"up_seconds", session.up_seconds},
                        {"broken", session.broken},
                        {"members", std::move(members)}});
  }
  return {{"sessions", std::move(sessions)},
          {"silent_nodes", picture.silent},
          {"refused", picture.refused}};
}

}  // namespace lockstep::cli
