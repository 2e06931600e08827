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

std::shared_ptr<Fence> Fence::start(std::shared_ptr<const Members> members) {
  auto fence = std::make_shared<Fence>();
  fence->members_ = std::move(members);
  const bool is_whole_job = fence->members_->is_whole_job;
  PMIX_INFO_LOAD(&fence->collect_, PMIX_COLLECT_DATA, &is_whole_job, PMIX_BOOL);
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

struct Question::Holder {
  std::shared_ptr<Question> question;
  Item* item;
};

std::shared_ptr<Question> Question::start(std::string key, std::vector<Item> items,
                                          bool may_fetch) {
  auto question = std::make_shared<Question>();
  question->key_ = std::move(key);
  question->items_ = std::move(items);
  question->pending_ = question->items_.size();
  const bool is_at_once = !may_fetch;
  PMIX_INFO_LOAD(&question->at_once_, PMIX_IMMEDIATE, &is_at_once, PMIX_BOOL);
  for (Item& item : question->items_) {
    auto holder = std::make_unique<Holder>(Holder{question, &item});
    const pmix_status_t status = PMIx_Get_nb(&item.process, question->key_.c_str(),
                                             &question->at_once_, 1, on_value, holder.get());
    if (status == PMIX_SUCCESS) {
      (void)holder.release();
    } else {
      --question->pending_;
    }
  }
  return question;
}

void Question::on_value(pmix_status_t status, pmix_value_t* value, void* holder_pointer) {
  const std::unique_ptr<Holder> holder{static_cast<Holder*>(holder_pointer)};
  try {
    if (status == PMIX_SUCCESS) copy_bytes(value, holder->item->value);
  } catch (const std::bad_alloc&) {
    // Left empty: it counts as not there yet, and is asked for again.
  }
  --holder->question->pending_;
}

}  // namespace lockstep::pmix_fence
