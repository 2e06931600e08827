// What sets a group's triggers beside the program: signals, requests, files, the time, and words in
// memory.
#include <algorithm>

#include <fmt/format.h>

#include "runtime/config/signal_names.hpp"
#include "runtime/group.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/triggers.hpp"

namespace lockstep {
namespace {

/// A check in a tight loop must not become a load on a file server.
constexpr Nanos kFileLookPause = kSecond;

}  // namespace

void Triggers::bind(Trigger& trigger, int signal) {
  std::lock_guard lock(mutex_);
  for (const auto& other : triggers_) other->signals_ &= ~lifecycle::signal_bit(signal);
  trigger.signals_ |= lifecycle::signal_bit(signal);
}

Status Triggers::bind_file(Trigger& trigger, std::string_view path) {
  Result<lifecycle::TouchedFile> file = lifecycle::TouchedFile::at(path);
  if (!file.ok()) return file.status();
  if (group_.rank() != 0) return {};
  std::lock_guard lock(files_mutex_);
  std::erase_if(files_, [&](const WatchedFile& one) { return one.trigger == &trigger; });
  files_.push_back({&trigger, std::move(*file)});
  next_file_look_ = now();
  return {};
}

void Triggers::bind_end(Trigger& trigger) {
  timed_ = &trigger;
}

void Triggers::bind_rest(Trigger& trigger) {
  std::lock_guard lock(mutex_);
  catch_all_ = &trigger;
}

void Triggers::bind_word(Trigger& trigger, std::uint64_t* word) {
  std::erase_if(words_, [&](const WatchedWord& one) { return one.trigger == &trigger; });
  if (word != nullptr) words_.push_back({&trigger, word});
}

void Triggers::unbind(Trigger& trigger) {
  bind_word(trigger, nullptr);
  Trigger* timed = &trigger;
  timed_.compare_exchange_strong(timed, nullptr);
  {
    std::lock_guard lock(mutex_);
    trigger.signals_ = 0;
    trigger.minds_loss_ = false;
    if (catch_all_ == &trigger) catch_all_ = nullptr;
  }
  std::lock_guard lock(files_mutex_);
  std::erase_if(files_, [&](const WatchedFile& one) { return one.trigger == &trigger; });
  if (files_.empty()) next_file_look_ = kNever;
}

bool Triggers::look_at_files_now() {
  if (now() < next_file_look_.load(std::memory_order_relaxed)) return false;
  std::unique_lock files(files_mutex_, std::try_to_lock);
  if (!files || files_.empty()) return false;  // another thread looks
  bool is_any = false;
  for (WatchedFile& one : files_) {
    if (!one.file.was_touched()) continue;
    std::lock_guard lock(mutex_);
    record(
        one.trigger == unnamed_ ? *rest() : *one.trigger,
        {.time = now_since_1970(),
         .notice = {
             .source = lifecycle::Source::file, .left = watch_->left(), .text = one.file.shown()}});
    is_any = true;
  }
  next_file_look_ = after(now(), kFileLookPause);
  return is_any;
}

bool Triggers::no_word_is_written() const noexcept {
  return std::none_of(words_.begin(), words_.end(),
                      [](const WatchedWord& one) { return one.is_written(); });
}

/// Who writes again before this rank looks is told as one with it; a write is never lost.
bool Triggers::take_written_words() {
  bool is_any = false;
  for (const WatchedWord& one : words_) {
    if (!one.is_written()) continue;
    const std::uint64_t value = std::atomic_ref(*one.word).exchange(0);
    std::lock_guard lock(mutex_);
    record(*one.trigger,
           {.value = value,
            .time = now_since_1970(),
            .notice = {.source = lifecycle::Source::word,
                       .text = fmt::format("{} was written to its word in memory", value)}});
    is_any = true;
  }
  return is_any;
}

/// The rest hears of those that no other is bound to.
lifecycle::Signals Triggers::signals_of(const Trigger& trigger) const {
  if (&trigger != rest()) return trigger.signals_;
  lifecycle::Signals others = 0;
  for (const auto& other : triggers_) {
    if (other.get() != &trigger) others |= other->signals_;
  }
  return ~others;
}

void Triggers::take_sources(const Call& call) {
  take_words();
  look_at_files();
  if (watch_ == nullptr || watch_->is_quiet()) return;
  std::lock_guard lock(mutex_);
  const Trigger* const bound = timed_;
  const Trigger* const timed = bound != nullptr ? bound : rest();
  const auto take = [&](Trigger& trigger, std::string_view requests, bool any_request) {
    std::optional<lifecycle::Notice> notice = watch_->take({.signals = signals_of(trigger),
                                                            .requests = requests,
                                                            .any_request = any_request,
                                                            .time = &trigger == timed});
    if (!notice) return;
    record(trigger, {.time = now_since_1970(), .notice = std::move(*notice)});
  };
  for (const auto& trigger : triggers_) {
    if (trigger->opened_ == 0 || trigger.get() == unnamed_) continue;
    take(*trigger, trigger->name_, trigger.get() == catch_all_);
  }
  if (unnamed_ == nullptr) return;
  // A request for the check of a name waits for that, and any request for who checks at all.
  const bool is_its_own =
      (call.operation == Operation::check_trigger || call.operation == Operation::poll_trigger) &&
      call.name != nullptr;
  take(*unnamed_, is_its_own ? call.name : "", is_unnamed_checked_ && catch_all_ == nullptr);
}

/// A signal reaches the ranks one after the other, and who asks may ask twice: once a trigger has
/// fired, what comes from elsewhere is most likely about the same.
void Triggers::log_unheard() {
  if (has_failed_) return;
  take_words();
  std::lock_guard lock(mutex_);
  for (const auto& trigger : triggers_) {
    std::optional<Trigger::Set> set = trigger->untold_;
    if (trigger->is_due()) trigger->merge(set, trigger->told_);
    if (watch_ != nullptr) {
      if (const auto signal = lifecycle::take_signal(signals_of(*trigger))) {
        trigger->merge(
            set, Trigger::Set{.notice = {.source = lifecycle::Source::signal, .signal = *signal}});
      }
    }
    if (!set || (has_fired_ && is_from_outside(set->notice.source))) continue;
    // A signal's sense is the scheduler's to know, who is not asked for this.
    const std::string why = set->notice.source == lifecycle::Source::signal
                                ? signal_name(set->notice.signal)
                            : watch_ != nullptr ? watch_->look_into(set->notice).text
                                                : set->notice.text;
    log::warn("{} was set{}{}, and nobody checked or polled it any more",
              trigger->name_.empty() ? "the trigger without a name"
                                     : fmt::format("trigger '{}'", trigger->name_),
              set->site.empty() ? "" : " at " + set->site, why.empty() ? "" : " (" + why + ")");
  }
}

}  // namespace lockstep
