// One visit here, or one to all nodes of a job.
#include "api/cli/outside/look.hpp"

#include "api/cli/command_error.hpp"
#include "api/cli/outside/slurm.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>
#include <unistd.h>

#include <array>
#include <memory>

namespace lockstep::cli {

std::chrono::milliseconds patience_of(double seconds) {
  return std::chrono::milliseconds(static_cast<long>(seconds * 1000));
}

std::string sessions_here() {
  char* text = nullptr;
  if (lockstep_sessions_json(&text) != LOCKSTEP_OK) throw CommandError(1, lockstep_last_error());
  const std::unique_ptr<char, void (*)(void*)> owner(text, lockstep_free);
  return nlohmann::ordered_json::parse(text).dump();
}

std::string own_node(const Environment& environment) {
  if (const auto name = environment.find("SLURMD_NODENAME")) return *name;
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

Picture look(const std::string& what, const Environment& environment,
             std::chrono::milliseconds patience) {
  Picture picture;
  if (const auto id = read_slurm_id(what)) {
    const Slurm slurm(environment, patience);
    const SlurmJob job = slurm.find(*id);
    NodeAnswers answers = slurm.visit(job, {"status", "--here"});
    for (const auto& [node, answer] : answers.by_node) add_answer(picture, answer, node);
    picture.silent = std::move(answers.silent);
    std::erase_if(picture.sessions, [&](const SessionView& session) {
      return session.slurm_job != job.number ||
             (!id->step.empty() && session.slurm_step != id->step);
    });
  } else {
    add_answer(picture, sessions_here(), "");
    std::erase_if(picture.sessions, [&what](const SessionView& session) {
      return !what.empty() && session.job != what && session.id != what;
    });
  }
  complete(picture);
  return picture;
}

std::string why_nothing(const std::string& what) {
  if (what.empty()) {
    return geteuid() == 0 ? "no process of this machine has joined lockstep"
                          : "no process of yours on this machine has joined lockstep";
  }
  if (read_slurm_id(what)) {
    return fmt::format(
        "job {} runs, but no process of it has joined lockstep: it does not use it, "
        "has not come to lockstep_session_join() yet, or has left",
        what);
  }
  return fmt::format("there is no session '{}' on this machine; type: lockstep status", what);
}

}  // namespace lockstep::cli
