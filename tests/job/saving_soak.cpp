// Saves to one file under SIGKILL at random moments: after each kill it is the last one that was
// acknowledged, or the one after it, whole; and the next save leaves nothing else in the folder.
// usage: saving_soak SAVES SECONDS   ends with either; SECONDS 0: no limit
//        saving_soak once unnamed|named FILE TEXT   one save, for strace
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "runtime/saving/digest.hpp"
#include "runtime/saving/replace_file.hpp"

namespace {

namespace fs = std::filesystem;
using lockstep::Replacement;

struct Shared {
  std::atomic<std::uint64_t> begun;
  std::atomic<std::uint64_t> acknowledged;
};

/// Version and hash in the first line, so that a file vouches for itself.
std::string content(std::uint64_t version) {
  std::mt19937_64 random(version);
  std::string body(random() % 200'000, '\0');
  for (std::size_t i = 0; i < body.size(); i += 8) body[i] = static_cast<char>(random());
  const auto digest = lockstep::saving::digest_of(body);
  return std::to_string(version) + ' ' + std::to_string(body.size()) + ' ' +
         lockstep::saving::hex(digest) + '\n' + body;
}

[[noreturn]] void save_until_killed(const std::string& path, Replacement::Kind kind,
                                    Shared& shared) {
  for (std::uint64_t version = shared.acknowledged.load() + 1;; ++version) {
    const std::string text = content(version);
    shared.begun.fetch_add(1);
    Replacement file(path, kind);
    lockstep::Status status = file.open();
    if (status.ok() && !lockstep::write_all(file.descriptor(), text)) std::_Exit(2);
    if (status.ok()) status = file.commit();
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.text().c_str());
      std::_Exit(3);
    }
    shared.acknowledged.store(version);
  }
}

/// Dies within a few saves, at a moment that nobody chose.
bool kill_one(const std::string& path, Replacement::Kind kind, Shared& shared,
              std::mt19937_64& random) {
  const pid_t child = fork();
  if (child == 0) save_until_killed(path, kind, shared);
  const std::uint64_t before = shared.begun.load();
  const std::uint64_t wait_for = before + random() % 3;
  int status = 0;
  while (shared.begun.load() <= wait_for) {
    if (waitpid(child, &status, WNOHANG) == child) return false;  // it has failed by itself
    usleep(20);
  }
  usleep(static_cast<useconds_t>(random() % 600));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

bool is_whole(const std::string& path, Shared& shared) {
  std::ifstream in(path);
  const std::string found{std::istreambuf_iterator<char>(in), {}};
  const std::uint64_t version = found.empty() ? 0 : std::stoull(found);
  const std::uint64_t acknowledged = shared.acknowledged.load();
  const bool is_known = version == acknowledged || version == acknowledged + 1;
  if (!is_known || (version > 0 && found != content(version))) {
    std::fprintf(stderr, "%s: version %llu, acknowledged %llu, %zu bytes: not whole\n",
                 path.c_str(), static_cast<unsigned long long>(version),
                 static_cast<unsigned long long>(acknowledged), found.size());
    return false;
  }
  shared.acknowledged.store(version);
  return true;
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

bool soak(const fs::path& folder, Replacement::Kind kind, std::uint64_t saves, int seconds) {
  fs::create_directory(folder);
  auto* const shared =
      new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
          Shared{};
  const std::string path = folder / "model";
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::size_t kills = 0;
  std::size_t leftovers = 0;
  while (shared->begun.load() < saves && (seconds == 0 || std::chrono::steady_clock::now() < end)) {
    if (!kill_one(path, kind, *shared, random) || !is_whole(path, *shared)) return false;
    ++kills;
    const std::size_t files = files_in(folder);
    if (files > (fs::exists(path) ? 2u : 1u)) {
      std::fprintf(stderr, "%zu files: a save has not removed what the last one left\n", files);
      return false;
    }
    leftovers += files - (fs::exists(path) ? 1 : 0);
  }
  Replacement last(path, kind);
  if (!last.open().ok() || !last.commit().ok() || files_in(folder) != 1) {
    std::fprintf(stderr, "the last save has left something\n");
    return false;
  }
  std::printf(
      "%s: %llu saves begun, %llu acknowledged, %zu kills, %zu of them left a temporary "
      "file until the next save\n",
      folder.filename().c_str(), static_cast<unsigned long long>(shared->begun.load()),
      static_cast<unsigned long long>(shared->acknowledged.load()), kills, leftovers);
  return true;
}

/// Seen by strace: what comes between two of these is the save.
void mark() {
  [[maybe_unused]] const int nothing = access("/lockstep-test-mark", F_OK);
}

int once(const std::string& kind, const std::string& path, const std::string& text) {
  using Kind = Replacement::Kind;
  mark();
  Replacement file(path, kind == "named" ? Kind::named : Kind::unnamed_if_possible);
  lockstep::Status status = file.open();
  if (status.ok() && !lockstep::write_all(file.descriptor(), text)) return EXIT_FAILURE;
  if (status.ok()) status = file.commit();
  mark();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.text().c_str());
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5) return once(argv[2], argv[3], argv[4]);
  if (argc != 3) return EXIT_FAILURE;
  std::string pattern = (fs::temp_directory_path() / "lockstep-soak-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return EXIT_FAILURE;
  const std::uint64_t saves = std::stoull(argv[1]);
  const int seconds = std::stoi(argv[2]);
  const fs::path folder = pattern;
  bool is_fine = soak(folder / "unnamed", Replacement::Kind::unnamed_if_possible, saves, seconds);
  is_fine = soak(folder / "named", Replacement::Kind::named, saves, seconds) && is_fine;
  fs::remove_all(folder);
  return is_fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
