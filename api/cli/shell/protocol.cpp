// Little-endian numbers and counted strings; reading checks every length before it is used.
#include "api/cli/shell/protocol.hpp"

#include <fmt/format.h>
#include <lockstep/lockstep.h>

#include <array>

namespace lockstep::cli::shell {
namespace {

constexpr std::uint8_t kVersion = 1;
/// The longest output, and room for the rest.
constexpr std::size_t kFrameMax = LOCKSTEP_BYTES_MAX + 65536;
constexpr std::size_t kLengthBytes = 4;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

class Writer {
 public:
  void number(std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
  }
  void text(std::string_view value) {
    number(value.size(), kLengthBytes);
    bytes_.append(value);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  std::uint64_t number(std::size_t bytes) {
    const std::string_view from = take(bytes);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
    }
    return value;
  }
  std::uint8_t below(std::uint8_t limit) {
    const auto value = static_cast<std::uint8_t>(number(1));
    if (value >= limit) throw ProtocolError("a field has a value that is not defined");
    return value;
  }
  std::string text() { return std::string(take(number(kLengthBytes))); }
  void end() const {
    if (!left_.empty()) throw ProtocolError("a message is longer than its fields");
  }

 private:
  std::string_view take(std::size_t count) {
    if (count > left_.size()) throw ProtocolError("a message is shorter than its fields");
    const std::string_view part = left_.substr(0, count);
    left_.remove_prefix(count);
    return part;
  }

  std::string_view left_;
};

// The order of the variant is the number of a kind.
void write_fields(Writer& to, const Message& message) {
  std::visit(Overloaded{[&](const Request& one) {
                          to.number(static_cast<std::uint8_t>(one.action), 1);
                          to.number(static_cast<std::uint8_t>(one.scope), 1);
                          to.number(static_cast<std::uint64_t>(one.timeout_ns), 8);
                          to.text(one.name);
                          to.text(one.path);
                        },
                        [&](const Ended& one) {
                          to.number(static_cast<std::uint32_t>(one.exit_code), 4);
                          to.text(one.failure);
                          to.text(one.output);
                        },
                        [](const Taken&) {}, [](const GoFirst&) {},
                        [&](const Say& one) { to.text(one.text); },
                        [&](const Answer& one) {
                          to.number(static_cast<std::uint32_t>(one.exit_code), 4);
                          to.text(one.text);
                          to.text(one.output);
                          to.number(one.is_ready ? 1 : 0, 1);
                          to.number(one.is_speaker ? 1 : 0, 1);
                        }},
             message);
}

Request read_request(Fields& from) {
  Request one;
  one.action = static_cast<Action>(from.below(kActions));
  one.scope = static_cast<Scope>(from.below(kScopes));
  one.timeout_ns = static_cast<std::int64_t>(from.number(8));
  one.name = from.text();
  one.path = from.text();
  if (one.timeout_ns < LOCKSTEP_FOREVER) throw ProtocolError("a timeout is negative");
  // It goes into the library as a C string.
  if (one.name.size() > kNameMax || one.name.find('\0') != std::string::npos) {
    throw ProtocolError("a name is too long or not text");
  }
  if (one.path.size() > kPathMax || one.path.find('\0') != std::string::npos) {
    throw ProtocolError("a path is too long or not text");
  }
  return one;
}

Ended read_ended(Fields& from) {
  Ended one;
  one.exit_code = static_cast<std::int32_t>(from.number(4));
  one.failure = from.text();
  one.output = from.text();
  return one;
}

Answer read_answer(Fields& from) {
  Answer one;
  one.exit_code = static_cast<std::int32_t>(from.number(4));
  one.text = from.text();
  one.output = from.text();
  one.is_ready = from.below(2) == 1;
  one.is_speaker = from.below(2) == 1;
  return one;
}

Message read_message(Fields& from, std::uint8_t kind) {
  switch (kind) {
    case 0:
      return read_request(from);
    case 1:
      return read_ended(from);
    case 2:
      return Taken{};
    case 3:
      return GoFirst{};
    case 4:
      return Say{from.text()};
    default:
      return read_answer(from);
  }
}

}  // namespace

std::string Request::text() const {
  constexpr std::array<const char*, kActions> kNames = {"barrier", "first", "once", "trigger set",
                                                        "trigger check"};
  std::string text = fmt::format("lockstep {}", kNames[static_cast<std::size_t>(action)]);
  if (!name.empty()) text += fmt::format(" '{}'", name);
  return text;
}

std::string encode(const Message& message) {
  Writer body;
  body.number(kVersion, 1);
  body.number(message.index(), 1);
  write_fields(body, message);
  Writer frame;
  frame.text(body.bytes());
  return frame.bytes();
}

std::optional<Message> Reader::next() {
  if (bytes_.size() < kLengthBytes) return std::nullopt;
  const std::size_t length = Fields(bytes_).number(kLengthBytes);
  if (length > kFrameMax) throw ProtocolError("a message is too long");
  if (bytes_.size() < kLengthBytes + length) return std::nullopt;
  const std::string frame = bytes_.substr(kLengthBytes, length);
  bytes_.erase(0, kLengthBytes + length);
  Fields fields(frame);
  if (fields.number(1) != kVersion) throw ProtocolError("it is another version of lockstep");
  const std::uint8_t kind = fields.below(std::variant_size_v<Message>);
  Message message = read_message(fields, kind);
  fields.end();
  return message;
}

}  // namespace lockstep::cli::shell
