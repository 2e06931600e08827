// Layout of the payload: words, held-out words, one offset per word and one more, the letters.
#include "dataset.hpp"

#include "random.hpp"

#include <sys/stat.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ngram {
namespace {

constexpr std::string_view kKind = "LSWORDS1";
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kLettersMax = 64;  // Longer ones are no words of any language.
constexpr std::size_t kHeldOutShare = 20;

bool is_letter(char c) {
  // Bytes from 0x80 on are parts of UTF-8 letters; a model of bytes learns them as they are.
  return (c >= 'a' && c <= 'z') || c == '\'' || static_cast<unsigned char>(c) >= 0x80;
}

std::vector<std::string> split_into_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty() && word.size() <= kLettersMax) words.push_back(word);
    word.clear();
  };
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (is_letter(c)) {
      word += c;
    } else {
      finish();
    }
  }
  finish();
  return words;
}

}  // namespace

Dataset::Dataset(const std::filesystem::path& path) : file_(path) {
  payload_ = unseal(file_.bytes(), kKind, path);
  words_ = get_u64(payload_, 0);
  held_out_words_ = get_u64(payload_, 8);
  letters_at_ = kHeaderBytes + (words_ + held_out_words_ + 1) * 8;
}

std::string_view Dataset::word(std::uint64_t index) const {
  const std::uint64_t begin = get_u64(payload_, kHeaderBytes + index * 8);
  const std::uint64_t end = get_u64(payload_, kHeaderBytes + (index + 1) * 8);
  return payload_.substr(letters_at_ + begin, end - begin);
}

std::vector<std::string_view> Dataset::all_held_out() const {
  std::vector<std::string_view> words;
  words.reserve(held_out_words_);
  for (std::uint64_t i = 0; i < held_out_words_; ++i) words.push_back(held_out(i));
  return words;
}

std::string prepare_dataset(const Options& options) {
  std::vector<std::string> words = split_into_words(MappedFile(options.data).bytes());
  if (words.size() < 2) {
    throw std::runtime_error(
        fmt::format("{} has too few words ({}): one to learn and one to hold out are needed",
                    options.data.string(), words.size()));
  }
  // Own random numbers, because std::shuffle may give another order with another library.
  Random random(options.seed);
  for (std::size_t i = words.size() - 1; i > 0; --i)
    std::swap(words[i], words[random.below(i + 1)]);

  const std::uint64_t held_out = (words.size() + kHeldOutShare - 1) / kHeldOutShare;
  std::string payload;
  put_u64(payload, words.size() - held_out);
  put_u64(payload, held_out);
  std::uint64_t offset = 0;
  put_u64(payload, offset);
  for (const std::string& word : words) put_u64(payload, offset += word.size());
  for (const std::string& word : words) payload += word;
  return seal(kKind, payload);
}

std::string dataset_name(const std::filesystem::path& text_file, std::uint64_t seed) {
  struct stat status {};
  if (stat(text_file.c_str(), &status) != 0) {
    throw std::runtime_error(
        fmt::format("cannot read the data file {}: {}; --data FILE names "
                    "another, the package wamerican has a word list",
                    text_file.string(), std::strerror(errno)));
  }
  std::string key(kKind);
  key += std::filesystem::absolute(text_file).string();
  for (const auto part : {static_cast<std::uint64_t>(status.st_size),
                          static_cast<std::uint64_t>(status.st_mtim.tv_sec),
                          static_cast<std::uint64_t>(status.st_mtim.tv_nsec), seed}) {
    put_u64(key, part);
  }
  return fmt::format("dataset-{:016x}", fnv1a(key));
}

}  // namespace ngram
