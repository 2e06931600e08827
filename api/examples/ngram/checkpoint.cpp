// The file: which run it belongs to, then each rank's part, all under one hash.
#include "checkpoint.hpp"

#include "files.hpp"
#include "together.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ngram {
namespace {

namespace fs = std::filesystem;
using lockstep::Session;

constexpr std::string_view kKind = "LSNGCKP1";

/// Of all that decides what the ranks count, and when they stop.
std::uint64_t fingerprint(const Options& options, const Dataset& data) {
  return fnv1a(fmt::format("{} {} {} {} {} {} {:016x}", options.order, options.seed, options.steps,
                           options.patience, options.min_gain, options.stop_early,
                           fnv1a(data.file_bytes())));
}

std::string pack(const Training& training) {
  std::string part;
  put_u64(part, training.steps);
  put_u64(part, training.words);
  put_u64(part, std::bit_cast<std::uint64_t>(training.perplexity));
  put_u64(part, std::bit_cast<std::uint64_t>(training.patience.best));
  put_u64(part, training.patience.poor);
  return part + training.model.bytes();
}

Training unpack(std::string_view part, const Options& options) {
  constexpr std::size_t kNumbers = 5 * 8;
  if (part.size() < kNumbers) throw std::runtime_error("a part of the checkpoint is too short");
  Training training(options.order);
  training.steps = get_u64(part, 0);
  training.words = get_u64(part, 8);
  training.perplexity = std::bit_cast<double>(get_u64(part, 16));
  training.patience.best = std::bit_cast<double>(get_u64(part, 24));
  training.patience.poor = get_u64(part, 32);
  training.model = Model::from_bytes(part.substr(kNumbers), options.checkpoint);
  return training;
}

/// Of one rank, out of the file's payload: run, number of ranks, and a length before each part.
std::string_view find_part(std::string_view payload, std::uint32_t rank) {
  std::size_t at = 16;
  for (std::uint32_t i = 0;; ++i) {
    const std::uint64_t length = payload.size() - at >= 8 ? get_u64(payload, at) : UINT64_MAX;
    at += 8;
    if (length > payload.size() - at) throw std::runtime_error("the checkpoint is too short");
    if (i == rank) return payload.substr(at, length);
    at += length;
  }
}

}  // namespace

Training resume(Session& session, const Options& options, const Dataset& data) {
  Training training(options.order);
  const bool is_there = session.job().broadcast_value<bool>(!options.checkpoint.empty() &&
                                                            fs::exists(options.checkpoint));
  if (!is_there) return training;
  together(session, "go on from the checkpoint", [&] {
    const fs::path& path = options.checkpoint;
    const MappedFile file(path);
    const std::string_view payload = unseal(file.bytes(), kKind, path);
    if (payload.size() < 16 || get_u64(payload, 0) != fingerprint(options, data)) {
      throw std::runtime_error(
          fmt::format("{} was made by another run: with other data, --order, --seed, --steps or "
                      "--patience; run with the same, or remove it",
                      path.string()));
    }
    if (const std::uint64_t ranks = get_u64(payload, 8); ranks != session.size()) {
      throw std::runtime_error(
          fmt::format("{} was made by {} ranks, and these are {}; run with as many, or remove it",
                      path.string(), ranks, session.size()));
    }
    training = unpack(find_part(payload, session.rank()), options);
  });
  return training;
}

void save_checkpoint(Session& session, const Options& options, const Dataset& data,
                     const Training& training, const fs::path& folder) {
  const auto part_of = [&](std::uint32_t rank) {
    return folder / fmt::format("state-{:05}", rank);
  };
  together(session, "hand the state in",
           [&] { write_atomically(part_of(session.rank()), pack(training)); });
  together(session, "save the checkpoint", [&] {
    session.on_main_process([&] {
      std::string payload;
      put_u64(payload, fingerprint(options, data));
      put_u64(payload, session.size());
      for (std::uint32_t rank = 0; rank < session.size(); ++rank) {
        const MappedFile part(part_of(rank));
        put_u64(payload, part.bytes().size());
        payload += part.bytes();
      }
      const std::string bytes = seal(kKind, payload);
      session.save(options.checkpoint, [&](std::ostream& file) { file << bytes; });
    });
  });
}

}  // namespace ngram
