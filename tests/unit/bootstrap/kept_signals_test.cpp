// What is changed meanwhile is put back, and nothing else is touched.
#include "runtime/bootstrap/kept_signals.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include "runtime/config/signal_names.hpp"

namespace lockstep::bootstrap {
namespace {

void of_program(int) {}
void of_library(int, siginfo_t*, void*) {}

void set_by_library(int signal) {
  struct sigaction its {};
  its.sa_sigaction = of_library;
  its.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(signal, &its, nullptr), 0);
}

struct sigaction of(int signal) {
  struct sigaction now {};
  EXPECT_EQ(sigaction(signal, nullptr, &now), 0);
  return now;
}

TEST(KeptSignals, ArePutBackWhateverTheyWere) {
  std::signal(SIGUSR1, of_program);
  std::signal(SIGHUP, SIG_IGN);
  {
    const KeptSignals kept;
    for (const int signal : usable_signals()) set_by_library(signal);
    EXPECT_EQ(of(SIGTERM).sa_sigaction, of_library);
  }
  for (const int signal : usable_signals()) {
    SCOPED_TRACE(signal);
    const auto expected = signal == SIGUSR1 ? of_program : signal == SIGHUP ? SIG_IGN : SIG_DFL;
    EXPECT_EQ(of(signal).sa_handler, expected);
    EXPECT_EQ(of(signal).sa_flags & SA_SIGINFO, 0);
  }
  std::signal(SIGUSR1, SIG_DFL);
  std::signal(SIGHUP, SIG_DFL);
}

TEST(KeptSignals, LeaveHandlersOfFaultsToThoseWhoWantThem) {
  const struct sigaction before = of(SIGFPE);
  {
    const KeptSignals kept;
    set_by_library(SIGFPE);
  }
  EXPECT_EQ(of(SIGFPE).sa_sigaction, of_library);
  sigaction(SIGFPE, &before, nullptr);
}

}  // namespace
}  // namespace lockstep::bootstrap
