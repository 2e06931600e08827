// Abstract sockets, peer checks and descriptor passing behind share.hpp.
#include "runtime/node/share.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "runtime/base/rank_set.hpp"

namespace lockstep::node {
namespace {

constexpr std::uint64_t kHelloMagic = 0x6f6c'6c65'684b'4c00u;
constexpr std::uint32_t kHelloVersion = 2;

Status failure(const char* what) {
  return {LOCKSTEP_E_BOOTSTRAP, fmt::format("{}: {}", what, std::strerror(errno))};
}

socklen_t door_address(const DoorName& name, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  // A leading NUL makes the name abstract: no file, and gone with its last descriptor.
  std::string text = "lockstep-";
  for (const std::uint8_t byte : name) text += fmt::format("{:02x}", byte);
  std::memcpy(address.sun_path + 1, text.data(), text.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
}

bool is_same_user(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

/// Milliseconds for poll(2) until `deadline`; at least 1 while time is left.
int poll_time(Nanos deadline) {
  if (deadline == kNever) return -1;
  const Nanos left = deadline - now();
  if (left <= 0) return 0;
  return static_cast<int>(std::min<Nanos>(left / kMillisecond + 1, 60'000));
}

/// Sleeps until one of `items` is ready; false when the deadline has passed. Signals are no reason
/// to stop.
bool wait_for(std::span<pollfd> items, Nanos deadline) {
  for (;;) {
    const int ready = poll(items.data(), items.size(), poll_time(deadline));
    if (ready > 0) return true;
    if (ready == 0 && now() >= deadline) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

/// One byte with room for one descriptor beside it: what a leader sends and a member receives. Not
/// movable, since the header points into it.
struct DescriptorMessage {
  char byte = 1;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};

  DescriptorMessage() noexcept {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  DescriptorMessage(const DescriptorMessage&) = delete;
  DescriptorMessage& operator=(const DescriptorMessage&) = delete;
};

bool wait_for(int fd, short events, Nanos deadline) {
  pollfd item{.fd = fd, .events = events, .revents = 0};
  return wait_for(std::span(&item, 1), deadline);
}

}  // namespace

Hello introduce(Rank rank) {
  Hello hello{};
  hello.magic = kHelloMagic;
  hello.version = kHelloVersion;
  hello.rank = rank;
  hello.pid = static_cast<std::uint64_t>(getpid());
  hello.barrier = join_barrier();
  struct stat namespace_file {};
  if (stat("/proc/self/ns/pid", &namespace_file) == 0) hello.pid_namespace = namespace_file.st_ino;
  cpu_set_t* const set = CPU_ALLOC(kCpusMax);
  const std::size_t size = CPU_ALLOC_SIZE(kCpusMax);
  CPU_ZERO_S(size, set);
  if (sched_getaffinity(0, size, set) == 0) {
    for (std::size_t cpu = 0; cpu < kCpusMax; ++cpu) {
      if (CPU_ISSET_S(cpu, size, set)) hello.cpus[cpu / 64] |= std::uint64_t{1} << (cpu % 64);
    }
  }
  CPU_FREE(set);
  return hello;
}

Result<Door> Door::open() {
  Door door;
  if (getrandom(door.name_.data(), door.name_.size(), 0) !=
      static_cast<ssize_t>(door.name_.size())) {
    return failure("no random numbers for the node's socket");
  }
  door.listener_.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!door.listener_) return failure("cannot make the node's socket");
  sockaddr_un address;
  const socklen_t length = door_address(door.name_, address);
  if (bind(door.listener_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(door.listener_.get(), 1024) != 0) {
    return failure("cannot listen on the node's socket");
  }
  return door;
}

void Door::accept_guest() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket && is_same_user(socket.get())) guests_.push_back({std::move(socket), std::nullopt});
}

std::optional<Hello> Door::listen_to(Guest& guest, const std::vector<Rank>& expected) {
  Hello hello{};
  const ssize_t got = recv(guest.socket.get(), &hello, sizeof hello, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  const bool has_come = std::any_of(guests_.begin(), guests_.end(), [&hello](const Guest& other) {
    return other.rank == hello.rank;
  });
  const bool is_welcome = got == static_cast<ssize_t>(sizeof hello) && hello.magic == kHelloMagic &&
                          hello.version == kHelloVersion && !has_come &&
                          std::binary_search(expected.begin(), expected.end(), hello.rank);
  if (!is_welcome) {
    guest.socket.reset();
    return std::nullopt;
  }
  guest.rank = hello.rank;
  return hello;
}

Result<std::vector<Hello>> Door::receive(const std::vector<Rank>& expected, Nanos deadline) {
  std::vector<Hello> hellos;
  while (hellos.size() < expected.size()) {
    // Whoever connects and says nothing must not keep the others out: all are listened to at once.
    std::vector<pollfd> items{{.fd = listener_.get(), .events = POLLIN, .revents = 0}};
    for (const Guest& guest : guests_) {
      items.push_back({.fd = guest.rank ? -1 : guest.socket.get(), .events = POLLIN, .revents = 0});
    }
    if (!wait_for(items, deadline)) {
      RankSet missing;
      for (const Rank rank : expected) {
        const bool came = std::any_of(hellos.begin(), hellos.end(),
                                      [rank](const Hello& hello) { return hello.rank == rank; });
        if (!came) missing.append(rank);
      }
      return Status(
          LOCKSTEP_E_BOOTSTRAP,
          fmt::format("ranks {} of this node did not join in time (LOCKSTEP_JOIN_TIMEOUT)",
                      missing.text()));
    }
    for (std::size_t i = 1; i < items.size(); ++i) {
      if (items[i].revents == 0) continue;
      if (const auto hello = listen_to(guests_[i - 1], expected)) hellos.push_back(*hello);
    }
    std::erase_if(guests_, [](const Guest& guest) { return !guest.socket; });
    if (items[0].revents != 0) accept_guest();
  }
  listener_.reset();
  return hellos;
}

Status Door::hand_out(int page_fd) {
  for (const Guest& guest : guests_) {
    if (!guest.rank) continue;
    DescriptorMessage message;
    cmsghdr* const head = CMSG_FIRSTHDR(&message.header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &page_fd, sizeof(int));
    if (sendmsg(guest.socket.get(), &message.header, MSG_NOSIGNAL) != 1) {
      return failure("cannot pass the node's page to a process of this node");
    }
  }
  guests_.clear();
  return {};
}

Result<UniqueFd> knock(const DoorName& name, const Hello& hello, Nanos deadline) {
  UniqueFd door(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!door) return failure("cannot make a socket");
  sockaddr_un address;
  const socklen_t length = door_address(name, address);
  while (connect(door.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    const bool is_crowded = errno == EAGAIN || errno == EINTR;  // more guests than the queue holds
    if (is_crowded && now() < deadline) {
      poll(nullptr, 0, 10);
      continue;
    }
    return failure("cannot reach this node's leader (is its network namespace another one?)");
  }
  if (!is_same_user(door.get())) {
    return Status(LOCKSTEP_E_BOOTSTRAP, "the node's socket belongs to another user");
  }
  if (send(door.get(), &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
    return failure("cannot talk to this node's leader");
  }
  DescriptorMessage message;
  const bool is_there = wait_for(door.get(), POLLIN, deadline);
  const ssize_t received = is_there ? recvmsg(door.get(), &message.header, MSG_CMSG_CLOEXEC) : -1;
  if (!is_there) {
    return Status(LOCKSTEP_E_BOOTSTRAP,
                  "this node's leader did not share its page in time (LOCKSTEP_JOIN_TIMEOUT)");
  }
  if (received == 0) {
    return Status(LOCKSTEP_E_BOOTSTRAP, "this node's leader ended before it shared its page");
  }
  if (received < 0) return failure("no page from this node's leader");
  const cmsghdr* const head = CMSG_FIRSTHDR(&message.header);
  if (head == nullptr || head->cmsg_type != SCM_RIGHTS) {
    return Status(LOCKSTEP_E_BOOTSTRAP, "this node's leader sent no page");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(head), sizeof(int));
  return UniqueFd(fd);
}

Result<UniqueFd> make_memory(PageKind kind, std::size_t size) {
  UniqueFd memory;
  if (kind == PageKind::memfd) {
    memory.reset(memfd_create(kMemoryName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory) {
      return Status(LOCKSTEP_E_RESOURCE,
                    fmt::format("memfd_create: {}; set LOCKSTEP_PAGE=shm", std::strerror(errno)));
    }
  } else {
    DoorName random{};
    if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
      return failure("no random numbers for the page's name");
    }
    std::string name = fmt::format("/{}-", kMemoryName);
    for (const std::uint8_t byte : random) name += fmt::format("{:02x}", byte);
    memory.reset(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!memory) {
      return Status(LOCKSTEP_E_RESOURCE,
                    fmt::format("shared memory cannot be made in /dev/shm: {}; make it writable or "
                                "set LOCKSTEP_PAGE=memfd",
                                std::strerror(errno)));
    }
    shm_unlink(name.c_str());  // before first use: nobody can find it, nothing can be left
  }
  if (ftruncate(memory.get(), static_cast<off_t>(size)) != 0) {
    return Status(LOCKSTEP_E_RESOURCE,
                  fmt::format("the node's page of {} bytes: {}", size, std::strerror(errno)));
  }
  if (kind == PageKind::shm) {
    // /dev/shm has a size; without room set aside, the first write beyond it is a SIGBUS.
    int error = EINTR;
    while (error == EINTR) error = posix_fallocate(memory.get(), 0, static_cast<off_t>(size));
    if (error != 0) {
      return Status(LOCKSTEP_E_RESOURCE,
                    fmt::format("the node's page of {} bytes has no room in /dev/shm: {}; make it "
                                "larger or set LOCKSTEP_PAGE=memfd",
                                size, std::strerror(error)));
    }
  }
  if (kind == PageKind::memfd) {
    fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  }
  return memory;
}

Result<void*> map_memory(int fd, std::size_t size) {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    return Status(LOCKSTEP_E_RESOURCE, fmt::format("mapping the node's page of {} bytes: {}", size,
                                                   std::strerror(errno)));
  }
  return memory;
}

}  // namespace lockstep::node
