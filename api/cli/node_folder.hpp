// The private folder of one node's PMIx server: made by its server, removed by whoever is left.
#pragma once

#include <string>

namespace lockstep::cli {

/// Folders of all nodes are named before any exists: the launcher can remove what a killed server
/// leaves, and a server whose launcher was killed removes its own. Nothing outlives either.
[[nodiscard]] std::string node_folder_path(const std::string& base, const std::string& job_name,
                                           unsigned node);

/// Makes the folder with mode 0700; throws CommandError if it exists or cannot be made.
class NodeFolder {
 public:
  explicit NodeFolder(std::string path);
  NodeFolder(const NodeFolder&) = delete;
  NodeFolder& operator=(const NodeFolder&) = delete;
  ~NodeFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Removes it with all that is in it; no error if it is not there.
void remove_node_folder(const std::string& path);

}  // namespace lockstep::cli
