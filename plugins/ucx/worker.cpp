// Drives one UCX worker: frames leave and arrive as eager active messages, without a handshake.
#include "plugins/ucx/worker.hpp"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace lockstep::ucx {
namespace {

// What fits into one cache-line-sized send travels as a header: UCX's shortest path.
constexpr std::size_t kHeaderMax = 256;

// Turns of the worker in one poll() that brought nothing to hand over: connection set-up comes in
// bursts, but poll() has to stay short.
constexpr int kTurnsMax = 8;

// An address with a network device in it is longer than this in every version of UCX.
constexpr std::size_t kEmptyAddressMax = 32;

// Closing: for frames on their way, which UCX over TCP waits to be acknowledged, and for the rest.
constexpr std::chrono::milliseconds kFlushTime{900};
constexpr std::chrono::milliseconds kAbandonTime{100};

// A UCX address is unpacked without any check, and a wrong byte there ends the process. So ours has
// a guard in front, and no byte reaches UCX before the guard agrees.
struct Guard {
  std::uint32_t magic;
  std::uint32_t checksum;
};
constexpr std::uint32_t kMagic = 0x7863754c;  // "Lucx"

std::uint32_t fnv1a(std::span<const std::byte> bytes) noexcept {
  std::uint32_t hash = 2166136261u;
  for (const std::byte byte : bytes) {
    hash = (hash ^ std::to_integer<std::uint32_t>(byte)) * 16777619u;
  }
  return hash;
}

Guard guard_of(std::span<const std::byte> address) noexcept {
  return {kMagic, fnv1a(address)};
}

/// Does `line` stand in the configuration? What the user has set is left as it is.
bool is_default(const ucp_config_t* config, std::string_view line) {
  char* text = nullptr;
  std::size_t length = 0;
  std::FILE* const stream = open_memstream(&text, &length);
  if (stream == nullptr) return false;
  ucp_config_print(config, stream, nullptr, UCS_CONFIG_PRINT_CONFIG);
  std::fclose(stream);
  const std::string printed = '\n' + std::string(text, length);
  std::free(text);
  return printed.find('\n' + std::string(line) + '\n') != std::string::npos;
}

}  // namespace

Worker::Worker(const lockstep_environment_t& environment)
    : log_(environment.log), log_context_(environment.context) {}

// Frames still queued leave if their peer is there; a dead peer costs the time limits at most.
Worker::~Worker() {
  if (!worker_) return;
  for (auto& [rank, peer] : peers_) peer->start_flush();
  settle(Clock::now() + kFlushTime);
  for (auto& [rank, peer] : peers_) peer->start_abandon();
  settle(Clock::now() + kAbandonTime);
  if (rejected_ != 0) {
    log(LOCKSTEP_LOG_WARN, "ucx: %llu messages that are no frames were dropped",
        static_cast<unsigned long long>(rejected_));
  }
}

lockstep_status_t Worker::open(const lockstep_environment_t& environment, std::string& reason) {
  bool wants_wake_up = true;
  ucs_status_t status = open_context(environment, UCP_FEATURE_AM | UCP_FEATURE_WAKEUP);
  if (status == UCS_OK) status = open_worker(wants_wake_up);
  if (status != UCS_OK) {
    // Some fabrics cannot wake a sleeper; polling them is better than not using them.
    wants_wake_up = false;
    worker_.reset();
    context_.reset();
    status = open_context(environment, UCP_FEATURE_AM);
    if (status == UCS_OK) status = open_worker(wants_wake_up);
  }
  if (status == UCS_OK) status = read_address();
  if (status == UCS_OK) status = check_network();
  if (status != UCS_OK) {
    reason =
        std::string("UCX finds no network it can use: ") + ucs_status_string(status) +
        "; compare `ucx_info -d` with UCX_TLS and " +
        (environment.interface[0] == '\0' ? std::string("UCX_NET_DEVICES")
                                          : std::string("the interface ") + environment.interface);
    return LOCKSTEP_E_UNSUPPORTED;
  }
  if (address_.size() > LOCKSTEP_ADDRESS_MAX) {
    reason = "the UCX address takes " + std::to_string(address_.size()) + " bytes, at most " +
             std::to_string(LOCKSTEP_ADDRESS_MAX) + " fit; name fewer devices in UCX_NET_DEVICES";
    return LOCKSTEP_E_LIMIT;
  }
  return LOCKSTEP_OK;
}

ucs_status_t Worker::open_context(const lockstep_environment_t& environment,
                                  std::uint64_t features) {
  ucp_config_t* config = nullptr;
  ucs_status_t status = ucp_config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) return status;
  if (environment.interface[0] != '\0') {
    status = ucp_config_modify(config, "NET_DEVICES", environment.interface);
  }
  // Addresses are of networks only. Shared memory would carry nothing, and make files in /dev/shm
  // that a SIGKILL at the wrong moment leaves behind.
  if (status == UCS_OK && is_default(config, "UCX_TLS=all")) {
    status = ucp_config_modify(config, "TLS", "^posix,sysv");
  }
  if (status == UCS_OK) {
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS |
                        UCP_PARAM_FIELD_ESTIMATED_NUM_PPN;
    params.features = features;
    // Partners, not ranks: UCX chooses its transports by this number.
    params.estimated_num_eps = std::max<std::size_t>(environment.peers, 1);
    params.estimated_num_ppn = 1;
    ucp_context_h context = nullptr;
    status = ucp_init(&params, config, &context);
    if (status == UCS_OK) context_.reset(context);
  }
  ucp_config_release(config);
  return status;
}

ucs_status_t Worker::open_worker(bool wants_wake_up) {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucp_worker_h worker = nullptr;
  ucs_status_t status = ucp_worker_create(context_.get(), &params, &worker);
  if (status != UCS_OK) return status;
  worker_.reset(worker);

  ucp_am_handler_param_t handler{};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                       UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  handler.id = kMessageId;
  handler.flags = UCP_AM_FLAG_WHOLE_MSG;
  handler.cb = on_frame;
  handler.arg = this;
  status = ucp_worker_set_am_recv_handler(worker, &handler);
  wake_fd_ = -1;
  if (status == UCS_OK && wants_wake_up) status = ucp_worker_get_efd(worker, &wake_fd_);
  return status;
}

ucs_status_t Worker::read_address() {
  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_ADDRESS | UCP_WORKER_ATTR_FIELD_ADDRESS_FLAGS |
                          UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  attributes.address_flags = UCP_WORKER_ADDRESS_FLAG_NET_ONLY;
  const ucs_status_t status = ucp_worker_query(worker_.get(), &attributes);
  if (status != UCS_OK) return status;
  header_max_ = std::min(attributes.max_am_header, kHeaderMax);

  const auto* bytes = reinterpret_cast<const std::byte*>(attributes.address);
  const std::span<const std::byte> address{bytes, attributes.address_length};
  const Guard guard = guard_of(address);
  address_.resize(sizeof guard + address.size());
  std::memcpy(address_.data(), &guard, sizeof guard);
  std::copy(address.begin(), address.end(), address_.begin() + sizeof guard);
  ucp_worker_release_address(worker_.get(), attributes.address);
  return UCS_OK;
}

// A wrong interface name is only a warning to UCX, and leaves an address that leads nowhere.
ucs_status_t Worker::check_network() noexcept {
  const std::span<const std::byte> bare = std::span(address_).subspan(sizeof(Guard));
  if (bare.size() > kEmptyAddressMax) return UCS_OK;
  bool ignored = false;
  Endpoint to_myself(ignored, header_max_);
  const ucs_status_t status =
      to_myself.open(worker_.get(), reinterpret_cast<const ucp_address_t*>(bare.data()));
  if (status != UCS_OK) return status;
  to_myself.start_abandon();
  const Clock::time_point deadline = Clock::now() + kAbandonTime;
  while (!to_myself.is_settled() && Clock::now() < deadline) ucp_worker_progress(worker_.get());
  return UCS_OK;
}

lockstep_status_t Worker::connect(std::uint32_t peer, std::span<const std::byte> address) {
  if (const auto known = peers_.find(peer); known != peers_.end()) {
    return known->second->is_lost() ? LOCKSTEP_E_PEER : LOCKSTEP_OK;
  }
  Guard guard{};
  if (address.size() <= sizeof guard || address.size() > LOCKSTEP_ADDRESS_MAX) {
    return LOCKSTEP_E_PEER;
  }
  std::memcpy(&guard, address.data(), sizeof guard);
  // A copy also gives UCX the alignment that the caller's bytes may not have.
  const std::vector<std::byte> bare(address.begin() + sizeof guard, address.end());
  const Guard expected = guard_of(bare);
  if (guard.magic != expected.magic || guard.checksum != expected.checksum) {
    log(LOCKSTEP_LOG_ERROR, "ucx: the address of rank %u is damaged or of another plugin", peer);
    return LOCKSTEP_E_PEER;
  }
  auto endpoint = std::make_unique<Endpoint>(has_loss_, header_max_);
  const ucs_status_t status =
      endpoint->open(worker_.get(), reinterpret_cast<const ucp_address_t*>(bare.data()));
  if (status != UCS_OK) {
    // UCX does not tell whether there is no way or nobody there (any more). Who has left before we
    // came may have said why, in a frame that is here already: no reason to fail before it is read.
    log(LOCKSTEP_LOG_WARN, "ucx: rank %u cannot be reached: %s", peer, ucs_status_string(status));
    endpoint->lose();
  }
  peers_.emplace(peer, std::move(endpoint));
  return LOCKSTEP_OK;
}

lockstep_status_t Worker::post(std::uint32_t peer, std::span<const std::byte> frame) noexcept {
  const auto known = peers_.find(peer);
  return known == peers_.end() ? LOCKSTEP_E_PEER : known->second->post(frame);
}

std::size_t Worker::poll(const lockstep_inbox_t& inbox) noexcept {
  inbox_ = &inbox;
  handed_over_ = 0;
  int turns = 0;
  while (ucp_worker_progress(worker_.get()) != 0 && handed_over_ == 0 && ++turns < kTurnsMax) {
  }
  if (has_loss_) report_losses(inbox);
  inbox_ = nullptr;
  return handed_over_;
}

// No progress here: frames may be handed over in poll() only. ucp_worker_arm() by itself says BUSY
// or leaves the descriptor readable when something came in since the last poll().
lockstep_status_t Worker::arm() noexcept {
  if (wake_fd_ < 0 || has_loss_) return LOCKSTEP_AGAIN;
  return ucp_worker_arm(worker_.get()) == UCS_OK ? LOCKSTEP_OK : LOCKSTEP_AGAIN;
}

ucs_status_t Worker::on_frame(void* argument, const void* header, std::size_t header_length,
                              void* data, std::size_t length, const ucp_am_recv_param_t* param) {
  Worker& self = *static_cast<Worker*>(argument);
  // What arrives while closing has nobody to go to.
  if (self.inbox_ == nullptr) return UCS_OK;
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0) {
    self.reject("a rendezvous");
  } else if ((header_length == 0) == (length == 0)) {
    self.reject("a message with both parts or with none");
  } else if (header_length + length > LOCKSTEP_FRAME_MAX) {
    self.reject("a message that is too long");
  } else {
    const void* frame = length == 0 ? header : data;
    self.inbox_->deliver(self.inbox_->context, frame, header_length + length);
    ++self.handed_over_;
  }
  return UCS_OK;
}

// Rare, and the number of peers is logarithmic: a walk is simpler than a list kept by callbacks.
void Worker::report_losses(const lockstep_inbox_t& inbox) noexcept {
  has_loss_ = false;
  for (auto& [rank, peer] : peers_) {
    if (!peer->take_loss()) continue;
    inbox.lost(inbox.context, rank);
    ++handed_over_;
  }
}

// Anyone who reaches the port can send anything, so only the first one is worth a line.
void Worker::reject(const char* why) noexcept {
  if (rejected_++ == 0) log(LOCKSTEP_LOG_WARN, "ucx: dropped %s; further ones are counted", why);
}

void Worker::settle(Clock::time_point deadline) noexcept {
  const auto is_settled = [](auto& entry) { return entry.second->is_settled(); };
  for (;;) {
    const bool has_moved = ucp_worker_progress(worker_.get()) != 0;
    if (std::all_of(peers_.begin(), peers_.end(), is_settled)) return;
    if (Clock::now() >= deadline) return;
    if (!has_moved) wait_a_little();
  }
}

// A spinning close would take the core from the very peer it waits for.
void Worker::wait_a_little() noexcept {
  constexpr int kWaitMs = 10;
  pollfd descriptor{wake_fd_, POLLIN, 0};
  if (wake_fd_ < 0) {
    sched_yield();
  } else if (ucp_worker_arm(worker_.get()) == UCS_OK) {
    ::poll(&descriptor, 1, kWaitMs);
  }
}

void Worker::log(int level, const char* format, ...) const noexcept {
  if (log_ == nullptr) return;
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  log_(log_context_, level, text);
}

}  // namespace lockstep::ucx
