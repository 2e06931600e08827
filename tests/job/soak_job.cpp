// Many operations of every kind in an order that all ranks derive from one seed, each checked.
// usage: soak_job OPERATIONS [SEED]
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>

#include "lockstep/lockstep.hpp"

namespace {

using lockstep::Session;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

std::string bytes_for(std::uint64_t seed, std::size_t length) {
  std::mt19937_64 random(seed);
  std::string text(length, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class Soak {
 public:
  Soak(Session& session, std::uint64_t seed) : session_(session), random_(seed) {}

  void one(std::uint64_t i) {
    switch (random_() % 8) {
      case 0:
        session_.wait_for_everyone({.name = "soak"});
        break;
      case 1:
        session_.local().wait_for_everyone({.name = "soak"});
        break;
      case 2:
        trigger(i);
        break;
      case 3:
        first();
        break;
      case 4:
        broadcast();
        break;
      case 5:
        split_phase();
        break;
      case 6:
        session_.local_main_process_first([&] { ++sections_; });
        break;
      default:
        failing_first();
        break;
    }
  }

  std::uint64_t fired() const { return fired_; }

 private:
  void trigger(std::uint64_t i) {
    const std::uint64_t draw = random_();
    const bool is_set = draw % 3 == 0;
    if (is_set && (draw >> 8) % session_.size() == session_.rank()) session_.set_trigger();
    require(session_.check_trigger({.name = "soak"}) == is_set,
            "operation " + std::to_string(i) + ": the trigger is not what was set");
    fired_ += is_set ? 1 : 0;
  }

  void first() {
    const std::uint64_t count = sections_;
    session_.main_process_first([&] { session_.local_main_process_first([&] { ++sections_; }); });
    require(sections_ == count + 1, "a section did not run once");
  }

  void failing_first() {
    try {
      session_.main_process_first([&] { throw std::runtime_error("on purpose"); });
      throw std::logic_error("a failure was lost");
    } catch (const std::runtime_error& error) {
      require(std::string(error.what()).find("on purpose") != std::string::npos, error.what());
    }
  }

  void broadcast() {
    const std::uint64_t seed = random_();
    const std::size_t length = random_() % (random_() % 16 == 0 ? 5000 : 100);
    const auto root = static_cast<std::uint32_t>(random_() % session_.size());
    const std::string expected = bytes_for(seed, length);
    const std::string got =
        session_.job().broadcast(session_.rank() == root ? expected : std::string(), root);
    require(got == expected, "broadcast changed the bytes");
  }

  void split_phase() {
    auto arrival = session_.job().arrive({.name = "soak split phase"});
    if (random_() % 2 == 0) {
      arrival.wait();
    } else {
      while (!arrival.test()) {
      }
    }
  }

  Session& session_;
  std::mt19937_64 random_;
  std::uint64_t sections_ = 0;
  std::uint64_t fired_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  try {
    Session session;
    Soak soak(session, seed);
    for (std::uint64_t i = 0; i < operations; ++i) soak.one(i);
    session.print(std::to_string(operations) + " operations of seed " + std::to_string(seed) +
                      ", " + std::to_string(soak.fired()) + " triggers fired",
                  lockstep::Scope::job);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "soak_job: seed %llu: %s\n", static_cast<unsigned long long>(seed),
                 error.what());
    return 1;
  }
}
