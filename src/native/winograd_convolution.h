// A 3x3 convolution of blocks of tiles in the Winograd domain.

#pragma once

#include "convolution.h"
#include "feature_map.h"
#include "tiles.h"

namespace torch_sr {

// The layout of a block of transformed tiles, or of products: [position][group][tile][16].
struct BlockLayout {
  std::size_t group = 0, position = 0;

  BlockLayout() = default;
  // One cache line more, so that positions do not compete for the same lines of the L1 cache.
  BlockLayout(int groups, int tiles)
      : group(std::size_t(tiles) * kGroup), position(group * groups + kGroup) {}

  std::size_t size(const WinogradKernels& winograd) const {
    return position * winograd.inputs * winograd.inputs;
  }
};

// What is added to a result: a map of the same size, whose pixel is at the same offset.
struct Residual {
  const FeatureMap* map;
  float scale;  // of the result before the addition
};

// Which of F(4, 3) and F(6, 3) needs fewer products for an image of this size.
const WinogradKernels& choose_winograd(const Kernels& kernels, int height, int width);

// What one thread needs to convolve a block.
std::size_t scratch_size(const Kernels& kernels);

void transform_block(const WinogradKernels& winograd, const TileBlock& block, const FeatureMap& map,
                     const BlockLayout& layout, float* transformed);

// transformed: all groups of the input. weights: from Convolution::transform. scratch: at least
// scratch_size floats.
void convolve_block(const Kernels& kernels, const WinogradKernels& winograd,
                    const Convolution& conv, const float* weights, const TileBlock& block,
                    const BlockLayout& layout, const float* transformed,
                    const std::vector<Residual>& residuals, FeatureMap& out, float* scratch);

}  // namespace torch_sr
