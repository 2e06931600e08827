// Rounds between nodes by a plugin's group operation: the fallback where no frames can be sent.
//
// It cannot ask anybody anything. After a deadline it knows which ranks of its own node are missing
// and otherwise only that somebody on another node is.
#pragma once

#include <array>
#include <string_view>

#include "runtime/progress/between.hpp"
#include "runtime/progress/port.hpp"

namespace lockstep::progress {

class TeamExchange final : public Between {
 public:
  static Result<std::unique_ptr<TeamExchange>> open(Port& port, engine::Exchange::Setup setup,
                                                    const engine::LocalViewSource& local);
  ~TeamExchange() override;

  void start(Epoch epoch, const engine::Contribution& mine) override;
  engine::ExchangeState poll(Nanos now) override;
  std::uint64_t word() const override;
  std::span<const std::byte> vector() const override;
  const engine::Verdict& verdict() const override { return verdict_; }
  void expire(Epoch epoch, Nanos now) override;
  void fail(engine::Verdict verdict) override;
  void leave() override {}
  void lose(Rank, Nanos) override {}
  void receive(const engine::Frame&, Nanos) override {}

 private:
  /// What is combined: the word, the signature and its complement (OR of both has a bit set twice
  /// when two signatures differ), a broken flag, and the vector.
  struct Head {
    std::uint64_t word;
    std::uint32_t signature;
    std::uint32_t signature_complement;
    std::uint32_t is_broken;
    std::uint32_t reserved;
  };
  static constexpr std::size_t kRoom = sizeof(Head) + LOCKSTEP_VECTOR_MAX;

  TeamExchange(Port& port, engine::Exchange::Setup setup, const engine::LocalViewSource& local)
      : port_(port), setup_(std::move(setup)), local_(local) {}
  void break_now(engine::Verdict verdict);
  engine::Verdict loss(Epoch epoch, std::string_view what, lockstep_status_t status) const;
  Head head() const;

  Port& port_;
  engine::Exchange::Setup setup_;
  const engine::LocalViewSource& local_;
  void* team_ = nullptr;
  engine::ExchangeState state_ = engine::ExchangeState::idle;
  Epoch epoch_ = 0;
  std::size_t length_ = 0;
  std::array<std::byte, kRoom> buffer_{};
  engine::Verdict verdict_;
};

}  // namespace lockstep::progress
