// Parts first, the manifest last: what has none does not exist.
#include "runtime/checkpoint_save.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "runtime/agree.hpp"
#include "runtime/collect.hpp"
#include "runtime/save_together.hpp"
#include "runtime/saving/replace_file.hpp"

namespace lockstep {

/// What the manifest says of a part.
struct Saving::Record {
  std::uint64_t step;
  saving::Digest digest;
  std::uint64_t attempt;
};

namespace {

constexpr Nanos kSharingPatience = 5 * kSecond;
constexpr std::uint64_t kIsThere = 1;  ///< bit of agree(): the manifest has its name

bool is_broken(const Status& status) {
  return status.code() <= LOCKSTEP_E_DEADLINE && status.code() >= LOCKSTEP_E_LOST;
}

}  // namespace

Saving::Saving(Group& group, std::string store, std::uint64_t step, const CheckpointWishes& wishes)
    : group_(group), wishes_(wishes), part_(std::move(store), step, group.rank()) {}

Saving::~Saving() {
  is_unwanted_.store(true);
  if (written_.valid()) written_.wait();
}

std::string Saving::path() const {
  return saving::step_path(part_.store(), part_.step());
}

/// A failure, also an exception, is told by finish(), to all.
Status Saving::keep(const Result<saving::Digest>& digest, Nanos start) {
  took_ = now() - start;
  if (!digest.ok()) return digest.status();
  digest_ = digest.value();
  return {};
}

void Saving::write(const saving::Writer& writer) {
  std::packaged_task<Status()> job([&] {
    const Nanos start = now();
    return keep(part_.write(writer), start);
  });
  written_ = job.get_future();
  job();
}

void Saving::write_behind(saving::Background& background, Bytes bytes) {
  total_ = bytes.view.size();
  auto job = std::make_shared<std::packaged_task<Status()>>([this, bytes = std::move(bytes)] {
    const Nanos start = now();
    return keep(part_.write(bytes.view, done_, is_unwanted_), start);
  });
  written_ = job->get_future();
  background.submit([job] { (*job)(); });
}

bool Saving::is_written() const {
  return written_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

Status Saving::test(const Call& call) {
  if (outcome_) return *outcome_;
  node::Words all;
  const std::uint64_t mine = is_written() ? 0 : 1;
  Status status = group_.round(patient(call), {mine, {}}, &all);
  if (status.ok()) return all.word != 0 ? Status::again() : finish(call);
  outcome_ = status;
  return status;
}

Status Saving::wait(const Call& call) {
  if (outcome_) return *outcome_;
  written_.wait();
  // The round of test(), so that members may mix the two.
  for (;;) {
    Status status = test(call);
    if (!status.is(LOCKSTEP_AGAIN)) return status;
  }
}

Status Saving::finish(const Call& call) {
  const Nanos start = now();
  Status status;
  try {
    status = written_.get();
  } catch (const std::exception& error) {
    status = {LOCKSTEP_E_RESOURCE, error.what()};
  }
  status = try_finish(call, status);
  part_.close();
  outcome_ = status;
  took_ = took_ + (now() - start);
  return status;
}

Status Saving::try_finish(const Call& call, const Status& written) {
  if (Status verdict = agree(group_, call, written); !verdict.ok()) return give_up(call, verdict);
  Result<std::vector<Record>> records = everybodys(call);
  if (!records.ok()) {
    // The main process may have seen this round end, and be committing.
    part_.keep();
    return records.status();
  }
  Result<saving::Manifest> manifest = make_manifest(call, *records);
  if (!manifest.ok()) return give_up(call, manifest.status());
  if (Status status = commit(call, *manifest); !status.ok()) return status;
  Status verdict;
  if (wishes_.is_everywhere)
    verdict = await_everywhere(group_, call, digest_, [&](Rank member) {
      return path() + "/" + manifest->parts[member].name;
    });
  if (verdict.ok() && wishes_.is_everywhere) {
    verdict = await_everywhere(group_, call, manifest_digest_,
                               [&](Rank) { return path() + "/" + saving::kManifestName; });
  }
  if (group_.rank() == 0) tidy_up(*manifest);
  return verdict;
}

Result<std::vector<Saving::Record>> Saving::everybodys(const Call& call) {
  return share_each(group_, patient(call), Record{part_.step(), *digest_, part_.attempt()});
}

Result<saving::Manifest> Saving::make_manifest(const Call& call,
                                               const std::vector<Record>& records) {
  saving::Manifest manifest;
  manifest.step = part_.step();
  manifest.saved = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  for (Rank member = 0; member < group_.size(); ++member) {
    const Record& record = records[member];
    if (record.step != records[0].step) {
      // Every member sees the same records, so every member fails alike.
      return Status(LOCKSTEP_E_INVALID,
                    fmt::format("{}: {} saves step {}, but {} step {}; pass the same step "
                                "everywhere",
                                call.text(), member_name(group_, 0), records[0].step,
                                member_name(group_, member), record.step));
    }
    manifest.parts.push_back(
        {saving::part_name(member, static_cast<std::uint32_t>(record.attempt)), record.digest});
  }
  return manifest;
}

/// A store that is not on a shared file system would be found out when it is too late: so the main
/// process looks for one part of each node.
Status Saving::check_sharing(const saving::Manifest& manifest) {
  const bootstrap::Identity& who = group_.around().identity;
  std::set<NodeIndex> seen{who.node()};
  const Nanos deadline = now() + kSharingPatience;
  for (Rank member = 0; member < group_.size(); ++member) {
    if (!seen.insert(who.node_of[group_.ranks()[member]]).second) continue;
    Status status = saving::check_size(part_.store(), manifest, member);
    while (!status.ok() && now() < deadline) {
      const timespec nap{0, 10 * kMillisecond};
      nanosleep(&nap, nullptr);
      status = saving::check_size(part_.store(), manifest, member);
    }
    if (!status.ok()) {
      return {LOCKSTEP_E_IO,
              fmt::format("save: {} has written {}/{}, and it cannot be seen from here; put {} on "
                          "a file system that all nodes share",
                          member_name(group_, member), path(), manifest.parts[member].name,
                          part_.store())};
    }
  }
  return {};
}

/// On the main process only.
Status Saving::write_manifest(const saving::Manifest& manifest, bool& is_there) {
  if (Status status = check_sharing(manifest); !status.ok()) return status;
  if (Status status = saving::sync_folder(part_.store()); !status.ok()) return status;
  const std::string text = saving::manifest_text(manifest);
  manifest_digest_ = saving::digest_of(text);
  Replacement file(path() + "/" + saving::kManifestName);
  Status status = file.open();
  if (status.ok() && !write_all(file.descriptor(), text)) {
    const int error = errno;
    status = {LOCKSTEP_E_IO,
              fmt::format("save: cannot write {}/{}: {}{}", path(), saving::kManifestName,
                          std::strerror(error), advice(error, path()))};
  }
  if (status.ok()) status = file.commit();
  is_there = file.has_replaced();
  return status;
}

Status Saving::commit(const Call& call, const saving::Manifest& manifest) {
  Status status;
  bool is_there = false;
  if (group_.rank() == 0) {
    status = write_manifest(manifest, is_there);
    // While the others wait: they may save this step again as soon as they go on.
    if (status.ok()) saving::remove_strays(part_.store(), manifest);
  }
  std::uint64_t bits = is_there ? kIsThere : 0;
  Status verdict = agree(group_, call, status, &bits);
  // From here on nobody but the main process knows whether there is a manifest, unless all do.
  if (is_broken(verdict) || (bits & kIsThere) != 0) {
    part_.keep();
    return verdict;
  }
  return verdict.ok() ? verdict : give_up(call, verdict);
}

/// Nothing of a save that has failed stays; only the folder, where the group broke. Not to be
/// called once the main process may be committing.
Status Saving::give_up(const Call& call, Status verdict) {
  part_.close();
  if (is_broken(verdict)) return verdict;
  if (Status status = group_.round(patient(call)); !status.ok()) return verdict;
  if (group_.rank() == 0) saving::remove_if_empty(part_.store(), part_.step());
  return verdict;
}

/// After the commit: what killed saves have left, and what is not to be kept.
void Saving::tidy_up(const saving::Manifest& manifest) {
  const std::string& store = part_.store();
  const Result<saving::StepList> steps = saving::list_steps(store);
  if (!steps.ok()) return;
  for (const std::uint64_t step : steps->uncommitted) {
    if (step < manifest.step) saving::remove_step(store, step);
  }
  for (const std::uint64_t step : steps->committed) {
    if (step != manifest.step) saving::remove_strays_of_killed(store, step);
  }
  for (const std::uint64_t step :
       saving::surplus(steps->committed, manifest.step, wishes_.retention)) {
    saving::remove_step(store, step);
  }
}

void SavesInFlight::free(Saving* saving) {
  std::lock_guard lock(mutex_);
  std::erase_if(all_, [saving](const auto& owned) { return owned.get() == saving; });
}

bool SavesInFlight::has(const Saving* saving) {
  std::lock_guard lock(mutex_);
  return std::any_of(all_.begin(), all_.end(),
                     [saving](const auto& owned) { return owned.get() == saving; });
}

Status SavesInFlight::make_room(const Saving& saving, const Call& call, std::size_t limit,
                                bool waits) {
  for (;;) {
    std::vector<Saving*> open;
    bool is_again = false;  // two saves of a step at once would take each other for leftovers
    {
      std::lock_guard lock(mutex_);
      for (const auto& other : all_) {
        if (&other->group() != &saving.group() || other->is_over()) continue;
        open.push_back(other.get());
        is_again = is_again || other->path() == saving.path();
      }
    }
    if (open.size() < limit && !is_again) return {};
    // What becomes of it is told by its own wait().
    const Status status = waits ? open.front()->wait(call) : open.front()->test(call);
    if (status.is(LOCKSTEP_AGAIN)) return status;
  }
}

}  // namespace lockstep
