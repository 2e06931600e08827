// Posting, polling and dispatching frames; when the thread works and when it sleeps.
#include "runtime/progress/port.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "runtime/base/quiet_thread.hpp"
#include "runtime/observe/log.hpp"

namespace lockstep::progress {
namespace {

/// How often an idle thread looks for deadlines that local members have set.
constexpr int kIdleMs = 200;
constexpr int kSoonMs = 1;
/// How long a leader that knows a verdict stays for those who are about to hear it. A fabric
/// connects on first use, often just then, and UCX 1.13 aborts a process whose peer goes away in
/// the middle.
constexpr Nanos kParting = 200 * kMillisecond;
/// Frames that are kept for groups that may come: a few for each of some hundred nodes. What is
/// left over of groups that have gone makes room for them.
constexpr std::size_t kEarlyMax = 1024;

}  // namespace

Result<std::unique_ptr<Port>> Port::open(std::unique_ptr<plugin::Plugin> plugin,
                                         const lockstep_environment_t& environment,
                                         Counters& counters) {
  std::unique_ptr<Port> port(new Port(std::move(plugin), counters));
  const lockstep_plugin_t& table = port->plugin();
  if (!port->plugin_->is_transport()) {
    return Status(LOCKSTEP_E_TRANSPORT,
                  fmt::format("{} is no transport: it knows about GPUs only", table.name));
  }
  std::array<char, 512> why{};
  lockstep_status_t status = LOCKSTEP_OK;
  if (table.transport != nullptr) {
    status = table.transport->open(&environment, &port->self_, why.data(), why.size());
    if (status == LOCKSTEP_OK) port->transport_ = table.transport;
  } else {
    status = table.group_operation->open(&environment, &port->self_, why.data(), why.size());
    if (status == LOCKSTEP_OK) port->operation_ = table.group_operation;
  }
  if (status != LOCKSTEP_OK) {
    return Status(LOCKSTEP_E_TRANSPORT, fmt::format("{}: {}", table.name, why.data()));
  }
  port->kick_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!port->kick_) {
    return Status(LOCKSTEP_E_RESOURCE, fmt::format("eventfd: {}", std::strerror(errno)));
  }
  return port;
}

Port::~Port() {
  if (thread_.joinable()) {
    stop_.store(true);
    hand_over();
    thread_.join();
  }
  for (int turn = 0; !queue_.empty() && turn < 1000; ++turn) poll();
  const Nanos parting = std::min(stay_until_, after(now(), kParting));
  while (now() < parting) {
    poll();
    ::poll(nullptr, 0, kSoonMs);
  }
  if (transport_ != nullptr) transport_->close(self_);
  if (operation_ != nullptr) operation_->close(self_);
}

Result<std::vector<std::byte>> Port::address() {
  std::vector<std::byte> bytes(LOCKSTEP_ADDRESS_MAX);
  std::size_t length = bytes.size();
  if (transport_->address(self_, bytes.data(), &length) != LOCKSTEP_OK) {
    return Status(LOCKSTEP_E_TRANSPORT,
                  fmt::format("{} has no address of at most {} bytes; restrict it to one interface "
                              "(LOCKSTEP_INTERFACE)",
                              plugin().name, LOCKSTEP_ADDRESS_MAX));
  }
  bytes.resize(length);
  return bytes;
}

Status Port::connect(Rank rank, std::span<const std::byte> address) {
  if (transport_->connect(self_, rank, address.data(), address.size()) != LOCKSTEP_OK) {
    return {LOCKSTEP_E_TRANSPORT, fmt::format("{} cannot reach rank {}", plugin().name, rank)};
  }
  return {};
}

void Port::listen(GroupId group, Listener* listener) {
  listeners_[group] = listener;
  // The transport tells a loss once, perhaps before this listener was there.
  for (const Rank rank : lost_) listener->on_lost(rank);
  std::deque<Early> early;
  std::swap(early, early_);
  for (Early& one : early) {
    if (one.frame.group == group) {
      listener->on_frame(one.frame);
    } else {
      early_.push_back(std::move(one));
    }
  }
}

void Port::keep_early(const engine::Frame& frame) {
  if (early_.size() == kEarlyMax) {
    early_.pop_front();
    counters_.add(Counter::frames_rejected);
  }
  Early& kept = early_.emplace_back(Early{frame, {frame.payload.begin(), frame.payload.end()}});
  kept.frame.payload = kept.payload;
}

void Port::post(Rank rank, const engine::Frame& frame) {
  Queued queued;
  queued.rank = rank;
  engine::Frame stamped = frame;
  stamped.session = session_;
  note(stamped);
  queued.length = engine::encode(stamped, queued.bytes);
  counters_.add(Counter::frames_sent);
  counters_.add(Counter::bytes_sent, queued.length);
  if (!is_polling_ && queue_head_ == queue_.size()) {
    const lockstep_status_t status =
        transport_->post(self_, rank, queued.bytes.data(), queued.length);
    if (status != LOCKSTEP_AGAIN) return;  // lost peers are reported by poll
  }
  queue_.push_back(queued);
}

void Port::note(const engine::Frame& frame) {
  if (frame.type == engine::FrameType::broken) stay_until_ = now() + kParting;
}

void Port::flush() {
  for (; queue_head_ < queue_.size(); ++queue_head_) {
    const Queued& first = queue_[queue_head_];
    if (transport_->post(self_, first.rank, first.bytes.data(), first.length) == LOCKSTEP_AGAIN) {
      return;
    }
  }
  queue_.clear();
  queue_head_ = 0;
}

void Port::poll() {
  if (transport_ == nullptr) return;
  const lockstep_inbox_t inbox{.context = this, .deliver = &Port::deliver, .lost = &Port::lost};
  is_polling_ = true;
  transport_->poll(self_, &inbox);
  is_polling_ = false;
  flush();
}

void Port::deliver(void* context, const void* frame, std::size_t length) {
  auto& port = *static_cast<Port*>(context);
  const auto decoded = engine::decode({static_cast<const std::byte*>(frame), length});
  if (!decoded || decoded->session != port.session_) {
    port.counters_.add(Counter::frames_rejected);
    return;
  }
  port.counters_.add(Counter::frames_received);
  port.note(*decoded);
  const auto found = port.listeners_.find(decoded->group);
  if (found == port.listeners_.end()) {
    port.keep_early(*decoded);
    return;
  }
  found->second->on_frame(*decoded);
}

void Port::lost(void* context, std::uint32_t peer) {
  auto& port = *static_cast<Port*>(context);
  log::debug("{}: rank {} cannot be reached any more", port.plugin().name, peer);
  port.lost_.push_back(peer);
  for (const auto& [group, listener] : port.listeners_) listener->on_lost(peer);
}

void Port::hand_over() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(kick_.get(), &one, sizeof one);
}

void Port::start_thread() {
  thread_ = quiet_thread([this] { run(); });
}

bool Port::idle_turn(bool& can_sleep) {
  std::lock_guard lock(mutex_);
  poll();
  bool soon = !queue_.empty();
  const Nanos time = now();
  for (const auto& [group, listener] : listeners_) soon = listener->on_idle(time) || soon;
  can_sleep = transport_ != nullptr && transport_->wake_fd(self_) >= 0 &&
              transport_->arm(self_) == LOCKSTEP_OK;
  return soon;
}

void Port::run() {
  std::uint64_t visits = visits_.load(std::memory_order_relaxed);
  while (!stop_.load()) {
    const std::uint64_t seen = visits_.load(std::memory_order_relaxed);
    const bool is_busy = active_.load(std::memory_order_acquire) != 0 || seen != visits;
    visits = seen;
    std::array<pollfd, 2> items{};
    items[0] = {.fd = kick_.get(), .events = POLLIN, .revents = 0};
    nfds_t count = 1;
    int limit = stand_back_ms_.load(std::memory_order_relaxed);
    if (!is_busy) {
      bool can_sleep = false;
      const bool soon = idle_turn(can_sleep);
      limit = soon || (transport_ != nullptr && !can_sleep) ? kSoonMs : kIdleMs;
      if (can_sleep) {
        items[1] = {.fd = transport_->wake_fd(self_), .events = POLLIN, .revents = 0};
        count = 2;
      }
    }
    ::poll(items.data(), count, limit);
    std::uint64_t kicks = 0;
    if ((items[0].revents & POLLIN) != 0 && read(kick_.get(), &kicks, sizeof kicks) > 0) {
      visits = visits_.load(std::memory_order_relaxed);  // a caller asked: do not stand back
    }
  }
}

}  // namespace lockstep::progress
