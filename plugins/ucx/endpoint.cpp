// Queues frames on one UCX endpoint, in slots that live until UCX is done with them.
#include "plugins/ucx/endpoint.hpp"

#include <algorithm>
#include <bit>

namespace lockstep::ucx {

Endpoint::Endpoint(bool& has_loss, std::size_t header_max) noexcept
    : has_loss_(has_loss), header_max_(header_max) {
  for (Slot& slot : slots_) slot.owner = this;
}

ucs_status_t Endpoint::open(ucp_worker_h worker, const ucp_address_t* address) noexcept {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = address;
  // PEER leaves out shared memory in UCX 1.13. Inside a node lockstep has its own page anyway.
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = on_error;
  params.err_handler.arg = this;
  return ucp_ep_create(worker, &params, &handle_);
}

lockstep_status_t Endpoint::post(std::span<const std::byte> frame) noexcept {
  if (is_lost()) return LOCKSTEP_E_PEER;
  if (free_ == 0) return LOCKSTEP_AGAIN;
  has_sent_ = true;
  const auto index = static_cast<std::size_t>(std::countr_zero(free_));
  Slot& slot = slots_[index];
  std::copy(frame.begin(), frame.end(), slot.bytes.begin());

  ucp_request_param_t params{};
  params.op_attr_mask =
      UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.flags = UCP_AM_SEND_FLAG_EAGER;  // a control message must never wait for a handshake
  params.cb.send = on_sent;
  params.user_data = &slot;

  // Taken before UCX sees it, so that no order of callback and return can free it too early.
  const std::uint32_t bit = std::uint32_t{1} << index;
  free_ &= ~bit;
  const bool fits_header = frame.size() <= header_max_;
  const ucs_status_ptr_t request = fits_header
                                       ? ucp_am_send_nbx(handle_, kMessageId, slot.bytes.data(),
                                                         frame.size(), nullptr, 0, &params)
                                       : ucp_am_send_nbx(handle_, kMessageId, nullptr, 0,
                                                         slot.bytes.data(), frame.size(), &params);
  if (UCS_PTR_IS_PTR(request)) return LOCKSTEP_OK;
  free_ |= bit;
  if (request == nullptr) return LOCKSTEP_OK;
  const ucs_status_t status = UCS_PTR_STATUS(request);
  if (status == UCS_ERR_NO_MEMORY || status == UCS_ERR_NO_RESOURCE) return LOCKSTEP_AGAIN;
  lose();
  return LOCKSTEP_E_PEER;
}

bool Endpoint::take_loss() noexcept {
  if (state_ != State::lost) return false;
  state_ = State::lost_and_reported;
  return true;
}

// UCX connects an endpoint when it is first used, and flushing is a use: peers that never exchanged
// a frame would begin to connect while both are leaving, and UCX 1.13 aborts a process that leaves
// in the middle of that.
void Endpoint::start_flush() noexcept {
  if (handle_ == nullptr || is_lost() || !has_sent_) return;
  ucp_request_param_t params{};
  closing_[0] = ucp_ep_flush_nbx(handle_, &params);
}

void Endpoint::start_abandon() noexcept {
  if (handle_ == nullptr) return;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  params.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucp_ep_h handle = handle_;
  handle_ = nullptr;
  closing_[1] = ucp_ep_close_nbx(handle, &params);
}

bool Endpoint::is_settled() noexcept {
  for (ucs_status_ptr_t& request : closing_) {
    if (!UCS_PTR_IS_PTR(request)) continue;
    if (ucp_request_check_status(request) == UCS_INPROGRESS) return false;
    ucp_request_free(request);
    request = nullptr;
  }
  return true;
}

void Endpoint::on_error(void* argument, ucp_ep_h, ucs_status_t) {
  static_cast<Endpoint*>(argument)->lose();
}

void Endpoint::on_sent(void* request, ucs_status_t status, void* argument) {
  Slot& slot = *static_cast<Slot*>(argument);
  Endpoint& owner = *slot.owner;
  owner.free_ |= std::uint32_t{1} << static_cast<std::size_t>(&slot - owner.slots_.data());
  ucp_request_free(request);
  // A frame that did not leave is a broken promise of post(): the peer counts as lost. Frames that
  // start_abandon() cancels are no news.
  if (status != UCS_OK && owner.handle_ != nullptr) owner.lose();
}

void Endpoint::lose() noexcept {
  if (is_lost()) return;
  state_ = State::lost;
  has_loss_ = true;
}

}  // namespace lockstep::ucx
