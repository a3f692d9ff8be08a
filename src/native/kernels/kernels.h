// What an instruction set provides: the inner loops of convolutions.
//
// Everything is laid out in groups of 16 channels, which are one cache line of 64 bytes:
//
//   feature map     [group][row][column][16]
//   transformed     [group][position][tile][16]   position: of 36 or 64 in the Winograd domain
//   weights         [position][panel][input channel][16]   panel: 16 output channels
//   products        [panel][position][tile][16]
//
// All strides are in floats. The functions of a table use the heap for nothing and share no
// inline function with other translation units, so that no instruction of one set can reach a
// processor without it.

#pragma once

#include <cstddef>

namespace torch_sr {

constexpr int kGroup = 16;
constexpr int kMaxInputs = 8;   // rows of the input of the largest Winograd tile
constexpr int kMaxOutputs = 6;  // rows of its output
constexpr int kMaxResiduals = 2;

// Where a tile is read from: offsets of its rows and columns in one group of a feature map.
struct InputTile {
  std::size_t rows[kMaxInputs];
  std::size_t columns[kMaxInputs];
};

// y = activation(y + bias), then y = scales[i] * y + residuals[i] for each residual.
struct Epilogue {
  const float* bias = nullptr;    // [panel][16]
  const float* slopes = nullptr;  // of negative values, [panel][16]; null for no activation
  int residuals = 0;
  float scales[kMaxResiduals] = {};
};

// Where a tile is written to, in one group of a feature map.
struct OutputTile {
  float* data;
  const float* residuals[kMaxResiduals];  // same offsets as data
  std::size_t rows[kMaxOutputs];
  std::size_t column_step;
  int height, width;  // what lies inside the image
};

struct WinogradKernels {
  int inputs, outputs;  // rows of a tile

  // One tile of all groups of a feature map.
  void (*transform_input)(const float* map, std::size_t map_group, int groups,
                          const InputTile& tile, float* transformed, std::size_t group,
                          std::size_t position);
  // One tile of one panel.
  void (*transform_output)(const float* products, std::size_t position, const Epilogue& epilogue,
                           int panel, const OutputTile& tile);
  // The 3x3 weights [9][16] of one input channel and one panel.
  void (*transform_weights)(const float* weights, float* transformed, std::size_t position);
};

// products[panel][tile] = sum over channels of transformed[tile][channel] * weights[channel],
// of one position.
struct Product {
  const float* transformed;
  std::size_t group;  // distance of groups of channels
  int groups;
  const float* weights;
  float* products;
  std::size_t panel;  // distance of panels of products
  int panels, tiles;
  // Where the values of the next product are, relative to these; they are fetched meanwhile.
  std::size_t next_transformed = 0, next_weights = 0;
};

struct Kernels {
  const char* name;
  WinogradKernels f4, f6;
  void (*multiply)(const Product& product);
  // The epilogue for `count` adjacent pixels of one panel, in place.
  void (*finish)(float* pixels, int count, const Epilogue& epilogue, int panel);
};

}  // namespace torch_sr
