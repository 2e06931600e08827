// The C API of saving together: checks arguments, passes on.
#include <cstring>
#include <memory>
#include <string>

#include "lockstep/saving.h"
#include "runtime/c_api_support.hpp"
#include "runtime/checkpoint_load.hpp"
#include "runtime/checkpoint_save.hpp"
#include "runtime/save_together.hpp"
#include "runtime/saving/replace_file.hpp"

namespace lockstep::c_api {
namespace {

constexpr const char* kBadOptions =
    "the options' size is not the sizeof of their type, or they ask for something that this "
    "lockstep does not know: set size, and 0 what is not used";

/// The caller's options: shorter ones are of an older program, what they lack is 0; longer ones of
/// a newer one, and fine if what is unknown is 0.
template <class Options>
bool adopt(const Options* given, Options& mine) {
  constexpr std::size_t kMost = 4096;
  mine = Options{};
  if (given == nullptr) return true;
  if (given->size < sizeof given->size || given->size > kMost) return false;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t at = sizeof mine; at < given->size; ++at) {
    if (bytes[at] != 0) return false;
  }
  std::memcpy(&mine, bytes, std::min(given->size, sizeof mine));
  return true;
}

bool is_empty(const char* text) {
  return text == nullptr || *text == '\0';
}

saving::Writer writer_of(lockstep_writer_t writer, void* context) {
  return [=](int descriptor) { return writer(descriptor, context) == 0; };
}

lockstep_part_t handle_of(saving::PartReader* part) {
  return reinterpret_cast<lockstep_part_t>(part);
}
saving::PartReader* of(lockstep_part_t part) {
  return reinterpret_cast<saving::PartReader*>(part);
}
Saving* of(lockstep_saving_t saving) {
  return reinterpret_cast<Saving*>(saving);
}

Reader reader_of(lockstep_reader_t reader, void* context) {
  return [=](saving::PartReader& part) { return reader(handle_of(&part), context) == 0; };
}

saving::Progress progress_of(const lockstep_load_options_t& options) {
  if (options.progress == nullptr) return {};
  return [options](std::uint64_t done, std::uint64_t total) {
    options.progress(done, total, options.progress_context);
  };
}

constexpr std::uint32_t kCheckpointFlags = LOCKSTEP_SAVE_VISIBLE | LOCKSTEP_SAVE_NO_WAIT;

CheckpointWishes wishes_of(const lockstep_checkpoint_options_t& options) {
  return {{options.keep_last, options.keep_every}, (options.flags & LOCKSTEP_SAVE_VISIBLE) != 0};
}

/// A save that went well counts for the time that the next one may take.
lockstep_status_t finish(const Saving& saving, const Status& status) {
  if (status.ok()) the_session.load()->saw_save(saving.path(), saving.took());
  return pass_on(status);
}

Bytes bytes_of(const void* bytes, std::size_t length, lockstep_release_t release, void* context) {
  if (release == nullptr) {
    const auto copy = std::make_shared<std::string>(static_cast<const char*>(bytes), length);
    return {*copy, copy};
  }
  return {{static_cast<const char*>(bytes), length},
          std::shared_ptr<const void>(bytes, [=](const void*) { release(context); })};
}

bool is_live(lockstep_saving_t saving) {
  Session* const session = the_session.load();
  return saving != nullptr && session != nullptr && session->saves().has(of(saving));
}
constexpr const char* kNoSaving = "the saving is NULL, or has been given back";

}  // namespace
}  // namespace lockstep::c_api

using namespace lockstep;
using namespace lockstep::c_api;

extern "C" {

lockstep_status_t lockstep_save_together(lockstep_group_t group, const char* path,
                                         const lockstep_save_options_t* options,
                                         lockstep_writer_t writer, void* context,
                                         const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_empty(path) || writer == nullptr) return invalid("path or writer is empty");
  lockstep_save_options_t mine;
  if (!adopt(options, mine) || (mine.flags & ~(LOCKSTEP_SAVE_WAIT | LOCKSTEP_SAVE_VISIBLE)) != 0 ||
      mine.saver < LOCKSTEP_SAVER_MAIN || mine.saver > LOCKSTEP_SAVER_EACH_FILE_SYSTEM ||
      is_bad_timeout(call)) {
    return invalid(kBadOptions);
  }
  return guard([&] {
    const Call made = make_call(Operation::save, call);
    SaveWishes wishes{mine.saver == LOCKSTEP_SAVER_EVERY_RANK,
                      (mine.flags & LOCKSTEP_SAVE_WAIT) != 0,
                      (mine.flags & LOCKSTEP_SAVE_VISIBLE) != 0};
    if (mine.saver == LOCKSTEP_SAVER_EACH_FILE_SYSTEM) {
      auto part = the_session.load()->scopes().part_of(*of(group), LOCKSTEP_PER_FILE_SYSTEM,
                                                       folder_of(path), made);
      if (!part.ok()) return keep(part.status());
      wishes.readers = part->group;
    }
    const Nanos start = now();
    const Status status = save_together(*of(group), made, path, wishes, writer_of(writer, context));
    if (status.ok()) the_session.load()->saw_save(path, now() - start);
    return pass_on(status);
  });
}

lockstep_status_t lockstep_checkpoint_save(lockstep_group_t group, const char* store, uint64_t step,
                                           const lockstep_checkpoint_options_t* options,
                                           lockstep_writer_t writer, void* context,
                                           const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_empty(store) || writer == nullptr) return invalid("store or writer is empty");
  lockstep_checkpoint_options_t mine;
  if (!adopt(options, mine) || (mine.flags & ~kCheckpointFlags) != 0 || is_bad_timeout(call)) {
    return invalid(kBadOptions);
  }
  return guard([&] {
    const Call made = make_call(Operation::checkpoint_save, call);
    Saving saving(*of(group), store, step, wishes_of(mine));
    // Only one of the same step is in its way.
    if (Status status = the_session.load()->saves().make_room(saving, made, SIZE_MAX, true);
        !status.ok()) {
      return keep(status);
    }
    saving.write(writer_of(writer, context));
    return finish(saving, saving.wait(made));
  });
}

lockstep_status_t lockstep_checkpoint_latest(lockstep_group_t group, const char* store,
                                             uint32_t flags, const lockstep_call_t* call,
                                             int* found_p, lockstep_checkpoint_t* checkpoint_p) {
  if (!is_live(group)) return refuse(group);
  if (is_empty(store) || found_p == nullptr) return invalid("store or found_p is empty");
  if (checkpoint_p == nullptr || checkpoint_p->size != sizeof *checkpoint_p) {
    return invalid("checkpoint_p is NULL, or its size is not sizeof(lockstep_checkpoint_t)");
  }
  if ((flags & ~LOCKSTEP_CHECKPOINT_SIZES_ONLY) != 0 || is_bad_timeout(call)) {
    return invalid(kBadOptions);
  }
  return guard([&] {
    const auto latest = latest_checkpoint(*of(group), make_call(Operation::checkpoint_latest, call),
                                          store, (flags & LOCKSTEP_CHECKPOINT_SIZES_ONLY) != 0);
    if (!latest.ok()) return keep(latest.status());
    *found_p = latest.value() ? 1 : 0;
    if (!latest.value()) return LOCKSTEP_OK;
    checkpoint_p->step = latest.value()->step;
    checkpoint_p->bytes = latest.value()->bytes();
    checkpoint_p->parts = static_cast<uint32_t>(latest.value()->parts.size());
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_checkpoint_load(lockstep_group_t group, const char* store, uint64_t step,
                                           const lockstep_load_options_t* options,
                                           lockstep_reader_t reader, void* context,
                                           const lockstep_call_t* call) {
  if (!is_live(group)) return refuse(group);
  if (is_empty(store) || reader == nullptr) return invalid("store or reader is empty");
  lockstep_load_options_t mine;
  if (!adopt(options, mine) || is_bad_timeout(call)) return invalid(kBadOptions);
  return guard([&] {
    return pass_on(load_checkpoint(*of(group), make_call(Operation::checkpoint_load, call), store,
                                   step, reader_of(reader, context), progress_of(mine)));
  });
}

lockstep_status_t lockstep_checkpoint_read(const char* store, uint64_t step, uint32_t part,
                                           const lockstep_load_options_t* options,
                                           lockstep_reader_t reader, void* context) {
  if (is_empty(store) || reader == nullptr) return invalid("store or reader is empty");
  lockstep_load_options_t mine;
  if (!adopt(options, mine)) return invalid(kBadOptions);
  return guard([&] {
    const auto loaded = saving::load_manifest(store, step);
    if (!loaded.ok()) return keep(loaded.status());
    if (part >= loaded->manifest.parts.size()) return invalid("the checkpoint has no such part");
    return pass_on(
        read_part(store, loaded->manifest, part, reader_of(reader, context), progress_of(mine)));
  });
}

lockstep_status_t lockstep_part_read(lockstep_part_t part, void* bytes, size_t capacity,
                                     size_t* length_p) {
  if (part == nullptr || (bytes == nullptr && capacity > 0) || length_p == nullptr) {
    return invalid("part, bytes or length_p is NULL");
  }
  return guard([&] {
    const Result<std::size_t> length = of(part)->read(bytes, capacity);
    if (!length.ok()) return keep(length.status());
    *length_p = length.value();
    return LOCKSTEP_OK;
  });
}

uint32_t lockstep_part_index(lockstep_part_t part) {
  return part != nullptr ? of(part)->index() : UINT32_MAX;
}
uint32_t lockstep_part_count(lockstep_part_t part) {
  return part != nullptr ? of(part)->count() : 0;
}
uint64_t lockstep_part_size(lockstep_part_t part) {
  return part != nullptr ? of(part)->size() : 0;
}

lockstep_status_t lockstep_checkpoint_save_async(lockstep_group_t group, const char* store,
                                                 uint64_t step,
                                                 const lockstep_checkpoint_options_t* options,
                                                 const void* bytes, size_t length,
                                                 lockstep_release_t release, void* release_context,
                                                 const lockstep_call_t* call,
                                                 lockstep_saving_t* saving_p) {
  if (!is_live(group)) return refuse(group);
  if (is_empty(store) || (bytes == nullptr && length > 0) || saving_p == nullptr) {
    return invalid("store, bytes or saving_p is empty");
  }
  lockstep_checkpoint_options_t mine;
  if (!adopt(options, mine) || (mine.flags & ~kCheckpointFlags) != 0 || is_bad_timeout(call)) {
    return invalid(kBadOptions);
  }
  return guard([&] {
    const Result<Saving*> saving = the_session.load()->saves().start(
        std::make_unique<Saving>(*of(group), store, step, wishes_of(mine)),
        make_call(Operation::checkpoint_save, call), std::max(mine.in_flight, 1u),
        (mine.flags & LOCKSTEP_SAVE_NO_WAIT) == 0,
        [&] { return bytes_of(bytes, length, release, release_context); });
    if (!saving.ok()) return pass_on(saving.status());
    *saving_p = reinterpret_cast<lockstep_saving_t>(saving.value());
    return LOCKSTEP_OK;
  });
}

lockstep_status_t lockstep_saving_test(lockstep_saving_t saving, const lockstep_call_t* call) {
  if (!is_live(saving)) return invalid(kNoSaving);
  if (is_bad_timeout(call)) return invalid(kBadOptions);
  return guard([&] {
    return finish(*of(saving), of(saving)->test(make_call(Operation::checkpoint_save, call)));
  });
}

lockstep_status_t lockstep_saving_wait(lockstep_saving_t saving, const lockstep_call_t* call) {
  if (!is_live(saving)) return invalid(kNoSaving);
  if (is_bad_timeout(call)) return invalid(kBadOptions);
  return guard([&] {
    return finish(*of(saving), of(saving)->wait(make_call(Operation::checkpoint_save, call)));
  });
}

lockstep_status_t lockstep_saving_progress(lockstep_saving_t saving, uint64_t* done_p,
                                           uint64_t* total_p) {
  if (!is_live(saving)) return invalid(kNoSaving);
  if (done_p == nullptr || total_p == nullptr) return invalid("done_p or total_p is NULL");
  *done_p = of(saving)->done();
  *total_p = of(saving)->total();
  return LOCKSTEP_OK;
}

void lockstep_saving_free(lockstep_saving_t saving) {
  if (is_live(saving)) the_session.load()->saves().free(of(saving));
}

}  // extern "C"
