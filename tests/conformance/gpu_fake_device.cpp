// Host threads for kernels: what the suite of stream barriers needs beside the fake plugin.
#include <atomic>
#include <deque>
#include <thread>

#include "gpu_device.hpp"
#include "tests/support/fake_stream.hpp"

namespace lockstep::conformance {
namespace {

using test::FakeStream;

class FakeDevice final : public GpuDevice {
 public:
  explicit FakeDevice(std::uint32_t ordinal) : ordinal_(static_cast<std::int32_t>(ordinal)) {}

  void* make_stream() override {
    FakeStream& stream = streams_.emplace_back();
    stream.ordinal = ordinal_;
    return &stream;
  }
  void raise(void* stream, std::uint32_t* raised, std::uint32_t bits) override {
    of(stream).begin([raised, bits] { std::atomic_ref(*raised).fetch_or(bits); });
  }
  void tell(void* stream, const std::uint32_t* agreed, std::uint64_t* seen) override {
    // C++20 has no atomic_ref of what is const; the word is only read.
    auto* const word = const_cast<std::uint32_t*>(agreed);
    of(stream).begin([word, seen] {
      std::atomic_ref(*seen).store(std::uint64_t{1} << 63 | std::atomic_ref(*word).load());
    });
  }
  void hold(void* stream, std::uint64_t* may_end) override {
    of(stream).begin([may_end] {
      while (std::atomic_ref(*may_end).load() == 0) std::this_thread::yield();
    });
  }
  std::uint64_t* make_word() override { return &words_.emplace_back(0); }

  void begin_capture(void* stream) override { of(stream).is_captured = true; }
  std::function<void()> end_capture(void* stream) override {
    return [on = &of(stream), graph = of(stream).end_capture()] { on->launch(graph); };
  }
  void wait(void* stream) override {
    const std::uint64_t given = of(stream).given();
    while (!of(stream).has_done(given)) std::this_thread::yield();
  }
  bool damage(std::uint32_t* /*raised*/) override { return false; }

 private:
  static FakeStream& of(void* stream) { return *static_cast<FakeStream*>(stream); }

  std::int32_t ordinal_;
  std::deque<std::uint64_t> words_;
  std::deque<FakeStream> streams_;  // the last: their work uses the words
};

}  // namespace

std::unique_ptr<GpuDevice> make_gpu_device(std::uint32_t ordinal) {
  return std::make_unique<FakeDevice>(ordinal);
}

}  // namespace lockstep::conformance
