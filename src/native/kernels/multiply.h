// The matrix products of one Winograd position.

#pragma once

#include "kernels.h"
#include "simd.h"

namespace TARGET {

using torch_sr::kGroup;
using torch_sr::Product;

constexpr int kVectors = kGroup / kLanes;  // per panel

// Tiles and panels whose sums the registers hold, with room for the weights and a broadcast.
#if SIMD_BYTES == 64
constexpr int kTiles = 12, kPanels = 2;
#elif SIMD_BYTES == 32
constexpr int kTiles = 6, kPanels = 1;
#elif defined(__aarch64__)
constexpr int kTiles = 6, kPanels = 1;
#else
constexpr int kTiles = 3, kPanels = 1;
#endif

// Some tiles and panels of a product. Meanwhile the same tiles, and the weights at `next_weights`,
// of the next product are fetched into the L2 cache: the processor does not foresee them.
template <int Tiles, int Panels>
static void multiply_part(const Product& p, int first_tile, int first_panel,
                          const float* next_weights) {
  const std::size_t weights_panel = std::size_t(p.groups) * kGroup * kGroup;
  const float* transformed = p.transformed + first_tile * kGroup;
  const float* weights = p.weights + first_panel * weights_panel;
  float* products = p.products + first_panel * p.panel + first_tile * kGroup;
  for (int g = 0; g < p.groups; ++g, transformed += p.group) {
    Vec sums[Tiles][Panels * kVectors] = {};
    for (int c = 0; c < kGroup; ++c, weights += kGroup, next_weights += kGroup) {
      __builtin_prefetch(next_weights, 0, 2);
      __builtin_prefetch(transformed + p.next_transformed + c * kGroup, 0, 2);
      Vec w[Panels * kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < Panels * kVectors; ++v)
        w[v] = load(weights + (v / kVectors) * weights_panel + (v % kVectors) * kLanes);
#pragma GCC unroll 12
      for (int t = 0; t < Tiles; ++t) {
        const Vec x = broadcast(transformed[t * kGroup + c]);
#pragma GCC unroll 8
        for (int v = 0; v < Panels * kVectors; ++v) sums[t][v] += x * w[v];
      }
    }
    // Groups are added up in memory: a single sum over all channels would lose digits.
#pragma GCC unroll 12
    for (int t = 0; t < Tiles; ++t)
#pragma GCC unroll 8
      for (int v = 0; v < Panels * kVectors; ++v) {
        float* target = products + (v / kVectors) * p.panel + t * kGroup + (v % kVectors) * kLanes;
        store(target, g ? sums[t][v] + load(target) : sums[t][v]);
      }
  }
}

// The last tiles of a product, of which there are at most Tiles.
template <int Tiles, int Panels>
static void multiply_rest(const Product& p, int first_tile, int first_panel,
                          const float* next_weights) {
  if constexpr (Tiles > 0) {
    if (p.tiles - first_tile == Tiles)
      multiply_part<Tiles, Panels>(p, first_tile, first_panel, next_weights);
    else
      multiply_rest<Tiles - 1, Panels>(p, first_tile, first_panel, next_weights);
  }
}

template <int Panels>
static void multiply_panels(const Product& p, int first_panel) {
  const std::size_t weights_panel = std::size_t(p.groups) * kGroup * kGroup;
  const float* next_weights = p.weights + first_panel * weights_panel + p.next_weights;
  int tile = 0, fetched = 0;
  for (; tile + kTiles <= p.tiles; tile += kTiles) {
    multiply_part<kTiles, Panels>(p, tile, first_panel, next_weights);
    if (++fetched < Panels) next_weights += weights_panel;
  }
  multiply_rest<kTiles - 1, Panels>(p, tile, first_panel, next_weights);
}

static void multiply(const Product& p) {
  int panel = 0;
  for (; panel + kPanels <= p.panels; panel += kPanels) multiply_panels<kPanels>(p, panel);
  for (; panel < p.panels; ++panel) multiply_panels<1>(p, panel);
}

}  // namespace TARGET
