// A file that becomes visible under its name only when it is whole and on disk.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/result.hpp"
#include "runtime/base/unique_fd.hpp"

namespace lockstep {

/// open(), write to descriptor(), commit(). Without commit() nothing has changed.
class Replacement {
 public:
  explicit Replacement(std::string path);
  ~Replacement();
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  Status open();
  int descriptor() const { return file_.get(); }
  Status commit();

 private:
  std::string path_;
  std::string folder_;
  std::string temporary_;
  UniqueFd file_;
  bool has_name_ = false;
};

/// All of it, whatever write(2) takes at a time; false with errno set.
bool write_all(int fd, std::string_view text);

}  // namespace lockstep
