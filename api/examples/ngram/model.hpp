// The n-gram model: how often which letters follow each other in words.
#pragma once

#include "random.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ngram {

/// Up to eight letters in one number, the last in the lowest byte. No letter is 0, so the number
/// also says how many there are.
using Gram = std::uint64_t;

/// Counts of all n-grams up to `order` letters. Counts are integers and adding them has no order:
/// however the words are shared out among ranks, the sum is the same to the last bit.
class Model {
 public:
  explicit Model(std::uint32_t order) : order_(order) {}

  void learn(std::string_view word);
  void merge(const Model& other);

  /// Joint log2 probability of the word's letters and its end; adds their number to `letters`.
  double log2_probability(std::string_view word, std::uint64_t& letters) const;
  /// A word as the model would have it.
  std::string make_up_word(Random& random) const;

  /// The file's bytes: n-grams in ascending order, so equal models are equal files.
  [[nodiscard]] std::string bytes() const;
  static Model load(const std::filesystem::path& path);
  /// From bytes(); `path` is where they were found.
  static Model from_bytes(std::string_view bytes, const std::filesystem::path& path);

  [[nodiscard]] std::uint32_t order() const { return order_; }
  [[nodiscard]] std::uint64_t size() const { return longest_; }  ///< n-grams of full length
  [[nodiscard]] std::uint64_t words() const;

 private:
  void add(Gram gram, std::uint64_t count);
  [[nodiscard]] std::uint64_t count(Gram gram) const;
  [[nodiscard]] double probability(Gram gram) const;
  [[nodiscard]] bool is_longest(Gram gram) const;

  std::uint32_t order_;
  std::uint64_t longest_ = 0;
  std::unordered_map<Gram, std::uint64_t> counts_;
};

/// Perplexity per letter: among how many equally likely letters the model hesitates, on average.
/// 1 is certainty; lower is better.
double perplexity(const Model& model, std::span<const std::string_view> words);

}  // namespace ngram
