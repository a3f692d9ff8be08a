// Convolutions in sequence, of which only a few rows are in memory.

#pragma once

#include <deque>

#include "winograd_convolution.h"

namespace torch_sr {

// Computes rows when they are asked for: a convolution first asks the one before it for the rows
// that it needs. So large images never exist at full width and height between two convolutions.
class ConvolutionChain {
 public:
  // winograd: for all convolutions; by default, for each the one with fewer products at its size.
  ConvolutionChain(const Kernels& kernels, ThreadPool& pool, const FeatureMap& in,
                   const WinogradKernels* winograd = nullptr);

  // keep_all: whether all rows of the result stay in memory. residuals: see convolve_block.
  void add(const Convolution& conv, bool keep_all, std::vector<Residual> residuals = {});

  // Computes the rows above `end` of the last convolution.
  void produce(int end) { produce(static_cast<int>(steps_.size()) - 1, end); }

  const FeatureMap& out() const { return steps_.back().out; }
  // How many rows of the last convolution can be read after a call of `produce`.
  int rows_readable() const { return steps_.back().rows_readable; }

  // Computes all rows, and returns the map.
  FeatureMap finish() {
    produce(out().height());
    return std::move(steps_.back().out);
  }

 private:
  struct Step {
    const Convolution* conv;
    const WinogradKernels* winograd;
    const FeatureMap* in;
    FeatureMap out;
    TileGrid grid;
    std::vector<Residual> residuals;
    Buffer weights;
    int rows_readable;
    int done = 0;  // strips
  };

  const WinogradKernels& winograd_for(int height, int width) const {
    return winograd_ ? *winograd_ : choose_winograd(kernels_, height, width);
  }
  void produce(int index, int end);
  void run_strip(Step& step);

  const Kernels& kernels_;
  const WinogradKernels* winograd_;
  ThreadPool& pool_;
  const FeatureMap& in_;
  std::deque<Step> steps_;  // whose addresses stay the same
  Buffer transformed_, scratch_;
};

}  // namespace torch_sr
