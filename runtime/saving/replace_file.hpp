// A file that becomes visible under its name only when it is whole and on disk.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"

namespace lockstep {

/// open(), write to descriptor(), commit(). Without commit() nothing has changed.
///
/// The file has no name while it is written, where the file system can do that, and at the very end
/// one of a few fixed names beside the target, locked while its owner lives. What a killed process
/// leaves under one of them, the next save of the same file finds unlocked, and removes.
class Replacement {
 public:
  /// Named from the start: what file systems without O_TMPFILE get.
  enum class Kind { unnamed_if_possible, named };

  explicit Replacement(std::string path, Kind kind = Kind::unnamed_if_possible);
  ~Replacement();
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  Status open();
  /// Open for writing and for reading back.
  int descriptor() const { return file_.get(); }
  Status commit();
  /// commit() got as far as the name, even if it has failed after that.
  bool has_replaced() const noexcept { return has_replaced_; }

  /// A file that waits to be renamed has one of these names.
  static bool is_temporary(std::string_view name);

 private:
  bool open_named(const std::string& name);
  void remove_leftovers() const;
  void keep_owner_and_mode() const;
  bool take_name();
  Status name_it();
  std::string slot(unsigned number) const;
  std::string random_name() const;
  Status failure(const char* what) const;

  std::string path_;
  std::string folder_path_;
  std::string name_;
  Kind kind_;
  UniqueFd folder_;
  UniqueFd file_;
  std::string temporary_;  ///< the name in the folder now; empty: none
  bool has_replaced_ = false;
};

/// The folder that a path names a file in.
std::string folder_of(const std::string& path);

/// All of it, whatever write(2) takes at a time; false with errno set.
bool write_all(int fd, std::string_view text);

/// What to type about a failed system call on a file in `folder`; empty if nothing is known.
std::string advice(int error, const std::string& folder);

}  // namespace lockstep
