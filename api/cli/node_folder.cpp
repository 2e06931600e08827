// Makes and removes a node's folder.
#include "api/cli/node_folder.hpp"

#include "api/cli/command_error.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace lockstep::cli {
namespace {

constexpr int kAttemptsMax = 100;

}  // namespace

std::string node_folder_path(const std::string& base, const std::string& job_name, unsigned node) {
  return fmt::format("{}/{}.n{}", base, job_name, node);
}

NodeFolder::NodeFolder(std::string path) : path_(std::move(path)) {
  // mkdir and not "make if absent": a folder that somebody else has put there is not ours to trust.
  if (mkdir(path_.c_str(), S_IRWXU) != 0) {
    throw CommandError(1, fmt::format("cannot make {}: {}", path_, strerrordesc_np(errno)));
  }
}

NodeFolder::~NodeFolder() {
  remove_node_folder(path_);
}

void remove_node_folder(const std::string& path) {
  // Again, because libpmix's thread may still make a file, which stops the first attempt.
  std::error_code ignored;
  for (int i = 0; i < kAttemptsMax && std::filesystem::exists(path, ignored); ++i) {
    std::filesystem::remove_all(path, ignored);
  }
}

}  // namespace lockstep::cli
