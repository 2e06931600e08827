// Data-parallel training on several GPUs that survives an overflow: one rank's gradients are not
// finite, all GPUs know before they apply them, all ranks leave the loop in the same step, and the
// last good weights are saved. training.cu is the part to read; run() is the frame around it.
#include "lockstep/lockstep.hpp"

#include "options.hpp"
#include "together.hpp"
#include "training.hpp"
#include "words.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace overflow {
namespace {

using lockstep::Session;

void check_poison(const Session& session, const Options& options) {
  if (options.poison && options.poison->rank >= session.size()) {
    throw std::runtime_error(fmt::format("--poison: there is no rank {}, the last one is {}",
                                         options.poison->rank, session.size() - 1));
  }
}

/// NCCL refuses what would be a deadlock: two ranks that wait for each other on one GPU.
void take_gpus(Session& session) {
  std::string mine;
  together(session, [&] { mine = take_gpu(session); });
  const std::vector<std::string> all = session.job().gather(mine, {.name = "GPUs"});
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    for (std::size_t other = 0; other < rank; ++other) {
      if (all[rank] != all[other]) continue;
      throw Failed(
          fmt::format("ranks {} and {} are on the same GPU, and NCCL wants one for each: "
                      "start no more ranks on a node than it has GPUs, and let each see "
                      "all of them, or its own",
                      other, rank));
    }
  }
}

/// They are the same everywhere, or somebody has applied a step that others have not.
void compare(Session& session, const std::vector<float>& weights) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const std::byte one : std::as_bytes(std::span(weights))) {
    hash = (hash ^ std::to_integer<std::uint64_t>(one)) * 1099511628211u;
  }
  const auto expected = session.job().broadcast_value(hash);
  together(session, [&] {
    if (hash != expected) throw std::runtime_error("its weights are not those of rank 0");
  });
}

/// Each rank saves its share.
void save(Session& session, const Options& options, const Trained& trained) {
  const auto [begin, end] = session.split_between_processes(trained.weights.size());
  const auto share = std::as_bytes(std::span(trained.weights).subspan(begin, end - begin));
  lockstep::Checkpoints checkpoints(session, options.store.string(), {.keep_last = 2});
  checkpoints.save(trained.applied, [&](std::ostream& part) {
    part.write(reinterpret_cast<const char*>(share.data()),
               static_cast<std::streamsize>(share.size()));
  });
}

/// In one line.
std::string result(const Session& session, const Options& options, const Trained& trained) {
  const std::string saved = fmt::format("loss {:.4f}, weights of step {} saved in {}", trained.loss,
                                        trained.applied, options.store.string());
  if (trained.bad_step != 0 && trained.why) {
    return fmt::format(
        "overflow: rank {} on {} had a gradient that is not finite in step {}; no rank has applied "
        "it, all {} left the loop after step {}; {}",
        trained.why->rank, trained.why->host, trained.bad_step, session.size(), trained.enqueued,
        saved);
  }
  if (trained.why) {
    return fmt::format("stopped after step {}: {}; {}", trained.enqueued, trained.why->text, saved);
  }
  return fmt::format("done: {} steps on {} GPUs; {}", trained.enqueued, session.size(), saved);
}

void run(Session& session, const Options& options) {
  together(session, [&] { check_poison(session, options); });
  take_gpus(session);
  Examples examples;
  together(session, [&] {
    // One reads, all get it.
    const std::string text = session.job().once([&] { return read_text(options.data); });
    examples = examples_of(text, {session.rank(), session.size()});
  });
  session.print(fmt::format("overflow: {} GPUs learn which letter comes next in {}; rank 0 has {} "
                            "examples",
                            session.size(), options.data.string(), examples.size()),
                lockstep::Scope::job);
  const Trained trained = train(session, options, examples);
  compare(session, trained.weights);
  save(session, options, trained);
  session.print(result(session, options, trained), lockstep::Scope::job);
}

/// @return The exit code.
int run_or_tell(Session& session, int argc, char** argv) {
  try {
    CommandLine line;
    together(session, [&] { line = parse(argc, argv); });
    if (line.help.empty()) {
      run(session, line.options);
    } else {
      session.print(line.help, lockstep::Scope::job);
    }
    return 0;
  } catch (const Failed& failure) {
    // A launcher ends all ranks when one ends badly: not before it is told.
    if (session.is_main_process()) fmt::print(stderr, "overflow: {}\n", failure.what());
    session.wait_for_everyone({.name = "it is told"});
  } catch (const std::exception& error) {
    fmt::print(stderr, "overflow: rank {} on {}: {}\n", session.rank(), session.host(),
               error.what());
  }
  return 1;
}

}  // namespace
}  // namespace overflow

int main(int argc, char** argv) {
  try {
    lockstep::Session session;
    return overflow::run_or_tell(session, argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "overflow: %s\n", error.what());  // There is no session to say more.
    return 1;
  }
}
