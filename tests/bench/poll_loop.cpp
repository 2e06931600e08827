// A loop like that of a training, without and with a poll in it: for callgrind, which counts its
// instructions (docs/benchmarks.md). usage: poll_loop STEPS [poll]
#include <cstdio>
#include <string>
#include <vector>

#include "lockstep/lockstep.hpp"

namespace {

/// One step of gradient descent on |a x - b|.
double step(std::vector<double>& x) {
  double loss = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = static_cast<double>(i) * x[i] - 1;
    loss += difference * difference;
    x[i] -= 1e-6 * difference;
  }
  return loss;
}

}  // namespace

// Seen from outside under these names: what is collected.
extern "C" [[gnu::noinline]] double train(long steps, std::vector<double>& x) {
  double loss = 0;
  for (long i = 0; i < steps; ++i) loss = step(x);
  return loss;
}

extern "C" [[gnu::noinline]] double train_polling(long steps, std::vector<double>& x,
                                                  lockstep::Trigger& stop) {
  double loss = 0;
  for (long i = 0; i < steps && !stop.poll(); ++i) loss = step(x);
  return loss;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  lockstep::Session session;
  lockstep::Trigger stop = session.trigger("stop");
  (void)stop.poll();  // the first one starts what listens
  std::vector<double> x(1000);
  const long steps = std::stol(argv[1]);
  const double loss = argc > 2 ? train_polling(steps, x, stop) : train(steps, x);
  std::printf("loss %g\n", loss);
  return 0;
}
