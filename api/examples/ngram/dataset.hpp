// The words to learn from: prepared once from any text, then read by all ranks from a cache file.
#pragma once

#include "files.hpp"
#include "options.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ngram {

/// Read-only view of a cache file. The words are in random order, so that shares of neighbours are
/// alike; a twentieth of them is held out to see how well the others are learnt.
class Dataset {
 public:
  /// Throws if the file is not there or not whole.
  explicit Dataset(const std::filesystem::path& path);

  [[nodiscard]] std::uint64_t words() const { return words_; }  ///< to learn from
  [[nodiscard]] std::uint64_t held_out_words() const { return held_out_words_; }
  [[nodiscard]] std::string_view word(std::uint64_t index) const;
  [[nodiscard]] std::string_view held_out(std::uint64_t index) const {
    return word(words_ + index);
  }
  [[nodiscard]] std::vector<std::string_view> all_held_out() const;
  [[nodiscard]] std::string_view file_bytes() const { return file_.bytes(); }

 private:
  MappedFile file_;
  std::string_view payload_;
  std::uint64_t words_ = 0;
  std::uint64_t held_out_words_ = 0;
  std::size_t letters_at_ = 0;  ///< in the payload
};

/// The bytes of the cache file of a text: its words in lower case, in the order that `seed` gives.
std::string prepare_dataset(const Options& options);

/// Throws if the file is not there or not whole.
inline void check_dataset(const std::filesystem::path& path) {
  const Dataset dataset(path);
}

/// The cache file's name: another one for another text, a changed text, or another seed.
std::string dataset_name(const std::filesystem::path& text_file, std::uint64_t seed);

}  // namespace ngram
