#include "dense_block.h"

namespace torch_sr {

DenseBlockRunner::DenseBlockRunner(const Kernels& kernels, ThreadPool& pool,
                                   const DenseBlock& shape, int channels, int growth, int height,
                                   int width)
    : kernels_(kernels),
      winograd_(kernels.f4),
      pool_(pool),
      grid_(winograd_, height, width, pool.size()),
      length_(static_cast<int>(shape.convolutions.size())) {
  // The rows of a strip, one of the strip above it, and the strip below it, which is done already.
  const int slots = 2 * grid_.strip_height() + 1;
  first_group_ = {0};
  int groups = groups_of(channels);
  for (int k = 0; k + 1 < length_; ++k) {
    grown_.emplace_back(growth, height, width, slots);
    first_group_.push_back(groups);
    groups += groups_of(growth);
  }
  for (const Convolution& conv : shape.convolutions)
    weights_.emplace_back(conv.transformed_size(winograd_));
  layout_ = BlockLayout(groups, grid_.block_tiles);
  transformed_ = Buffer(layout_.size(winograd_) * grid_.max_blocks() * length_);
  scratch_ = Buffer(scratch_size(kernels_) * pool.size());
}

float* DenseBlockRunner::transformed(int strip, int block) {
  return transformed_.data() +
         layout_.size(winograd_) * (std::size_t(strip % length_) * grid_.max_blocks() + block);
}

void DenseBlockRunner::run(const DenseBlock& block, const FeatureMap& in, FeatureMap& out,
                           const FeatureMap* outer) {
  for (int k = 0; k < length_; ++k)
    block.convolutions[k].transform(winograd_, pool_, weights_[k].data());
  std::vector<Residual> residuals{{&in, block.residual_scaling}};
  if (outer) residuals.push_back({outer, block.residual_scaling});
  for (int step = 0; step < grid_.strips() + length_ - 1; ++step)
    for (int k = 0; k < length_; ++k)
      if (const int strip = step - k; strip >= 0 && strip < grid_.strips())
        run_strip(block, k, strip, in, out, residuals);
}

void DenseBlockRunner::run_strip(const DenseBlock& block, int k, int strip, const FeatureMap& in,
                                 FeatureMap& out, const std::vector<Residual>& residuals) {
  const bool last = k + 1 == length_;
  const FeatureMap& newest = k == 0 ? in : grown_[k - 1];
  pool_.run(grid_.blocks(strip), [&](int item, int thread) {
    const TileBlock tiles(grid_, strip, item);
    float* maps = transformed(strip, item);
    transform_block(winograd_, tiles, newest, layout_, maps + first_group_[k] * layout_.group);
    convolve_block(kernels_, winograd_, block.convolutions[k], weights_[k].data(), tiles, layout_,
                   maps, last ? residuals : std::vector<Residual>{}, last ? out : grown_[k],
                   scratch_.data() + thread * scratch_size(kernels_));
  });
}

}  // namespace torch_sr
