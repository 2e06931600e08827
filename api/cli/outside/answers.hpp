// How a visit to a node brings its answer home through srun: lines that it cannot tear apart.
//
// srun passes on what a task prints in pieces of about 1 KiB, and pieces of several nodes may come
// mixed. So an answer travels in short lines that say whose they are and which part they are.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace lockstep::cli {

/// The lines for one node's answer, which must have no line end in it.
std::string wrap_answer(const std::string& node, std::string_view answer);

/// The complete answers in what srun has printed so far, by node. Other lines are left out.
std::map<std::string, std::string> unwrap_answers(std::string_view printed);

}  // namespace lockstep::cli
