// A network of one hidden layer that says which symbol comes next: embeddings of the symbols before
// it, tanh, softmax. Plain kernels, and sums in a fixed order: what is the same comes out the same.
#pragma once

#include <cstdint>

#include "words.hpp"

namespace overflow {

constexpr std::uint32_t kEmbedding = 16;
constexpr std::uint32_t kInputs = kContext * kEmbedding;
constexpr unsigned kThreads = 128;  ///< of a block

/// Where the weights lie, in one array. The gradients lie alike, and behind them the loss.
struct Layout {
  std::uint32_t hidden;  ///< units

  __host__ __device__ std::uint32_t hidden_weights() const { return kSymbols * kEmbedding; }
  __host__ __device__ std::uint32_t hidden_bias() const {
    return hidden_weights() + hidden * kInputs;
  }
  __host__ __device__ std::uint32_t output_weights() const { return hidden_bias() + hidden; }
  __host__ __device__ std::uint32_t output_bias() const {
    return output_weights() + kSymbols * hidden;
  }
  __host__ __device__ std::uint32_t size() const { return output_bias() + kSymbols; }
};

/// What a step's examples leave for the sums: an array of each, one row an example. A slope is how
/// the loss changes with it.
struct Batch {
  std::uint32_t size;
  std::uint32_t* chosen;  ///< which examples
  float* input;
  float* input_slope;
  float* hidden;
  float* hidden_slope;  ///< before tanh
  float* output_slope;  ///< before softmax
  float* loss;
};

struct Data {
  const std::uint8_t* examples;
  std::uint32_t count;
  std::uint64_t seed;
};

/// A number that looks random, of the step and the place in its batch.
__device__ inline std::uint32_t choose(const Data& data, std::uint64_t step, std::uint32_t place) {
  std::uint64_t mixed = data.seed + (step << 20) + place;
  for (int i = 0; i < 3; ++i) {
    mixed = (mixed ^ mixed >> 31) * 0x9e3779b97f4a7c15u + 1;
  }
  return static_cast<std::uint32_t>((mixed >> 16) % data.count);
}

/// One example a block; floats of shared memory: shared_floats().
__global__ void run_examples(Layout layout, const float* weights, Data data, std::uint64_t step,
                             Batch batch) {
  extern __shared__ float shared[];
  float* const input = shared;
  float* const hidden = input + kInputs;
  float* const hidden_slope = hidden + layout.hidden;
  float* const output = hidden_slope + layout.hidden;
  const std::uint32_t row = blockIdx.x;
  const std::uint32_t chosen = choose(data, step, row);
  const std::uint8_t* const example = data.examples + std::uint64_t{chosen} * kExample;
  const std::uint32_t target = example[kContext];
  const float* const hidden_weights = weights + layout.hidden_weights();
  const float* const output_weights = weights + layout.output_weights();

  for (std::uint32_t i = threadIdx.x; i < kInputs; i += blockDim.x) {
    input[i] = weights[example[i / kEmbedding] * kEmbedding + i % kEmbedding];
    batch.input[row * kInputs + i] = input[i];
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < layout.hidden; i += blockDim.x) {
    float sum = weights[layout.hidden_bias() + i];
    for (std::uint32_t j = 0; j < kInputs; ++j) sum += hidden_weights[i * kInputs + j] * input[j];
    hidden[i] = tanhf(sum);
    batch.hidden[row * layout.hidden + i] = hidden[i];
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < kSymbols; i += blockDim.x) {
    float sum = weights[layout.output_bias() + i];
    for (std::uint32_t j = 0; j < layout.hidden; ++j) {
      sum += output_weights[i * layout.hidden + j] * hidden[j];
    }
    output[i] = sum;
  }
  __syncthreads();
  // Each thread by itself: there are few symbols.
  float highest = output[0];
  for (std::uint32_t i = 1; i < kSymbols; ++i) highest = fmaxf(highest, output[i]);
  float sum = 0;
  for (std::uint32_t i = 0; i < kSymbols; ++i) sum += expf(output[i] - highest);
  if (threadIdx.x == 0) {
    batch.chosen[row] = chosen;
    batch.loss[row] = logf(sum) - (output[target] - highest);
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < kSymbols; i += blockDim.x) {
    output[i] = expf(output[i] - highest) / sum - (i == target ? 1.0F : 0.0F);
    batch.output_slope[row * kSymbols + i] = output[i];
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < layout.hidden; i += blockDim.x) {
    float slope = 0;
    for (std::uint32_t j = 0; j < kSymbols; ++j) {
      slope += output[j] * output_weights[j * layout.hidden + i];
    }
    hidden_slope[i] = slope * (1 - hidden[i] * hidden[i]);
    batch.hidden_slope[row * layout.hidden + i] = hidden_slope[i];
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < kInputs; i += blockDim.x) {
    float slope = 0;
    for (std::uint32_t j = 0; j < layout.hidden; ++j) {
      slope += hidden_slope[j] * hidden_weights[j * kInputs + i];
    }
    batch.input_slope[row * kInputs + i] = slope;
  }
}

inline std::uint32_t shared_floats(const Layout& layout) {
  return kInputs + 2 * layout.hidden + kSymbols;
}

/// What one example adds to the gradient of weight `i`, or, behind the last weight, to the loss.
__device__ inline float part_of(const Layout& layout, const Batch& batch, const Data& data,
                                std::uint32_t row, std::uint32_t i) {
  const float* const hidden_slope = batch.hidden_slope + row * layout.hidden;
  const float* const output_slope = batch.output_slope + row * kSymbols;
  if (i < layout.hidden_weights()) {
    const std::uint8_t* const example = data.examples + std::uint64_t{batch.chosen[row]} * kExample;
    const float* const slope = batch.input_slope + row * kInputs;
    float sum = 0;
    for (std::uint32_t j = 0; j < kContext; ++j) {
      if (example[j] == i / kEmbedding) sum += slope[j * kEmbedding + i % kEmbedding];
    }
    return sum;
  }
  if (i < layout.hidden_bias()) {
    const std::uint32_t at = i - layout.hidden_weights();
    return hidden_slope[at / kInputs] * batch.input[row * kInputs + at % kInputs];
  }
  if (i < layout.output_weights()) return hidden_slope[i - layout.hidden_bias()];
  if (i < layout.output_bias()) {
    const std::uint32_t at = i - layout.output_weights();
    return output_slope[at / layout.hidden] *
           batch.hidden[row * layout.hidden + at % layout.hidden];
  }
  if (i < layout.size()) return output_slope[i - layout.output_bias()];
  return batch.loss[row];
}

/// A thread for each weight, and one for the loss. `scale` makes means over all ranks of the sums.
__global__ void sum_gradients(Layout layout, Batch batch, Data data, float scale,
                              float* gradients) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i > layout.size()) return;
  float sum = 0;
  for (std::uint32_t row = 0; row < batch.size; ++row) {
    sum += part_of(layout, batch, data, row, i);
  }
  gradients[i] = sum * scale;
}

}  // namespace overflow
