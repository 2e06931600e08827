// Reads FAKE_GPUS: some statements are about the machine, the others about some of its ranks.
#include "tests/support/fake_gpu/machine.hpp"

#include <sstream>
#include <stdexcept>

namespace lockstep::fake_gpu {
namespace {

bool is_meant(const std::string& ranks, std::uint32_t rank) {
  if (ranks == "*") return true;
  const std::size_t hyphen = ranks.find('-');
  const std::uint32_t first = static_cast<std::uint32_t>(std::stoul(ranks));
  const std::uint32_t last = hyphen == std::string::npos
                                 ? first
                                 : static_cast<std::uint32_t>(std::stoul(ranks.substr(hyphen + 1)));
  return first <= rank && rank <= last;
}

std::string names_in(std::istringstream& words) {
  std::string names;
  for (std::string name; words >> name;) names += name.front();
  return names;
}

void read_gpus(std::istringstream& words, const std::string& what, Machine& machine) {
  std::uint32_t cluster = 0;
  std::uint32_t clique = 0;
  if (what == "fabric") words >> cluster >> clique;
  const std::string names = names_in(words);
  for (const char name : names) {
    if (what == "gpu") machine.gpus[name];
    if (what == "mig") machine.gpus[name].is_instance = true;
    if (what == "fabric") {
      machine.gpus[name].cluster = static_cast<std::uint8_t>(cluster);
      machine.gpus[name].clique = clique;
    }
    for (const char other : names) {
      if (what == "reach") machine.reaching.insert({name, other});
    }
  }
}

void read_rank(std::istringstream& words, const std::string& what, std::uint32_t rank,
               Machine& machine) {
  std::string ranks;
  words >> ranks;
  if (!is_meant(ranks, rank)) return;
  if (what == "see") machine.seen = names_in(words);
  if (what == "blind") machine.is_blind = true;
  if (what == "no_driver") machine.has_driver = false;
  if (what == "no_barriers") machine.has_barriers = false;
  if (what == "unreachable") machine.maps_others = false;
  if (what == "current") words >> machine.current;
  if (what == "slow") words >> machine.slow_ms;
}

}  // namespace

Machine read_machine(const std::string& text, std::uint32_t rank) {
  static const std::set<std::string> of_ranks = {"see",  "blind",       "no_driver",  "current",
                                                 "slow", "no_barriers", "unreachable"};
  static const std::set<std::string> of_machine = {"gpu", "mig", "fabric", "reach"};
  Machine machine;
  std::istringstream statements(text);
  for (std::string statement; std::getline(statements, statement, ';');) {
    std::istringstream words(statement);
    std::string what;
    if (!(words >> what)) continue;
    if (of_machine.count(what) != 0) {
      read_gpus(words, what, machine);
    } else if (of_ranks.count(what) != 0) {
      read_rank(words, what, rank, machine);
    } else {
      throw std::runtime_error("FAKE_GPUS: what is '" + what + "'?");
    }
  }
  for (const char name : machine.seen) {
    if (machine.gpus.count(name) == 0) {
      throw std::runtime_error(std::string("FAKE_GPUS: there is no GPU ") + name);
    }
  }
  return machine;
}

}  // namespace lockstep::fake_gpu
