// A file by which somebody asks for something: touch run/save.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/time.hpp"

namespace lockstep::lifecycle {

class TouchedFile {
 public:
  /// What is there now does not count. Neither the file nor its folder need be there yet.
  /// LOCKSTEP_E_INVALID: no path can be like that; LOCKSTEP_E_IO: a relative one, and the working
  /// folder is gone.
  static Result<TouchedFile> at(std::string_view path);

  /// Has it appeared, or been changed, since this was asked last? Leaves it alone.
  bool was_touched() noexcept;

  /// As it was given, for people.
  const std::string& shown() const noexcept { return shown_; }

 private:
  /// Which file that was, and when it was last written to; a file put in its place is another one.
  struct Stamp {
    bool is_there = false;
    ino_t inode = 0;
    Nanos modified = 0;

    bool operator==(const Stamp&) const = default;
  };
  TouchedFile(std::string shown, std::string path);
  std::optional<Stamp> look() const noexcept;

  std::string shown_;
  std::string path_;  ///< absolute: the program may go to another folder
  std::optional<Stamp> seen_;
};

}  // namespace lockstep::lifecycle
