// Dense blocks, whose feature maps are transformed once for all their readers.

#pragma once

#include <vector>

#include "winograd_convolution.h"

namespace torch_sr {

// A residual dense block (ESRGAN, figure 4): every convolution reads all maps before it.
struct DenseBlock {
  std::vector<Convolution> convolutions;
  float residual_scaling;
};

// Runs dense blocks of one shape on images of one size.
//
// Convolution k of a block works on strip s - k of the image while the first works on strip s.
// So the transformed tiles of only as many strips as there are convolutions are in memory, and the
// output may overwrite the input if there are at least two convolutions.
//
// In F(4, 3): rounding errors add up over the depth of a network, and F(6, 3), whose errors are
// four times as large, saves only products where transforms and memory take the rest of the time.
class DenseBlockRunner {
 public:
  DenseBlockRunner(const Kernels& kernels, ThreadPool& pool, const DenseBlock& shape, int channels,
                   int growth, int height, int width);

  // Whether `run` may write its output over its input.
  bool in_place() const { return length_ > 1; }

  // outer: added last, with the scale of an RRDB; may be null.
  void run(const DenseBlock& block, const FeatureMap& in, FeatureMap& out, const FeatureMap* outer);

 private:
  void run_strip(const DenseBlock& block, int k, int strip, const FeatureMap& in, FeatureMap& out,
                 const std::vector<Residual>& residuals);
  float* transformed(int strip, int block);

  const Kernels& kernels_;
  const WinogradKernels& winograd_;
  ThreadPool& pool_;
  TileGrid grid_;
  int length_;          // convolutions of a block
  BlockLayout layout_;  // of all maps of a block of tiles
  std::vector<int> first_group_;
  std::vector<FeatureMap> grown_;
  std::vector<Buffer> weights_;  // transformed, of each convolution
  Buffer transformed_, scratch_;
};

}  // namespace torch_sr
