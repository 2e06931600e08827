// Counting, smoothing, making up, and the file of the n-gram model.
#include "model.hpp"

#include "files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace ngram {
namespace {

constexpr std::string_view kKind = "LSNGRAM1";

// Bytes that no word has. A word of order 3, "at", is seen as: <<a <at at>, where < is kBegin.
constexpr Gram kAny = 1;  // in the last place: whatever follows, that is, the sum of all that do
constexpr Gram kBegin = 2;
constexpr Gram kEnd = 3;

constexpr std::size_t kWordMax = 30;  // made-up words end here if not before
constexpr double kPrior = 4;          // how many sightings the shorter context's opinion is worth

constexpr Gram suffix(Gram gram, std::uint32_t letters) {
  return letters >= 8 ? gram : gram & ((Gram{1} << (8 * letters)) - 1);
}
constexpr Gram with_last(Gram gram, Gram last) {
  return (gram & ~Gram{0xff}) | last;
}
constexpr Gram letter(char c) {
  return static_cast<unsigned char>(c);
}

/// What stands before a word's first letter, with room for that letter.
Gram beginning(std::uint32_t order) {
  Gram gram = 0;
  for (std::uint32_t i = 0; i < order; ++i) gram = gram << 8 | kBegin;
  return gram;
}

/// Calls `f` with the n-gram of each letter of the word and of its end.
template <class F>
void for_each_gram(std::string_view word, std::uint32_t order, F&& f) {
  Gram gram = beginning(order);
  for (const char c : word) f(gram = suffix(gram << 8 | letter(c), order));
  f(suffix(gram << 8 | kEnd, order));
}

}  // namespace

void Model::learn(std::string_view word) {
  for_each_gram(word, order_, [this](Gram gram) { add(gram, 1); });
}

void Model::merge(const Model& other) {
  for (const auto& [gram, count] : other.counts_) {
    if (other.is_longest(gram)) add(gram, count);
  }
}

/// Shorter n-grams and sums follow from the longest ones, so this is the only way to count.
void Model::add(Gram gram, std::uint64_t count) {
  for (std::uint32_t letters = order_; letters > 0; --letters) {
    const Gram shorter = suffix(gram, letters);
    std::uint64_t& known = counts_[shorter];
    if (letters == order_ && known == 0) ++longest_;
    known += count;
    counts_[with_last(shorter, kAny)] += count;
  }
}

std::uint64_t Model::count(Gram gram) const {
  const auto found = counts_.find(gram);
  return found != counts_.end() ? found->second : 0;
}

bool Model::is_longest(Gram gram) const {
  return gram >> (8 * (order_ - 1)) != 0 && (gram & 0xff) != kAny;
}

std::uint64_t Model::words() const {
  return count(kEnd);
}

/// Each context corrects the opinion of the next shorter one, the more the oftener it was seen;
/// without any context all 256 bytes are equally likely. (MacKay and Peto's smoothing.)
double Model::probability(Gram gram) const {
  double probability = 1.0 / 256;
  for (std::uint32_t letters = 1; letters <= order_; ++letters) {
    const Gram longer = suffix(gram, letters);
    const auto seen = static_cast<double>(count(with_last(longer, kAny)));
    probability = (static_cast<double>(count(longer)) + kPrior * probability) / (seen + kPrior);
  }
  return probability;
}

double Model::log2_probability(std::string_view word, std::uint64_t& letters) const {
  double sum = 0;
  for_each_gram(word, order_, [&](Gram gram) { sum += std::log2(probability(gram)); });
  letters += word.size() + 1;
  return sum;
}

std::string Model::make_up_word(Random& random) const {
  std::string word;
  Gram context = suffix(beginning(order_) << 8, order_);
  while (word.size() < kWordMax) {
    const std::uint64_t seen = count(context | kAny);
    if (seen == 0) break;
    std::uint64_t pick = random.below(seen);
    Gram next = kEnd;
    for (Gram candidate = kEnd; candidate < 256; ++candidate) {
      const std::uint64_t here = count(context | candidate);
      if (pick < here) {
        next = candidate;
        break;
      }
      pick -= here;
    }
    if (next == kEnd) break;
    word += static_cast<char>(next);
    context = suffix((context | next) << 8, order_);
  }
  return word;
}

std::string Model::bytes() const {
  std::vector<std::pair<Gram, std::uint64_t>> longest;
  longest.reserve(longest_);
  for (const auto& entry : counts_) {
    if (is_longest(entry.first)) longest.push_back(entry);
  }
  std::sort(longest.begin(), longest.end());
  std::string payload;
  payload.reserve(8 + longest.size() * 16);
  put_u64(payload, order_);
  for (const auto& [gram, count] : longest) {
    put_u64(payload, gram);
    put_u64(payload, count);
  }
  return seal(kKind, payload);
}

Model Model::load(const std::filesystem::path& path) {
  return from_bytes(MappedFile(path).bytes(), path);
}

Model Model::from_bytes(std::string_view bytes, const std::filesystem::path& path) {
  const std::string_view payload = unseal(bytes, kKind, path);
  const std::uint64_t order = payload.size() % 16 == 8 ? get_u64(payload, 0) : 0;
  if (order < 1 || order > 8) {
    throw std::runtime_error(fmt::format("{} is not a model of this program", path.string()));
  }
  Model model(static_cast<std::uint32_t>(order));
  for (std::size_t at = 8; at < payload.size(); at += 16) {
    model.add(get_u64(payload, at), get_u64(payload, at + 8));
  }
  return model;
}

double perplexity(const Model& model, std::span<const std::string_view> words) {
  double log2_sum = 0;
  std::uint64_t letters = 0;
  for (const std::string_view word : words) log2_sum += model.log2_probability(word, letters);
  return std::exp2(-log2_sum / static_cast<double>(letters));
}

}  // namespace ngram
