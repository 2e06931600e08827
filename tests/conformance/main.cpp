// Runs the transport suite on the plugins named on the command line, or is the peer to be killed.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "instance.hpp"
#include "victim.hpp"

int main(int argc, char** argv) {
  using namespace lockstep::conformance;
  if (argc == 4 && std::strcmp(argv[1], kVictimFlag) == 0) {
    return run_victim(argv[2], static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  }

  // Everything that is not for GoogleTest is for us, and the tests are made from it.
  std::vector<char*> rest{argv[0]};
  bool is_self_only = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--self") == 0) {
      is_self_only = true;
    } else if (std::strncmp(argv[i], "--", 2) == 0) {
      rest.push_back(argv[i]);
    } else {
      candidates().push_back({argv[i], is_self_only});
      is_self_only = false;
    }
  }
  if (candidates().empty()) {
    std::fprintf(stderr,
                 "usage: %s [--self] PLUGIN.so ... [--gtest_...]\n"
                 "  --self  the next plugin reaches its own rank only\n",
                 argv[0]);
    return 2;
  }
  int rest_count = static_cast<int>(rest.size());
  rest.push_back(nullptr);
  testing::InitGoogleTest(&rest_count, rest.data());
  return RUN_ALL_TESTS();
}
