// The first and the last convolution, whose images have few channels.

#pragma once

#include <functional>

#include "convolution.h"
#include "feature_map.h"

namespace torch_sr {

// Convolves an image of few channels: its 3x3 neighborhoods are one matrix product.
class FirstConvolution {
 public:
  explicit FirstConvolution(const Parameters& parameters);
  void set_slopes(const float* slopes);

  // image: [in][height][width].
  void run(const Kernels& kernels, ThreadPool& pool, const float* image, FeatureMap& out) const;

 private:
  int in_, out_;
  std::vector<float> weights_;  // [panel][tap * in + channel, padded][16]
  std::vector<float> bias_, slopes_;
};

// Convolves to an image of at most 16 channels. One matrix product gives what each pixel adds to
// its nine neighbors; the sums over neighbors follow.
class LastConvolution {
 public:
  explicit LastConvolution(const Parameters& parameters);

  // Calls `produce` for the rows above an end, at most `rows` more than before, and reads each row
  // of the map once. image: [out][height][width].
  void run(const Kernels& kernels, ThreadPool& pool, const FeatureMap& in, int rows,
           const std::function<void(int end)>& produce, float* image) const;

 private:
  void multiply_row(const Kernels& kernels, const FeatureMap& in, int y, FeatureMap& parts) const;
  void sum_row(const FeatureMap& parts, int y, float* image) const;

  int in_groups_, out_, taps_per_panel_, panels_;
  std::vector<float> weights_;  // [panel][in][16]
  std::vector<float> bias_;
};

}  // namespace torch_sr
