// main() of GoogleTest programs that run on every rank of a job: one session for all tests, and one
// voice, rank 0's, unless a rank has something to complain about.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/job/the_session.hpp"

namespace {

lockstep::Session* session = nullptr;

/// Prints a rank's failures only.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %u: %s:%d: %s\n", session->rank(),
                 result.file_name() != nullptr ? result.file_name() : "?", result.line_number(),
                 result.summary());
  }
};

}  // namespace

lockstep::Session& the_session() {
  return *session;
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    lockstep::Session mine;
    session = &mine;
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    if (mine.rank() != 0) {
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new FailurePrinter);
    }
    return RUN_ALL_TESTS();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
