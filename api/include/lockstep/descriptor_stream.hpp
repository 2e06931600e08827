// A descriptor as a stream: what writers of the C++ interface get. Part of lockstep/lockstep.hpp.
#pragma once

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <ostream>
#include <streambuf>

namespace lockstep::detail {

/// Writes through to a descriptor; what lockstep_save's writer gets, as a stream.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(int descriptor) : descriptor_(descriptor) {
    setp(room_.data(), room_.data() + room_.size());
  }

 protected:
  int_type overflow(int_type c) override {
    if (sync() != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
    return traits_type::not_eof(c);
  }
  int sync() override {
    const char* at = pbase();
    while (at < pptr()) {
      const ssize_t written = ::write(descriptor_, at, static_cast<std::size_t>(pptr() - at));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return -1;
      at += written;
    }
    setp(room_.data(), room_.data() + room_.size());
    return 0;
  }

 private:
  int descriptor_;
  std::array<char, 1 << 16> room_;
};

/// Lets `writer` write to the descriptor as to a stream; keeps what it throws.
template <class F>
int write_through(int descriptor, F& writer, std::exception_ptr& failure) noexcept {
  try {
    DescriptorBuffer buffer(descriptor);
    std::ostream stream(&buffer);
    writer(stream);
    stream.flush();
    return stream.good() ? 0 : 1;
  } catch (...) {
    failure = std::current_exception();
    return 1;
  }
}

}  // namespace lockstep::detail
