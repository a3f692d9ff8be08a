// RRDBNet, the generator of ESRGAN (Wang et al. 2018).

#include <stdexcept>

#include "networks.h"

namespace torch_sr {

namespace {

constexpr float kSlope = 0.2f;  // of the leaky ReLU

// Dense blocks of a network whose rounding errors leave room for those of F(6, 3).
constexpr int kFewBlocks = 16;

int enlargement(const RRDBConfig& config) {
  int product = 1;
  for (const int factor : config.upscaling_steps) product *= factor;
  return product;
}

std::vector<Shape> shapes(const RRDBConfig& c, int in_channels, int out_channels) {
  const int width = c.rrdb_channels, growth = c.growth_channels;
  std::vector<Shape> found{{width, in_channels}};
  for (int i = 0; i < c.num_basic_blocks * c.num_dense_blocks; ++i)
    for (int k = 0; k < c.num_residual_blocks; ++k)
      found.push_back({k + 1 < c.num_residual_blocks ? growth : width, width + k * growth});
  found.push_back({width, width});
  for (const int factor : c.upscaling_steps)
    found.push_back({c.use_subpixel_conv ? width * factor * factor : width, width});
  found.push_back({width, width});
  found.push_back({out_channels, width});
  return found;
}

class RRDBNet : public Network {
 public:
  RRDBNet(const RRDBConfig& config, const std::vector<Parameters>& parameters)
      : Network(parameters.front().in, parameters.back().out, enlargement(config)),
        config_(config),
        first_(parameters.front()),
        last_(parameters.back()) {
    auto next = parameters.begin() + 1;
    for (int i = 0; i < config.num_basic_blocks * config.num_dense_blocks; ++i) {
      blocks_.push_back(dense_block(next));
      next += config.num_residual_blocks;
    }
    body_.emplace(*next++, std::vector<int>{config.rrdb_channels});
    for (const int factor : config.upscaling_steps) {
      upscaling_.push_back(config.use_subpixel_conv ? Convolution::subpixel(*next, factor)
                                                    : Convolution::upsampling(*next, factor));
      upscaling_.back().set_slopes(kSlope);
      ++next;
    }
    hr_.emplace(*next, std::vector<int>{config.rrdb_channels});
    hr_->set_slopes(kSlope);
  }

  void run(const Kernels& kernels, ThreadPool& pool, const float* image, int height, int width,
           float* out) const override {
    const FeatureMap features = extract(kernels, pool, image, height, width);
    ConvolutionChain chain(kernels, pool, features, winograd(kernels));
    for (const Convolution& conv : upscaling_) chain.add(conv, false);
    chain.add(*hr_, false);
    last_.run(
        kernels, pool, chain.out(), chain.rows_readable(), [&](int end) { chain.produce(end); },
        out);
  }

 private:
  // For the convolutions around the dense blocks; null for a choice by size.
  const WinogradKernels* winograd(const Kernels& kernels) const {
    return blocks_.size() > kFewBlocks ? &kernels.f4 : nullptr;
  }

  DenseBlock dense_block(std::vector<Parameters>::const_iterator parameters) const {
    DenseBlock block{{}, config_.residual_scaling};
    std::vector<int> segments{config_.rrdb_channels};
    for (int k = 0; k < config_.num_residual_blocks; ++k) {
      block.convolutions.emplace_back(parameters[k], segments);
      if (k + 1 < config_.num_residual_blocks) block.convolutions.back().set_slopes(kSlope);
      segments.push_back(config_.growth_channels);
    }
    return block;
  }

  FeatureMap extract(const Kernels& kernels, ThreadPool& pool, const float* image, int height,
                     int width) const {
    const auto new_map = [&] { return FeatureMap(config_.rrdb_channels, height, width); };
    FeatureMap shallow = new_map();
    first_.run(kernels, pool, image, shallow);
    FeatureMap trunk = shallow.copy();
    run_trunk(kernels, pool, trunk);
    ConvolutionChain chain(kernels, pool, trunk, winograd(kernels));
    chain.add(*body_, true, {{&shallow, 1.f}});
    return chain.finish();
  }

  // Replaces the input of the RRDBs with their output.
  void run_trunk(const Kernels& kernels, ThreadPool& pool, FeatureMap& map) const {
    DenseBlockRunner runner(kernels, pool, blocks_.front(), config_.rrdb_channels,
                            config_.growth_channels, map.height(), map.width());
    FeatureMap inner = map.empty_copy();  // between two dense blocks of one RRDB
    FeatureMap spare = runner.in_place() ? FeatureMap() : map.empty_copy();
    const int length = config_.num_dense_blocks;
    for (std::size_t i = 0; i < blocks_.size(); i += length) {
      for (int d = 0; d < length; ++d) {
        const FeatureMap& in = d == 0 ? map : inner;
        const bool last = d + 1 == length;
        FeatureMap& target = last ? map : inner;
        const bool overwrites = &in == &target;
        FeatureMap& out = overwrites && !runner.in_place() ? spare : target;
        runner.run(blocks_[i + d], in, out, last ? &map : nullptr);
        if (&out == &spare) std::swap(spare, target);
      }
    }
  }

  RRDBConfig config_;
  FirstConvolution first_;
  std::vector<DenseBlock> blocks_;
  std::optional<Convolution> body_, hr_;
  std::vector<Convolution> upscaling_;
  LastConvolution last_;
};

}  // namespace

std::unique_ptr<Network> make_rrdb_net(const RRDBConfig& config,
                                       const std::vector<Parameters>& parameters) {
  if (parameters.empty()) throw std::invalid_argument("the network has no parameters");
  const int in_channels = parameters.front().in, out_channels = parameters.back().out;
  if (out_channels > kGroup)
    throw std::invalid_argument("the network has more than 16 channels of output");
  check_shapes(parameters, shapes(config, in_channels, out_channels));
  return std::make_unique<RRDBNet>(config, parameters);
}

}  // namespace torch_sr
