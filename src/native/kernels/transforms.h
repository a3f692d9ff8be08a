// The Winograd transforms of tiles and weights in two dimensions.

#pragma once

#include "kernels.h"
#include "simd.h"
#include "winograd.h"

namespace TARGET {

using torch_sr::Epilogue;
using torch_sr::InputTile;
using torch_sr::OutputTile;

template <class F>
static void transform_input(const float* map, std::size_t map_group, int groups,
                            const InputTile& tile, float* transformed, std::size_t group,
                            std::size_t position) {
  constexpr int n = F::kInputs;
  for (int g = 0; g < groups; ++g, map += map_group, transformed += group) {
    for (int q = 0; q < n * n; ++q)  // the lines of the next tile, which will be written
      __builtin_prefetch(transformed + q * position + kGroup, 1);
    for (int lane = 0; lane < kGroup; lane += kLanes) {
      Vec half[n][n];  // [column][transformed row]
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) {
        Vec d[n];
#pragma GCC unroll 8
        for (int i = 0; i < n; ++i) d[i] = load(map + tile.rows[i] + tile.columns[j] + lane);
        F::transform_input(d, half[j]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) {
        Vec d[n], t[n];
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) d[j] = half[j][i];
        F::transform_input(d, t);
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) store(transformed + (i * n + j) * position + lane, t[j]);
      }
    }
  }
}

// The epilogue of one vector; `offset` is that of its pixel.
struct Finish {
  Vec bias, slopes;
  const Epilogue& epilogue;
  const float* const* residuals;

  Finish(const Epilogue& e, const float* const* residuals, int first)
      : bias(load(e.bias + first)),
        slopes(e.slopes ? load(e.slopes + first) : broadcast(1.f)),
        epilogue(e),
        residuals(residuals) {}

  template <int Residuals>
  ALWAYS_INLINE Vec apply(Vec y, std::size_t offset) const {
    y += bias;
    const Vec zero{};
    y = (y > zero ? y : zero) + slopes * (y < zero ? y : zero);
    if constexpr (Residuals > 0) y = epilogue.scales[0] * y + load(residuals[0] + offset);
    if constexpr (Residuals > 1) y = epilogue.scales[1] * y + load(residuals[1] + offset);
    return y;
  }
};

template <class F, int Residuals>
static void finish_tile(const Vec (&half)[F::kInputs][F::kOutputs], const Finish& finish,
                        const OutputTile& tile, int lane) {
  constexpr int n = F::kInputs, m = F::kOutputs;
  for (int i = 0; i < tile.height; ++i) {
    Vec z[n], y[m];
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) z[j] = half[j][i];
    F::transform_output(z, y);
    std::size_t offset = tile.rows[i] + lane;
    if (tile.width == m) {
#pragma GCC unroll 6
      for (int j = 0; j < m; ++j, offset += tile.column_step)
        store(tile.data + offset, finish.apply<Residuals>(y[j], offset));
    } else {
      for (int j = 0; j < tile.width; ++j, offset += tile.column_step)
        store(tile.data + offset, finish.apply<Residuals>(y[j], offset));
    }
  }
}

template <class F>
static void transform_output(const float* products, std::size_t position, const Epilogue& epilogue,
                             int panel, const OutputTile& tile) {
  constexpr int n = F::kInputs, m = F::kOutputs;
  for (int lane = 0; lane < kGroup; lane += kLanes) {
    Vec half[n][m];  // [column][output row]
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) {
      Vec z[n];
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) z[i] = load(products + (i * n + j) * position + lane);
      F::transform_output(z, half[j]);
    }
    const Finish finish(epilogue, tile.residuals, panel * kGroup + lane);
    switch (epilogue.residuals) {
      case 0:
        finish_tile<F, 0>(half, finish, tile, lane);
        break;
      case 1:
        finish_tile<F, 1>(half, finish, tile, lane);
        break;
      default:
        finish_tile<F, 2>(half, finish, tile, lane);
    }
  }
}

// In double precision: a rounding error here would affect all pixels.
template <class F>
static void transform_weights(const float* weights, float* transformed, std::size_t position) {
  constexpr int n = F::kInputs;
  for (int lane = 0; lane < kGroup; lane += kLanes / 2) {
    DoubleVec half[3][n];  // [column][transformed row]
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      DoubleVec g[3];
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) g[i] = load_doubles(weights + (i * 3 + j) * kGroup + lane);
      F::transform_weights(g, half[j]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i) {
      const DoubleVec g[3] = {half[0][i], half[1][i], half[2][i]};
      DoubleVec u[n];
      F::transform_weights(g, u);
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) store(transformed + (i * n + j) * position + lane, u[j]);
    }
  }
}

static void finish(float* pixels, int count, const Epilogue& epilogue, int panel) {
  for (int lane = 0; lane < kGroup; lane += kLanes) {
    const Finish finish(epilogue, nullptr, panel * kGroup + lane);
    for (int i = 0; i < count; ++i) {
      float* p = pixels + i * kGroup + lane;
      store(p, finish.apply<0>(load(p), 0));
    }
  }
}

}  // namespace TARGET
