// Calls PMIx. Its callbacks come on a thread of PMIx and only write into their own request.
#include "plugins/pmix_fence/requests.hpp"

#include <new>
#include <utility>

namespace lockstep::pmix_fence {

pmix_status_t publish(const std::string& key, std::span<const std::byte> value) {
  pmix_value_t bytes{};
  bytes.type = PMIX_BYTE_OBJECT;
  // PMIx copies and does not write; its C struct only has no const.
  bytes.data.bo.bytes = reinterpret_cast<char*>(const_cast<std::byte*>(value.data()));
  bytes.data.bo.size = value.size();
  const pmix_status_t status = PMIx_Put(PMIX_GLOBAL, key.c_str(), &bytes);
  return status == PMIX_SUCCESS ? PMIx_Commit() : status;
}

bool fences_may_carry_values(std::string_view pmix_version) noexcept {
  // "OpenPMIx 5.0.1a1 (PMIx Standard: ...)"
  const auto names = [=](std::string_view release) {
    const std::size_t at = pmix_version.find(release);
    if (at == std::string_view::npos) return false;
    const std::string_view rest = pmix_version.substr(at + release.size());
    return rest.empty() || rest[0] < '0' || rest[0] > '9';
  };
  return !names(" 5.0.0") && !names(" 5.0.1");
}

std::shared_ptr<Fence> Fence::start(std::shared_ptr<const Members> members) {
  auto fence = std::make_shared<Fence>();
  fence->members_ = std::move(members);
  const bool is_whole_job = fence->members_->is_whole_job;
  PMIX_INFO_LOAD(&fence->collect_, PMIX_COLLECT_DATA, &fence->members_->fence_carries, PMIX_BOOL);
  // The callback's own share: the request lives until PMIx has answered, whoever else is gone.
  auto holder = std::make_unique<std::shared_ptr<Fence>>(fence);
  const std::vector<pmix_proc_t>& list = fence->members_->processes;
  const pmix_status_t status =
      PMIx_Fence_nb(is_whole_job ? nullptr : list.data(), is_whole_job ? 0 : list.size(),
                    &fence->collect_, 1, on_done, holder.get());
  if (status == PMIX_SUCCESS) {
    (void)holder.release();
  } else {
    fence->status_ = status == PMIX_OPERATION_SUCCEEDED ? PMIX_SUCCESS : status;
    fence->is_done_ = true;
  }
  return fence;
}

std::optional<pmix_status_t> Fence::result() const noexcept {
  return is_done_ ? std::optional(status_) : std::nullopt;
}

void Fence::on_done(pmix_status_t status, void* holder) {
  const std::unique_ptr<std::shared_ptr<Fence>> fence{static_cast<std::shared_ptr<Fence>*>(holder)};
  (*fence)->status_ = status;
  (*fence)->is_done_ = true;
}

namespace {

void copy_bytes(const pmix_value_t* value, Bytes& bytes) {
  if (value == nullptr || value->type != PMIX_BYTE_OBJECT) return;
  const auto* data = reinterpret_cast<const std::byte*>(value->data.bo.bytes);
  bytes.assign(data, data + value->data.bo.size);
}

}  // namespace

bool look(const std::string& key, const pmix_proc_t& process, Bytes& value) {
  pmix_info_t only_here{};
  const bool yes = true;
  PMIX_INFO_LOAD(&only_here, PMIX_OPTIONAL, &yes, PMIX_BOOL);
  pmix_value_t* found = nullptr;
  value.clear();
  if (PMIx_Get(&process, key.c_str(), &only_here, 1, &found) != PMIX_SUCCESS) return false;
  copy_bytes(found, value);
  PMIX_VALUE_RELEASE(found);
  return !value.empty();
}

Question::Question(std::shared_ptr<Line> line, std::string key, std::vector<Item> items,
                   Reach reach)
    : line_(std::move(line)), key_(std::move(key)), reach_(reach), items_(std::move(items)) {
  const bool is_at_once = reach == Reach::here;
  PMIX_INFO_LOAD(&how_[0], PMIX_IMMEDIATE, &is_at_once, PMIX_BOOL);
  // libpmix looks into its cache first, and what it has cached it never refreshes. But it caches
  // without a scope, so that a question with one is not answered there. (PMIX_GET_REFRESH_CACHE is
  // for this, but 5.0.1 does not support it, and 5.0.7 not for processes of the same node.)
  const pmix_scope_t scope = PMIX_REMOTE;
  PMIX_INFO_LOAD(&how_[1], PMIX_DATA_SCOPE, &scope, PMIX_SCOPE);
}

bool Question::advance() {
  Reach nobody = Reach::nowhere;
  if (!has_started_ && line_->compare_exchange_strong(nobody, reach_)) {
    has_started_ = true;
    ask_next();
  }
  return is_answered_;
}

void Question::ask_next() {
  while (next_ < items_.size()) {
    // The callback's own share: the question lives until PMIx has answered, whoever else is gone.
    auto holder = std::make_unique<std::shared_ptr<Question>>(shared_from_this());
    const pmix_status_t status = PMIx_Get_nb(&items_[next_].process, key_.c_str(), how_.data(),
                                             how_.size(), on_value, holder.get());
    if (status == PMIX_SUCCESS) {
      (void)holder.release();
      return;
    }
    ++next_;
  }
  line_->store(Reach::nowhere);
  is_answered_ = true;
}

void Question::on_value(pmix_status_t status, pmix_value_t* value, void* holder_pointer) {
  const std::unique_ptr<std::shared_ptr<Question>> holder{
      static_cast<std::shared_ptr<Question>*>(holder_pointer)};
  Question& question = **holder;
  try {
    if (status == PMIX_SUCCESS) copy_bytes(value, question.items_[question.next_].value);
    ++question.next_;
    question.ask_next();
  } catch (const std::bad_alloc&) {
    // What is left empty counts as not there yet, and is asked for again.
    question.line_->store(Reach::nowhere);
    question.is_answered_ = true;
  }
}

}  // namespace lockstep::pmix_fence
