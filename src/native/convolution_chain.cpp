#include "convolution_chain.h"

namespace torch_sr {

ConvolutionChain::ConvolutionChain(const Kernels& kernels, ThreadPool& pool, const FeatureMap& in,
                                   const WinogradKernels* winograd)
    : kernels_(kernels),
      winograd_(winograd),
      pool_(pool),
      in_(in),
      scratch_(scratch_size(kernels) * pool.size()) {}

void ConvolutionChain::add(const Convolution& conv, bool keep_all,
                           std::vector<Residual> residuals) {
  const FeatureMap& in = steps_.empty() ? in_ : steps_.back().out;
  const WinogradKernels& winograd = winograd_for(in.height(), in.width());
  const TileGrid grid(winograd, in.height(), in.width(), pool_.size());
  const int height = in.height() * conv.factor(), width = in.width() * conv.factor();
  const int readable =
      TileGrid(winograd_for(height, width), height, width, pool_.size()).strip_height();
  // A reader needs one row more on both sides, and rows are computed by whole strips.
  const int slots = readable + 2 + grid.strip_height() * conv.factor();
  steps_.push_back({&conv, &winograd, &in,
                    FeatureMap(conv.out_channels(), height, width, keep_all ? 0 : slots), grid,
                    std::move(residuals), Buffer(conv.transformed_size(winograd)), readable});
  conv.transform(winograd, pool_, steps_.back().weights.data());
}

void ConvolutionChain::produce(int index, int end) {
  Step& step = steps_[index];
  const int factor = step.conv->factor(), height = step.grid.height;
  while (std::min(height, step.done * step.grid.strip_height()) * factor < end &&
         step.done < step.grid.strips()) {
    if (index > 0) produce(index - 1, std::min(height, step.grid.end_row(step.done) + 1));
    run_strip(step);
    ++step.done;
  }
}

void ConvolutionChain::run_strip(Step& step) {
  const BlockLayout layout(step.in->groups(), step.grid.block_tiles);
  const std::size_t size = layout.size(*step.winograd);
  if (transformed_.size() < size * pool_.size()) transformed_ = Buffer(size * pool_.size());
  pool_.run(step.grid.blocks(step.done), [&](int item, int thread) {
    const TileBlock tiles(step.grid, step.done, item);
    float* transformed = transformed_.data() + thread * size;
    transform_block(*step.winograd, tiles, *step.in, layout, transformed);
    convolve_block(kernels_, *step.winograd, *step.conv, step.weights.data(), tiles, layout,
                   transformed, step.residuals, step.out,
                   scratch_.data() + thread * scratch_size(kernels_));
  });
}

}  // namespace torch_sr
