// The weights of a 3x3 convolution, as the kernels read them.

#pragma once

#include <vector>

#include "buffer.h"
#include "kernels/kernels.h"
#include "thread_pool.h"

namespace torch_sr {

// The parameters of a convolution, as PyTorch stores them.
struct Parameters {
  const float* weight;  // [out][in][3][3]
  const float* bias;    // [out]
  int out, in;
};

// One 3x3 convolution with zero padding. Its output may be `factor` times larger than its input:
// then it computes factor^2 phases, each of which is one pixel of every square of that side.
class Convolution {
 public:
  // segments: how many channels each feature map has that the input is concatenated of.
  Convolution(const Parameters& parameters, const std::vector<int>& segments);

  // A convolution of factor^2 * n channels, followed by nn.PixelShuffle(factor).
  static Convolution subpixel(const Parameters& parameters, int factor);

  // Nearest-neighbor interpolation by the factor, followed by a convolution. It reads each input
  // pixel several times, so that sums of its weights, applied to the small image, do the same.
  static Convolution upsampling(const Parameters& parameters, int factor);

  // Leaky ReLU or PReLU: one slope for every channel of the output.
  void set_slopes(float slope);
  void set_slopes(const float* slopes);

  int in_groups() const { return in_groups_; }
  int panels() const { return panels_; }
  int factor() const { return factor_; }
  int out_channels() const { return out_channels_; }
  int panels_per_phase() const { return panels_ / (factor_ * factor_); }

  // bias, and slopes if they are set
  Epilogue epilogue() const;

  std::size_t transformed_size(const WinogradKernels& winograd) const;
  // In the layout [position][panel][input channel][16].
  void transform(const WinogradKernels& winograd, ThreadPool& pool, float* transformed) const;

 private:
  Convolution(int out_channels, int in_groups, int factor);

  // Where the nine weights of an output channel of a phase and a padded input channel are.
  float* weights(int phase, int out, int in);

  int out_channels_, in_groups_, factor_, panels_;
  std::vector<float> weights_;        // [panel][input channel][9][16]
  std::vector<float> bias_, slopes_;  // [panel][16]
};

}  // namespace torch_sr
