#include "winograd_convolution.h"

namespace torch_sr {

namespace {

constexpr int kChunk = 4;  // panels whose products are in memory at a time

// The offsets of one tile's pixels in a feature map.
InputTile input_tile(const WinogradKernels& winograd, const FeatureMap& map, int y, int x) {
  InputTile tile;
  for (int i = 0; i < winograd.inputs; ++i) {
    tile.rows[i] = map.row(y + i - 1);
    tile.columns[i] = map.column(x + i - 1);
  }
  return tile;
}

// The pixels of one phase that a tile of the input gives.
OutputTile output_tile(const WinogradKernels& winograd, FeatureMap& map, int factor, int phase,
                       int y, int x) {
  OutputTile tile;
  const int dy = phase / factor, dx = phase % factor;
  tile.height = std::min(winograd.outputs, map.height() / factor - y);
  tile.width = std::min(winograd.outputs, map.width() / factor - x);
  for (int i = 0; i < tile.height; ++i) tile.rows[i] = map.row((y + i) * factor + dy);
  tile.column_step = std::size_t(kGroup) * factor;
  tile.data = map.data() + map.column(x * factor + dx);
  return tile;
}

}  // namespace

const WinogradKernels& choose_winograd(const Kernels& kernels, int height, int width) {
  const auto products = [&](const WinogradKernels& winograd) {
    const long rows = (height + winograd.outputs - 1) / winograd.outputs;
    const long columns = (width + winograd.outputs - 1) / winograd.outputs;
    return rows * columns * winograd.inputs * winograd.inputs;
  };
  return products(kernels.f6) < products(kernels.f4) ? kernels.f6 : kernels.f4;
}

std::size_t scratch_size(const Kernels& kernels) {
  return BlockLayout(kChunk, kMaxBlockTiles).size(kernels.f6);
}

void transform_block(const WinogradKernels& winograd, const TileBlock& block, const FeatureMap& map,
                     const BlockLayout& layout, float* transformed) {
  for (int tile = 0; tile < block.count; ++tile)
    winograd.transform_input(map.data(), map.group_stride(), map.groups(),
                             input_tile(winograd, map, block.y(tile), block.x(tile)),
                             transformed + tile * kGroup, layout.group, layout.position);
}

void convolve_block(const Kernels& kernels, const WinogradKernels& winograd,
                    const Convolution& conv, const float* weights, const TileBlock& block,
                    const BlockLayout& layout, const float* transformed,
                    const std::vector<Residual>& residuals, FeatureMap& out, float* scratch) {
  const BlockLayout products(kChunk, block.count);
  const int positions = winograd.inputs * winograd.inputs;
  const std::size_t weights_panel = std::size_t(conv.in_groups()) * kGroup * kGroup;
  Epilogue epilogue = conv.epilogue();
  epilogue.residuals = static_cast<int>(residuals.size());
  for (std::size_t i = 0; i < residuals.size(); ++i) epilogue.scales[i] = residuals[i].scale;

  for (int first = 0; first < conv.panels(); first += kChunk) {
    const int panels = std::min(kChunk, conv.panels() - first);
    for (int q = 0; q < positions; ++q) {
      Product product;
      product.transformed = transformed + q * layout.position;
      product.group = layout.group;
      product.groups = conv.in_groups();
      product.weights = weights + (std::size_t(q) * conv.panels() + first) * weights_panel;
      product.products = scratch + q * products.position;
      product.panel = products.group;
      product.panels = panels;
      product.tiles = block.count;
      product.next_transformed = layout.position;
      product.next_weights = conv.panels() * weights_panel;
      kernels.multiply(product);
    }
    for (int panel = 0; panel < panels; ++panel) {
      const int phase = (first + panel) / conv.panels_per_phase();
      const std::size_t group = (first + panel) % conv.panels_per_phase() * out.group_stride();
      for (int t = 0; t < block.count; ++t) {
        OutputTile tile = output_tile(winograd, out, conv.factor(), phase, block.y(t), block.x(t));
        for (std::size_t i = 0; i < residuals.size(); ++i)
          tile.residuals[i] = residuals[i].map->data() + (tile.data - out.data()) + group;
        tile.data += group;
        winograd.transform_output(scratch + panel * products.group + t * kGroup, products.position,
                                  epilogue, first + panel, tile);
      }
    }
  }
}

}  // namespace torch_sr
