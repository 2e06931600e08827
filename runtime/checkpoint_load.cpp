// One rank decides, by the manifest that it has read; that text is what all go by.
#include "runtime/checkpoint_load.hpp"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/collect.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep {
namespace {

/// Looks that find a checkpoint which is gone a moment later, before it is taken for an error.
constexpr unsigned kTries = 100;

/// Why a part could not be had: LOCKSTEP_E_STATE if the checkpoint has been removed, or replaced,
/// since its manifest was read, which is nobody's fault.
Status explain(const std::string& store, const saving::Manifest& manifest, Status status) {
  if (status.ok() || !status.is(LOCKSTEP_E_IO)) return status;
  const Result<saving::LoadedManifest> now_there = saving::load_manifest(store, manifest.step);
  if (!now_there.ok() && now_there.status().is(LOCKSTEP_E_STATE)) return now_there.status();
  if (now_there.ok() && now_there->manifest != manifest) {
    return {LOCKSTEP_E_STATE, fmt::format("the checkpoint of step {} in {} has been replaced "
                                          "meanwhile; load it again",
                                          manifest.step, store)};
  }
  return status;
}

/// The same for somebody who wants this checkpoint and no other.
Status explain_with_advice(const std::string& store, const saving::Manifest& manifest,
                           const Status& status) {
  const Status why = explain(store, manifest, status);
  if (!why.is(LOCKSTEP_E_IO)) return why;
  return {LOCKSTEP_E_IO,
          why.text() + "; lockstep_checkpoint_latest() tells the newest one that is whole"};
}

/// Share of `total` parts: half-open, contiguous.
std::pair<std::uint32_t, std::uint32_t> share_of(std::uint64_t total, Group& group) {
  const std::uint64_t size = group.size();
  return {static_cast<std::uint32_t>(total * group.rank() / size),
          static_cast<std::uint32_t>(total * (group.rank() + std::uint64_t{1}) / size)};
}

Status verify_share(Group& group, const std::string& store, const saving::Manifest& manifest,
                    bool sizes_only) {
  const auto [begin, end] = share_of(manifest.parts.size(), group);
  for (std::uint32_t index = begin; index < end; ++index) {
    Status status;
    if (sizes_only) {
      status = saving::check_size(store, manifest, index);
    } else {
      auto part = saving::PartReader::open(store, manifest, index);
      status = part.ok() ? part.value()->finish() : part.status();
    }
    if (!status.ok()) return explain(store, manifest, status);
  }
  return {};
}

/// The newest manifest below `limit` that can be read; an empty text: there is none.
Result<std::string> newest_manifest(const std::string& store, std::optional<std::uint64_t> limit) {
  const Result<saving::StepList> steps = saving::list_steps(store);
  if (!steps.ok()) return steps.status();
  for (auto step = steps->committed.rbegin(); step != steps->committed.rend(); ++step) {
    if (limit && *step >= *limit) continue;
    Result<saving::LoadedManifest> found = saving::load_manifest(store, *step);
    if (found.ok()) return std::move(found->text);
    if (!found.status().is(LOCKSTEP_E_STATE)) {
      log::warn("{}; the checkpoint of step {} is passed over", found.status().text(), *step);
    }
  }
  return std::string();
}

/// Rank 0's text, or why it has none, to all; as a manifest, or nothing for an empty one.
Result<std::optional<saving::Manifest>> tell(Group& group, const Call& call,
                                             const Result<std::string>& text) {
  if (Status status = agree(group, call, text.ok() ? Status{} : text.status()); !status.ok()) {
    return status;
  }
  const std::string_view mine = text.ok() ? std::string_view(text.value()) : std::string_view();
  Result<std::vector<std::byte>> bytes =
      broadcast(group, patient(call), 0, std::as_bytes(std::span(mine)));
  if (!bytes.ok()) return bytes.status();
  if (bytes->empty()) return std::optional<saving::Manifest>();
  Result<saving::Manifest> manifest =
      saving::parse_manifest({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!manifest.ok()) return manifest.status();
  return std::optional(std::move(*manifest));
}

}  // namespace

Result<std::optional<saving::Manifest>> latest_checkpoint(Group& group, const Call& call,
                                                          const std::string& store,
                                                          bool sizes_only) {
  std::optional<std::uint64_t> limit;
  for (unsigned turn = 0;; ++turn) {
    Result<std::string> newest{std::string()};
    if (group.rank() == 0) newest = newest_manifest(store, limit);
    Result<std::optional<saving::Manifest>> manifest = tell(group, call, newest);
    if (!manifest.ok() || !manifest.value()) return manifest;
    const std::uint64_t step = manifest.value()->step;
    const Status mine = verify_share(group, store, *manifest.value(), sizes_only);
    Status verdict = agree(group, call, mine);
    if (verdict.ok()) return manifest;
    // Removed or replaced since: look again. Each member has the same verdict, and does the same.
    if (verdict.is(LOCKSTEP_E_STATE) && turn < kTries) continue;
    if (!verdict.is(LOCKSTEP_E_IO)) return verdict;
    if (group.rank() == 0) {
      log::warn("{}; the checkpoint of step {} is passed over", verdict.text(), step);
    }
    limit = step;
  }
}

Status read_part(const std::string& store, const saving::Manifest& manifest, std::uint32_t index,
                 const Reader& reader, const saving::Progress& progress) {
  auto part = saving::PartReader::open(store, manifest, index, progress);
  if (!part.ok()) return explain_with_advice(store, manifest, part.status());
  errno = 0;
  const bool is_taken = reader(*part.value());
  const int error = errno;
  // What the part itself has to say comes first: a reader gives up because of it.
  if (Status status = part.value()->finish(); !status.ok())
    return explain_with_advice(store, manifest, status);
  if (is_taken) return {};
  const std::string why = error != 0 ? fmt::format(" ({})", std::strerror(error)) : "";
  return {LOCKSTEP_E_IO, fmt::format("load: the reader of part {} of step {} in {} gave up{}",
                                     index, manifest.step, store, why)};
}

Status load_checkpoint(Group& group, const Call& call, const std::string& store, std::uint64_t step,
                       const Reader& reader, const saving::Progress& progress) {
  Result<std::string> text{std::string()};
  if (group.rank() == 0) {
    Result<saving::LoadedManifest> loaded = saving::load_manifest(store, step);
    if (loaded.ok())
      text = std::move(loaded->text);
    else
      text = loaded.status();
  }
  Result<std::optional<saving::Manifest>> manifest = tell(group, call, text);
  if (!manifest.ok()) return manifest.status();
  Status mine;
  const std::vector<saving::PartEntry>& parts = manifest.value()->parts;
  const auto [begin, end] = share_of(parts.size(), group);
  std::uint64_t total = 0;
  for (std::uint32_t index = begin; index < end; ++index) total += parts[index].digest.size;
  std::uint64_t before = 0;
  saving::Progress tell_sum;
  if (progress)
    tell_sum = [&](std::uint64_t done, std::uint64_t) { progress(before + done, total); };
  for (std::uint32_t index = begin; index < end && mine.ok(); ++index) {
    mine = read_part(store, *manifest.value(), index, reader, tell_sum);
    before += parts[index].digest.size;
  }
  return agree(group, call, mine);
}

}  // namespace lockstep
