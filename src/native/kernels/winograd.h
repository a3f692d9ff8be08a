// Winograd's minimal filtering F(m, 3): m outputs from m + 2 products.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016). In two
// dimensions, y = A' [(G g G') * (B' d B)] A, where * multiplies element by element. The methods
// below apply B', A' and G to one column or row; the interpolation points are 0, 1, -1, 2, -2,
// (1/2, -1/2) and infinity.

#pragma once

#include "simd.h"

namespace TARGET {

// F(4, 3): 2.25 products per output pixel. Points 0, 3/4, -3/4, 3/2, -3/2 and infinity, whose
// rounding error is half of that of the usual 1, -1, 2 and -2.
struct F4 {
  static constexpr int kInputs = 6, kOutputs = 4;
  static constexpr float a = 0.75f, b = 1.5f, aa = a * a, bb = b * b;

  template <class V>
  static ALWAYS_INLINE void transform_input(const V* d, V* t) {
    const V near_even = d[4] - bb * d[2], near_odd = a * (d[3] - bb * d[1]);
    const V far_even = d[4] - aa * d[2], far_odd = b * (d[3] - aa * d[1]);
    t[0] = aa * bb * d[0] + (d[4] - (aa + bb) * d[2]);
    t[1] = near_even + near_odd;
    t[2] = near_even - near_odd;
    t[3] = far_even + far_odd;
    t[4] = far_even - far_odd;
    t[5] = aa * bb * d[1] + (d[5] - (aa + bb) * d[3]);
  }

  template <class V>
  static ALWAYS_INLINE void transform_output(const V* m, V* y) {
    const V s = m[1] + m[2], t = m[1] - m[2], u = m[3] + m[4], v = m[3] - m[4];
    y[0] = m[0] + (s + u);
    y[1] = a * t + b * v;
    y[2] = aa * s + bb * u;
    y[3] = aa * a * t + (bb * b * v + m[5]);
  }

  template <class V>
  static ALWAYS_INLINE void transform_weights(const V* g, V* u) {
    constexpr double near = 1 / (2. * aa * (aa - bb)), far = 1 / (2. * bb * (bb - aa));
    const V near_even = near * (g[0] + aa * g[2]), far_even = far * (g[0] + bb * g[2]);
    u[0] = g[0] * (1. / (aa * bb));
    u[1] = near_even + near * a * g[1];
    u[2] = near_even - near * a * g[1];
    u[3] = far_even + far * b * g[1];
    u[4] = far_even - far * b * g[1];
    u[5] = g[2];
  }
};

// F(6, 3): 1.78 products per output pixel, with about twice the rounding error of F(4, 3).
struct F6 {
  static constexpr int kInputs = 8, kOutputs = 6;

  template <class V>
  static ALWAYS_INLINE void transform_input(const V* d, V* t) {
    t[0] = 5.25f * (d[4] - d[2]) + (d[0] - d[6]);
    t[7] = 5.25f * (d[3] - d[5]) + (d[7] - d[1]);
    const V a = (d[2] + d[6]) - 4.25f * d[4], b = (d[1] + d[5]) - 4.25f * d[3];
    t[1] = a + b;
    t[2] = a - b;
    const V c = 0.25f * d[2] + (d[6] - 1.25f * d[4]);
    const V e = 0.5f * d[1] + (2.f * d[5] - 2.5f * d[3]);
    t[3] = c + e;
    t[4] = c - e;
    const V f = 4.f * d[2] + (d[6] - 5.f * d[4]);
    const V h = 2.f * d[1] + (0.5f * d[5] - 2.5f * d[3]);
    t[5] = f + h;
    t[6] = f - h;
  }

  template <class V>
  static ALWAYS_INLINE void transform_output(const V* m, V* y) {
    const V s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    const V s3 = m[5] + m[6], d3 = m[5] - m[6];
    y[0] = (m[0] + s1) + (s2 + s3);
    y[1] = 2.f * d2 + (0.5f * d3 + d1);
    y[2] = 4.f * s2 + (0.25f * s3 + s1);
    y[3] = 8.f * d2 + (0.125f * d3 + d1);
    y[4] = 16.f * s2 + (0.0625f * s3 + s1);
    y[5] = m[7] + (32.f * d2 + (0.03125f * d3 + d1));
  }

  template <class V>
  static ALWAYS_INLINE void transform_weights(const V* g, V* u) {
    const V even = g[0] + g[2], near = g[0] * (1. / 90) + g[2] * (2. / 45);
    const V far = g[0] * (32. / 45) + g[2] * (8. / 45);
    u[0] = g[0];
    u[1] = (even + g[1]) * (-2. / 9);
    u[2] = (even - g[1]) * (-2. / 9);
    u[3] = near + g[1] * (1. / 45);
    u[4] = near - g[1] * (1. / 45);
    u[5] = far + g[1] * (16. / 45);
    u[6] = far - g[1] * (16. / 45);
    u[7] = g[2];
  }
};

}  // namespace TARGET
