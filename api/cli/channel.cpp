// The frame: a fixed header in host order (both ends are one program on one machine), then bytes.
#include "api/cli/channel.hpp"

#include "api/cli/command_error.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace lockstep::cli {
namespace {

struct Header {
  MessageKind kind;
  std::uint32_t rank;
  std::int32_t value;
  std::uint32_t rank_count;
  std::uint64_t id;
  std::uint64_t byte_count;
};
static_assert(sizeof(Header) == 32);

// More than any modex of this machine's ranks; a larger number means a broken stream.
constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 30;
// Per call, so that one loud node cannot starve the others.
constexpr std::size_t kReadMax = std::size_t{1} << 20;

Message decode(const Header& header, const char* body) {
  Message message{.kind = header.kind, .rank = header.rank, .value = header.value, .id = header.id};
  message.ranks.resize(header.rank_count);
  const std::size_t rank_bytes = header.rank_count * sizeof(Rank);
  if (rank_bytes > 0) std::memcpy(message.ranks.data(), body, rank_bytes);
  message.bytes.assign(body + rank_bytes, header.byte_count);
  return message;
}

}  // namespace

void Channel::send(const Message& message) {
  if (!is_open()) return;
  const Header header{.kind = message.kind,
                      .rank = message.rank,
                      .value = message.value,
                      .rank_count = static_cast<std::uint32_t>(message.ranks.size()),
                      .id = message.id,
                      .byte_count = message.bytes.size()};
  std::array<char, sizeof header> raw{};
  std::memcpy(raw.data(), &header, sizeof header);
  outgoing_.append(raw.data(), raw.size());
  for (const Rank rank : message.ranks) {
    std::array<char, sizeof rank> word{};
    std::memcpy(word.data(), &rank, sizeof rank);
    outgoing_.append(word.data(), word.size());
  }
  outgoing_ += message.bytes;
  flush();
}

void Channel::flush() {
  while (is_open() && sent_ < outgoing_.size()) {
    const ssize_t count = ::send(fd_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    // The peer is gone; what it still said must be read, so only the reading side closes.
    sent_ = count < 0 ? outgoing_.size() : sent_ + static_cast<std::size_t>(count);
  }
  outgoing_.clear();
  sent_ = 0;
}

bool Channel::read_available() {
  std::array<char, 65536> chunk;
  for (std::size_t total = 0; total < kReadMax;) {
    const ssize_t count = recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (count <= 0) return false;
    incoming_.append(chunk.data(), static_cast<std::size_t>(count));
    total += static_cast<std::size_t>(count);
  }
  return true;
}

std::vector<Message> Channel::receive() {
  std::vector<Message> messages;
  if (!is_open()) return messages;
  const bool is_alive = read_available();
  std::size_t begin = 0;
  while (incoming_.size() - begin >= sizeof(Header)) {
    Header header{};
    std::memcpy(&header, incoming_.data() + begin, sizeof header);
    if (header.byte_count > kBytesMax || header.rank_count > kRanksMax) {
      throw CommandError(1, fmt::format("a message of {} bytes for {} ranks: the channel is broken",
                                        header.byte_count, header.rank_count));
    }
    const std::size_t body = header.rank_count * sizeof(Rank) + header.byte_count;
    if (incoming_.size() - begin - sizeof header < body) break;
    messages.push_back(decode(header, incoming_.data() + begin + sizeof header));
    begin += sizeof header + body;
  }
  incoming_.erase(0, begin);
  if (!is_alive) fd_.reset();
  return messages;
}

ChannelPair make_channel_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw CommandError(1, fmt::format("no socket pair: {}", strerrordesc_np(errno)));
  }
  return {.launcher = UniqueFd(ends[0]), .server = UniqueFd(ends[1])};
}

}  // namespace lockstep::cli
