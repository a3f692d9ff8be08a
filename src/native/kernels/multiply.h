// The matrix products of one Winograd position.

#pragma once

#include "kernels.h"
#include "simd.h"

namespace TARGET {

using torch_sr::kGroup;

constexpr int kVectors = kGroup / kLanes;  // per panel

// As many accumulators as registers hold, with room for the weights and one broadcast.
#if SIMD_BYTES == 64
constexpr int kRows = 12, kPanels = 2;
#elif SIMD_BYTES == 32
constexpr int kRows = 6, kPanels = 1;
#elif defined(__aarch64__)
constexpr int kRows = 6, kPanels = 1;
#else
constexpr int kRows = 3, kPanels = 1;
#endif

// Sums of many products of float lose digits. Sums of this many groups of channels are added up
// separately, which halves the error.
constexpr int kGroupsPerSum = 2;

// `ahead` is where the values of the next product are, as far behind these as the weights that are
// fetched into the L2 cache meanwhile.
template <int Rows, int Panels>
static void multiply_rows(const float* transformed, std::size_t group, int groups,
                          const float* weights, float* products, std::size_t panel,
                          std::size_t next_transformed, const float* next_weights) {
  const std::size_t weights_panel = std::size_t(groups) * kGroup * kGroup;
  for (int first = 0; first < groups; first += kGroupsPerSum) {
    const int end = first + kGroupsPerSum < groups ? first + kGroupsPerSum : groups;
    Vec sums[Rows][Panels * kVectors] = {};
    for (int g = first; g < end; ++g, transformed += group) {
      for (int c = 0; c < kGroup; ++c, weights += kGroup, next_weights += kGroup) {
        __builtin_prefetch(next_weights, 0, 2);
        __builtin_prefetch(transformed + next_transformed + c * kGroup, 0, 2);
        Vec w[Panels * kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < Panels * kVectors; ++v)
          w[v] = load(weights + (v / kVectors) * weights_panel + (v % kVectors) * kLanes);
#pragma GCC unroll 12
        for (int r = 0; r < Rows; ++r) {
          const Vec x = broadcast(transformed[r * kGroup + c]);
#pragma GCC unroll 8
          for (int v = 0; v < Panels * kVectors; ++v) sums[r][v] += x * w[v];
        }
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < Panels * kVectors; ++v) {
        float* target =
            products + (v / kVectors) * panel + r * kGroup + (v % kVectors) * kLanes;
        store(target, first ? sums[r][v] + load(target) : sums[r][v]);
      }
  }
}

// The last rows of a block: `rows` is at most Rows.
template <int Rows, int Panels>
static void multiply_rest(int rows, const float* transformed, std::size_t group, int groups,
                          const float* weights, float* products, std::size_t panel,
                          std::size_t next_transformed, const float* next_weights) {
  if constexpr (Rows > 0) {
    if (rows == Rows)
      multiply_rows<Rows, Panels>(transformed, group, groups, weights, products, panel, next_transformed, next_weights);
    else
      multiply_rest<Rows - 1, Panels>(rows, transformed, group, groups, weights, products, panel, next_transformed, next_weights);
  }
}

template <int Panels>
static void multiply_panels(const float* transformed, std::size_t group, int groups,
                            const float* weights, int tiles, float* products, std::size_t panel,
                            std::size_t next_transformed, std::size_t next_weights) {
  const std::size_t weights_panel = std::size_t(groups) * kGroup * kGroup;
  const float* next = weights + next_weights;
  int ahead = 0;  // panels of weights that were fetched
  for (; tiles >= kRows; tiles -= kRows) {
    multiply_rows<kRows, Panels>(transformed, group, groups, weights, products, panel,
                                 next_transformed, next);
    transformed += kRows * kGroup;
    products += kRows * kGroup;
    if (++ahead < Panels) next += weights_panel;
  }
  multiply_rest<kRows - 1, Panels>(tiles, transformed, group, groups, weights, products, panel,
                                   next_transformed, next);
}

static void multiply(const float* transformed, std::size_t group, int groups,
                     const float* weights, int panels, int tiles, float* products,
                     std::size_t panel, std::size_t next_transformed, std::size_t next_weights) {
  const std::size_t weights_panel = std::size_t(groups) * kGroup * kGroup;
  int done = 0;
  for (; done + kPanels <= panels; done += kPanels)
    multiply_panels<kPanels>(transformed, group, groups, weights + done * weights_panel, tiles,
                             products + done * panel, panel, next_transformed, next_weights);
  for (; done < panels; ++done)
    multiply_panels<1>(transformed, group, groups, weights + done * weights_panel, tiles,
                       products + done * panel, panel, next_transformed, next_weights);
}

}  // namespace TARGET
