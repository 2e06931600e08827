// The list of signals that may become triggers.
#include "runtime/config/signal_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>

namespace lockstep {
namespace {

struct Named {
  std::string_view name;
  int number;
};

constexpr std::array kUsable = {
    Named{"HUP", SIGHUP},   Named{"INT", SIGINT},   Named{"QUIT", SIGQUIT}, Named{"TERM", SIGTERM},
    Named{"USR1", SIGUSR1}, Named{"USR2", SIGUSR2}, Named{"CONT", SIGCONT}, Named{"URG", SIGURG},
    Named{"XCPU", SIGXCPU}, Named{"ALRM", SIGALRM}, Named{"PWR", SIGPWR},   Named{"TSTP", SIGTSTP},
};

/// No trigger can be made of these, but processes end by them.
constexpr std::array kDeadly = {
    Named{"KILL", SIGKILL}, Named{"SEGV", SIGSEGV}, Named{"BUS", SIGBUS},   Named{"ABRT", SIGABRT},
    Named{"FPE", SIGFPE},   Named{"ILL", SIGILL},   Named{"PIPE", SIGPIPE}, Named{"SYS", SIGSYS},
    Named{"TRAP", SIGTRAP}, Named{"XFSZ", SIGXFSZ},
};

}  // namespace

std::optional<int> read_signal(std::string_view text) {
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (const Named& one : kUsable) {
    if (text == one.name || text == std::to_string(one.number)) return one.number;
  }
  return std::nullopt;
}

std::optional<std::vector<int>> read_signals(std::string_view text) {
  std::vector<int> signals;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::optional<int> one = read_signal(text.substr(0, comma));
    const bool is_last = comma == text.size();
    if (!one || comma + 1 == text.size()) return std::nullopt;
    if (std::find(signals.begin(), signals.end(), *one) == signals.end()) signals.push_back(*one);
    text.remove_prefix(is_last ? comma : comma + 1);
  }
  return signals;
}

std::vector<int> usable_signals() {
  std::vector<int> numbers;
  for (const Named& one : kUsable) numbers.push_back(one.number);
  return numbers;
}

std::string signal_name(int signal) {
  for (const std::span<const Named> list : {std::span<const Named>(kUsable), {kDeadly}}) {
    for (const Named& one : list) {
      if (one.number == signal) return fmt::format("SIG{}", one.name);
    }
  }
  return fmt::format("signal {}", signal);
}

}  // namespace lockstep
