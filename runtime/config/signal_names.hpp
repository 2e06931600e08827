// Signals as people write them: TERM, SIGTERM or 15.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

/// Nothing for a signal that no program may use for its own ends: those that cannot be caught, that
/// report a fault, or that belong to children. SIGTSTP, which does belong to the terminal, is also
/// what Slurm sends before it suspends a job.
std::optional<int> read_signal(std::string_view text);

/// Names separated by commas; empty text is no signal.
std::optional<std::vector<int>> read_signals(std::string_view text);

/// All that read_signal() takes.
std::vector<int> usable_signals();

/// "SIGTERM"; "signal 99" where it has no name.
std::string signal_name(int signal);

}  // namespace lockstep
