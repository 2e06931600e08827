// Takes PMIx's requests off its thread: they are queued here and served by the server's poll loop.
#pragma once

#include "api/cli/placement.hpp"
#include "api/cli/unique_fd.hpp"

#include <pmix_server.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

namespace lockstep::cli {

/// How an answer finds its way back into libpmix.
struct ModexReply {
  pmix_modex_cbfunc_t function;
  void* cookie;
};

/// All local ranks of the set have come to the fence.
struct FenceUpcall {
  std::vector<Rank> ranks;  ///< Empty: all.
  pmix_status_t status;
  std::string data;
  ModexReply reply;
};

/// A local rank asks for the data of a rank of another node.
struct ModexUpcall {
  Rank rank;
  ModexReply reply;
};

/// libpmix has found the data of a local rank that another node asked for.
struct ModexFound {
  std::uint64_t id;
  pmix_status_t status;
  std::string data;
};

struct AbortUpcall {
  Rank rank;
  int code;
  std::string text;
};

using Upcall = std::variant<FenceUpcall, ModexUpcall, ModexFound, AbortUpcall>;

class UpcallQueue {
 public:
  UpcallQueue();
  /// Any thread; never waits for the server's loop.
  void push(Upcall upcall);
  /// The server's loop only.
  [[nodiscard]] std::vector<Upcall> take();
  /// Readable while something is queued.
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::vector<Upcall> queue_;
};

}  // namespace lockstep::cli
