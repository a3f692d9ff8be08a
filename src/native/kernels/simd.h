// The vector type of an instruction set.
//
// GCC's and Clang's vector extensions: arithmetic is written with operators, and the compiler
// chooses the instructions (-ffp-contract=fast turns a * b + c into one fused multiply-add).

#pragma once

#include <cstddef>

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace TARGET {

typedef float Vec __attribute__((vector_size(SIMD_BYTES)));
typedef float UnalignedVec __attribute__((vector_size(SIMD_BYTES), aligned(4), may_alias));

typedef double DoubleVec __attribute__((vector_size(SIMD_BYTES)));
typedef float HalfVec __attribute__((vector_size(SIMD_BYTES / 2), aligned(4), may_alias));

constexpr int kLanes = SIMD_BYTES / 4;

ALWAYS_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
ALWAYS_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

// Half as many floats, computed with as doubles.
ALWAYS_INLINE DoubleVec load_doubles(const float* p) {
  return __builtin_convertvector(*reinterpret_cast<const HalfVec*>(p), DoubleVec);
}
ALWAYS_INLINE void store(float* p, DoubleVec v) {
  *reinterpret_cast<HalfVec*>(p) = __builtin_convertvector(v, HalfVec);
}

ALWAYS_INLINE Vec broadcast(float x) {
#if SIMD_BYTES == 64
  return Vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif SIMD_BYTES == 32
  return Vec{x, x, x, x, x, x, x, x};
#else
  return Vec{x, x, x, x};
#endif
}

}  // namespace TARGET
