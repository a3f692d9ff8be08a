// The networks: RRDBNet and SRVGGNetCompact.

#pragma once

#include <memory>
#include <optional>

#include "convolution_chain.h"
#include "dense_block.h"
#include "outer_convolutions.h"

namespace torch_sr {

class Network {
 public:
  Network(int in_channels, int out_channels, int scale_factor)
      : in_channels(in_channels), out_channels(out_channels), scale_factor(scale_factor) {}
  virtual ~Network() = default;

  // image: [in][height][width]; out: [out][height * scale][width * scale].
  virtual void run(const Kernels& kernels, ThreadPool& pool, const float* image, int height,
                   int width, float* out) const = 0;

  const int in_channels, out_channels, scale_factor;
};

// The hyper-parameters of an RRDBNet, named as in torch_sr.networks.rrdb.
struct RRDBConfig {
  int rrdb_channels, growth_channels;
  int num_basic_blocks, num_dense_blocks, num_residual_blocks;
  float residual_scaling;
  bool use_subpixel_conv;
  std::vector<int> upscaling_steps;
};

// The two functions below take parameters in the order of the forward pass, and throw
// std::invalid_argument if their number or their shapes are not those of the network.
std::unique_ptr<Network> make_rrdb_net(const RRDBConfig& config,
                                       const std::vector<Parameters>& parameters);

// slopes: of PReLU, for each convolution but the last.
std::unique_ptr<Network> make_compact_net(int scale_factor,
                                          const std::vector<Parameters>& parameters,
                                          const std::vector<const float*>& slopes);

// The channels that a convolution reads and writes.
struct Shape {
  int out, in;
};
void check_shapes(const std::vector<Parameters>& parameters, const std::vector<Shape>& expected);

}  // namespace torch_sr
