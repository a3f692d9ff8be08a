// SRVGGNetCompact, the small network of Real-ESRGAN (Wang et al. 2021).

#include <stdexcept>

#include "networks.h"

namespace torch_sr {

namespace {

class CompactNet : public Network {
 public:
  CompactNet(int scale_factor, const std::vector<Parameters>& parameters,
             const std::vector<const float*>& slopes)
      : Network(parameters.front().in, parameters.back().out / (scale_factor * scale_factor),
                scale_factor),
        channels_(parameters.front().out),
        first_(parameters.front()) {
    first_.set_slopes(slopes.front());
    for (std::size_t i = 1; i < parameters.size(); ++i) {
      convolutions_.emplace_back(parameters[i], std::vector<int>{channels_});
      if (i < slopes.size()) convolutions_.back().set_slopes(slopes[i]);
    }
  }

  void run(const Kernels& kernels, ThreadPool& pool, const float* image, int height, int width,
           float* out) const override {
    FeatureMap map(channels_, height, width);
    first_.run(kernels, pool, image, map);
    // As in dense blocks, rounding errors add up over the depth.
    ConvolutionChain chain(kernels, pool, map, &kernels.f4);
    for (const Convolution& conv : convolutions_) chain.add(conv, false);
    for (int begin = 0; begin < height; begin += chain.rows_readable()) {
      const int end = std::min(height, begin + chain.rows_readable());
      chain.produce(end);
      pool.run(end - begin, [&](int i, int) { shuffle_row(chain.out(), begin + i, image, out); });
    }
  }

 private:
  // Unfolds channels into squares of pixels, and adds the nearest pixel of the input.
  void shuffle_row(const FeatureMap& map, int y, const float* image, float* out) const {
    const int width = map.width(), squares = scale_factor * scale_factor;
    const std::size_t plane = std::size_t(map.height()) * width;
    for (int c = 0; c < out_channels; ++c) {
      const float* source = image + c * plane + std::size_t(y) * width;
      for (int dy = 0; dy < scale_factor; ++dy) {
        float* target =
            out + c * plane * squares + (std::size_t(y) * scale_factor + dy) * width * scale_factor;
        for (int dx = 0; dx < scale_factor; ++dx) {
          const int channel = c * squares + dy * scale_factor + dx;
          const float* values =
              map.at(y) + channel / kGroup * map.group_stride() + channel % kGroup;
          for (int x = 0; x < width; ++x)
            target[x * scale_factor + dx] = values[std::size_t(x) * kGroup] + source[x];
        }
      }
    }
  }

  int channels_;
  FirstConvolution first_;
  std::vector<Convolution> convolutions_;
};

}  // namespace

std::unique_ptr<Network> make_compact_net(int scale_factor,
                                          const std::vector<Parameters>& parameters,
                                          const std::vector<const float*>& slopes) {
  if (scale_factor < 1 || parameters.size() < 2 || slopes.size() + 1 != parameters.size())
    throw std::invalid_argument("there must be slopes for each convolution but the last");
  const int width = parameters.front().out, in_channels = parameters.front().in;
  std::vector<Shape> expected(parameters.size(), {width, width});
  expected.front().in = in_channels;
  expected.back().out = in_channels * scale_factor * scale_factor;
  check_shapes(parameters, expected);
  return std::make_unique<CompactNet>(scale_factor, parameters, slopes);
}

}  // namespace torch_sr
