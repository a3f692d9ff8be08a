// Winograd tiles, and the blocks of tiles that threads compute.

#pragma once

#include <algorithm>

#include "kernels/kernels.h"

namespace torch_sr {

// As many tiles as the products of four panels fit with into an L2 cache of 1 MiB. More of them
// would read the weights less often, fewer would leave more of the cache to the input.
constexpr int kMaxBlockTiles = 36;

// Tiles in row-major order, in strips of whole rows of tiles, each of which has blocks.
struct TileGrid {
  int outputs = 0;            // pixels of a tile's side
  int height = 0, width = 0;  // of the image
  int rows = 0, columns = 0;  // of tiles
  int strip_rows = 1;         // rows of tiles in a strip
  int block_tiles = 1;        // tiles of a block, but the last of a strip

  TileGrid() = default;

  TileGrid(const WinogradKernels& winograd, int height, int width, int threads)
      : outputs(winograd.outputs),
        height(height),
        width(width),
        rows((height + outputs - 1) / outputs),
        columns((width + outputs - 1) / outputs) {
    choose_strips(threads);
  }

  int strips() const { return (rows + strip_rows - 1) / strip_rows; }
  int strip_height() const { return strip_rows * outputs; }
  int tiles(int strip) const { return std::min(strip_rows, rows - strip * strip_rows) * columns; }
  int blocks(int strip) const { return (tiles(strip) + block_tiles - 1) / block_tiles; }
  int max_blocks() const { return (strip_rows * columns + block_tiles - 1) / block_tiles; }
  // The first row below a strip.
  int end_row(int strip) const { return std::min(height, (strip + 1) * strip_height()); }

 private:
  // The strips that keep all threads busy with the largest blocks.
  void choose_strips(int threads) {
    constexpr double kOverhead = 4;  // of a block, in tiles: weights are read, threads wait
    double least = 0;
    for (int candidate = 1; candidate <= rows; ++candidate) {
      const int tiles = candidate * columns;
      const int rounds = (tiles + threads * kMaxBlockTiles - 1) / (threads * kMaxBlockTiles);
      const int block = (tiles + threads * rounds - 1) / (threads * rounds);
      const double cost = rounds * (block + kOverhead) / tiles;
      if (candidate == 1 || cost < least * 0.98) {  // small strips stay in the caches
        least = cost;
        strip_rows = candidate;
        block_tiles = block;
      }
      if (rounds > 3) break;
    }
  }
};

// Adjacent tiles of a strip.
struct TileBlock {
  int first_row, columns, outputs;
  int begin, count;  // tiles of the strip

  TileBlock(const TileGrid& grid, int strip, int block)
      : first_row(strip * grid.strip_rows),
        columns(grid.columns),
        outputs(grid.outputs),
        begin(block * grid.block_tiles),
        count(std::min(grid.block_tiles, grid.tiles(strip) - begin)) {}

  // The first pixel of a tile.
  int y(int tile) const { return (first_row + (begin + tile) / columns) * outputs; }
  int x(int tile) const { return (begin + tile) % columns * outputs; }
};

}  // namespace torch_sr
