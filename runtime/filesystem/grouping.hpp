// From what all members say about a path to who of them see the same files. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/ids.hpp"

namespace lockstep::filesystem {

/// What a member says about the nearest folder of a path that is there. All but `missing` and
/// `lags` are hashes and numbers to compare, and stand for nothing.
struct Facts {
  std::uint64_t mount = 0;     ///< its namespace, mount and device: to be compared on one node only
  std::uint64_t folder = 0;    ///< the folder's number in its file system
  std::uint64_t likeness = 0;  ///< equal where everything that is known says: the same folder
  std::uint32_t missing = 0;   ///< names of the path that are not there below the folder
  std::uint32_t lags = 0;      ///< 1: what others do there may be seen late

  friend bool operator==(const Facts&, const Facts&) = default;
};
static_assert(sizeof(Facts) == 32);

/// Members are numbers within their group here. A class is named by its lowest member.
using Classes = std::vector<Rank>;

/// The members that lack more of the path than others do; none if all lack the same.
std::vector<Rank> lacking(std::span<const Facts> facts);

/// Members of one kernel, mount namespace, mount and folder: they see the same files for certain,
/// and the lowest looks for all. The page that ranks of a node share proves that it is one kernel.
Classes same_views(std::span<const Facts> facts, std::span<const NodeIndex> node_of);

/// Who see the same files.
///
/// @param views  From same_views().
/// @param found  Of each view's lowest member: whose name it has read where one was to be made that
///               was not there yet; kNoRank: it could not make it, and there was none. Such views
///               are judged by likeness, among themselves: the others have not been found by them.
Classes same_files(std::span<const Facts> facts, std::span<const Rank> views,
                   std::span<const Rank> found);

/// How many classes there are.
std::uint32_t count(std::span<const Rank> classes);

/// An answer that can be used again.
struct Known {
  std::vector<Facts> facts;
  Classes classes;
};

/// Whether an answer holds for other folders on the same mounts, too: when all had the same
/// folder's number then, what told them apart was the file system; and those of one class are in
/// the same folder of it now.
bool holds_for(const Known& known, std::span<const Facts> facts);

}  // namespace lockstep::filesystem
