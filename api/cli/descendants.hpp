// Ends whatever the ranks leave behind: orphans come to the nearest subreaper, and end there.
#pragma once

#include <sys/types.h>

#include <vector>

namespace lockstep::cli {

/// Makes orphans among this process's descendants its own children.
void adopt_orphans();

/// The children that this process has now.
[[nodiscard]] std::vector<pid_t> list_children();

/// Kills every child of this process except the spared ones, again and again, because each death
/// may hand over grandchildren. Returns when none is left, or after a bounded time.
void kill_children(const std::vector<pid_t>& spared);

}  // namespace lockstep::cli
