// A folder that all ranks of a job know, until the test is over.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "tests/job/the_session.hpp"

class SharedFolder {
 public:
  SharedFolder() {
    path_ = the_session().job().once([] {
      std::string name = std::filesystem::temp_directory_path().string() + "/lockstep-XXXXXX";
      if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
      return name;
    });
  }
  ~SharedFolder() {
    if (the_session().is_main_process()) std::filesystem::remove_all(path_);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// As touch(1) does, by the main process; for the others there is nothing to do.
inline void touch(const std::string& path) {
  if (!the_session().is_main_process()) return;
  if (!std::filesystem::exists(path)) std::ofstream(path).flush();
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
}
