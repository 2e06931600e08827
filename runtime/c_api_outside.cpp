// The C API of who looks at running jobs from outside: no session, nothing collective.
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/c_api_support.hpp"
#include "runtime/outside/ask.hpp"
#include "runtime/outside/find.hpp"

namespace lockstep {
namespace {

using Json = nlohmann::ordered_json;
using namespace outside;

std::string host_name() {
  std::array<char, LOCKSTEP_HOST_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string user_name(uid_t user) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> room{};
  getpwuid_r(user, &entry, room.data(), room.size(), &found);
  return found != nullptr ? found->pw_name : fmt::format("user {}", user);
}

std::string group_name(GroupId group, const Snapshot& seen) {
  if (group == node::kJobGroup) return "job";
  if (group == node::kNodeGroup) return fmt::format("node {}", seen.node);
  return fmt::format("{:016x}", group);
}

Json describe(const Seat& seat, const Snapshot& seen, Nanos time) {
  Json json = {{"group", group_name(seat.group, seen)},
               {"doing", doing_name(seat.doing)},
               {"round", seat.round},
               {"site", seat.site},
               {"seconds", nullptr}};
  if (seat.since) json["seconds"] = static_cast<double>(time - *seat.since) / kSecond;
  return json;
}

Json describe(const MemberView& member, const Part& part, Nanos time) {
  const auto is_used = [](const Seat& seat) { return !seat.site.empty(); };
  const auto uses_node_group = [&is_used](const MemberView& other) {
    return std::any_of(other.seats.begin(), other.seats.end(), [&is_used](const Seat& seat) {
      return seat.group == node::kNodeGroup && is_used(seat);
    });
  };
  const auto& everybody = part.seen.members;
  const bool has_node_group = std::any_of(everybody.begin(), everybody.end(), uses_node_group);
  Json seats = Json::array();
  std::size_t main = 0;
  for (const Seat& seat : member.seats) {
    if (seat.group == node::kNodeGroup && !has_node_group) continue;
    if (&seat == &main_seat(member)) main = seats.size();
    seats.push_back(describe(seat, part.seen, time));
  }
  const Process process = part.page.process_of(member);
  const char* state = "joining";
  if (!member.seats.empty()) state = doing_name(main_seat(member).doing);
  if (process == Process::gone) state = "gone";
  if (member.has_left) state = "left";
  return {{"rank", member.rank},
          {"pid", member.pid},
          {"state", state},
          {"process", process_name(process)},
          {"where", in_words(member, time)},
          {"at", main},
          {"calls", std::move(seats)}};
}

Json describe(const Part& part, Nanos time) {
  const Snapshot& seen = part.seen;
  Json ranks = Json::array();
  for (const MemberView& member : seen.members) ranks.push_back(describe(member, part, time));
  Json broken = Json::array();
  for (const GroupView& group : seen.groups) {
    if (group.is_broken) broken.push_back(group_name(group.id, seen));
  }
  return {{"id", session_id(seen.session)},
          {"job", seen.job},
          {"slurm_job", seen.slurm_job},
          {"slurm_step", seen.slurm_step},
          {"user", user_name(part.page.owner)},
          {"ranks", seen.ranks},
          {"nodes", seen.nodes},
          {"started", seen.started},
          {"node", seen.node},
          {"host", seen.host},
          {"broken", std::move(broken)},
          {"members", std::move(ranks)}};
}

Result<std::string> sessions() {
  const Nanos time = now();
  const Result<Visit> visited = visit(time);
  if (!visited.ok()) return visited.status();
  Json json;
  json["host"] = host_name();
  json["time"] = static_cast<std::int64_t>(std::time(nullptr));
  json["parts"] = Json::array();
  for (const Part& part : visited.value().parts) json["parts"].push_back(describe(part, time));
  json["refused"] = visited.value().refused;
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace
}  // namespace lockstep

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_sessions_json(char** text_p) {
  if (text_p == nullptr) return invalid("text_p is NULL");
  return guard([&] { return give_text(sessions(), text_p); });
}

lockstep_status_t lockstep_request_trigger(const lockstep_request_t* request, uint64_t* check_p) {
  if (request == nullptr || request->size != sizeof *request) {
    return invalid("request is NULL, or its size is not sizeof(lockstep_request_t)");
  }
  if (check_p == nullptr) return invalid("check_p is NULL");
  if (request->session == nullptr || *request->session == '\0') return invalid("which session?");
  if (request->timeout_ns < 0) return invalid("timeout_ns is negative");
  return guard([&] {
    request::Wish wish;
    if (request->name != nullptr) wish.name = request->name;
    if (request->reason != nullptr) wish.reason = request->reason;
    wish.from = request->from != nullptr ? request->from
                                         : fmt::format("{}@{}", user_name(geteuid()), host_name());
    const Result<std::uint64_t> check = ask(request->session, wish, request->timeout_ns);
    if (!check.ok()) return keep(check.status());
    *check_p = check.value();
    return LOCKSTEP_OK;
  });
}

}  // extern "C"
