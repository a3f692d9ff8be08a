// Measure where the time of RRDBNet goes: products, transforms, and the rest.
//
// Prints, for every instruction set of this processor, the rate of fused multiply-additions in
// registers, that of products from the L1 cache and from memory, the time of the transforms, and
// what follows from these for RRDBNet (64 channels, 23 blocks, x4) on an image of 128x128 pixels,
// next to the time that the network takes. Rates are those of one thread. Nothing else should run.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "../instruction_sets.h"
#include "../networks.h"

using namespace torch_sr;

namespace {

constexpr int kTiles = 24, kSide = 128, kBlocks = 23;

// Seconds of the quickest of some calls.
template <class Call>
double quickest(Call&& call, int calls = 7) {
  double least = INFINITY;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    least = std::min(least, seconds.count());
  }
  return least;
}

Buffer filled(std::size_t floats) {
  Buffer buffer(floats);
  for (std::size_t i = 0; i < floats; ++i) buffer.data()[i] = 0.01f * float(i % 97);
  return buffer;
}

#if defined(__x86_64__)
typedef float Vec8 __attribute__((vector_size(32)));

__attribute__((target("avx2,fma"), noinline)) void multiply_add(int steps) {
  Vec8 s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{}, s8{}, s9{}, a = Vec8{} + 1.f;
  for (int i = 0; i < steps; ++i)
    asm volatile(
        "vfmadd231ps %10, %10, %0\n vfmadd231ps %10, %10, %1\n vfmadd231ps %10, %10, %2\n"
        "vfmadd231ps %10, %10, %3\n vfmadd231ps %10, %10, %4\n vfmadd231ps %10, %10, %5\n"
        "vfmadd231ps %10, %10, %6\n vfmadd231ps %10, %10, %7\n vfmadd231ps %10, %10, %8\n"
        "vfmadd231ps %10, %10, %9"
        : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "+x"(s8),
          "+x"(s9)
        : "x"(a));
}

double peak() {
  constexpr int kSteps = 10000000;
  return 2e-9 * kSteps * 10 * 8 / quickest([] { multiply_add(kSteps); });
}
#else
double peak() { return NAN; }
#endif

// GFLOP/s of products of all positions of F(4, 3), each with the same or with its own operands.
double rate_of_products(const Kernels& kernels, int groups, int panels, bool same) {
  const int positions = kernels.f4.inputs * kernels.f4.inputs, blocks = 12;
  const std::size_t step = std::size_t(kTiles) * kGroup * groups + kGroup;
  const std::size_t weights_step = std::size_t(panels) * groups * kGroup * kGroup;
  const std::size_t products_step = std::size_t(panels) * kTiles * kGroup + kGroup;
  Buffer maps = filled(step * positions * blocks), weights = filled(weights_step * positions);
  Buffer products(products_step * positions);
  const double seconds = quickest([&] {
    for (int block = 0; block < blocks; ++block)
      for (int q = 0; q < positions; ++q) {
        const std::size_t i = same ? 0 : q;
        kernels.multiply({maps.data() + (same ? 0 : block * positions + q) * step,
                          std::size_t(kTiles) * kGroup, groups, weights.data() + i * weights_step,
                          products.data() + i * products_step, std::size_t(kTiles) * kGroup, panels,
                          kTiles, same ? 0 : step, same ? 0 : weights_step});
      }
  });
  return 2e-9 * blocks * positions * kTiles * groups * kGroup * panels * kGroup / seconds;
}

struct TransformTimes {
  double input, output;  // nanoseconds for one tile and 16 channels
};

TransformTimes time_transforms(const Kernels& kernels) {
  const WinogradKernels& winograd = kernels.f4;
  FeatureMap map(4 * kGroup, kSide, kSide);
  for (int y = 0; y < kSide; ++y)
    for (int g = 0; g < map.groups(); ++g)
      std::fill_n(map.at(y) + g * map.group_stride(), kSide * kGroup, 0.5f);
  const TileGrid grid(winograd, kSide, kSide, 1);
  const BlockLayout layout(map.groups(), grid.block_tiles);
  Buffer transformed(layout.size(winograd) * grid.max_blocks());
  Convolution conv({filled(64 * 64 * 9).data(), filled(64).data(), 64, 64}, {64});
  Buffer weights = filled(conv.transformed_size(winograd)), scratch(scratch_size(kernels));
  const auto for_each_block = [&](auto&& call) {
    for (int strip = 0; strip < grid.strips(); ++strip)
      for (int block = 0; block < grid.blocks(strip); ++block)
        call(TileBlock(grid, strip, block), transformed.data() + layout.size(winograd) * block);
  };
  const double input = quickest([&] {
    for_each_block([&](const TileBlock& block, float* target) {
      transform_block(winograd, block, map, layout, target);
    });
  });
  const double all = quickest([&] {
    for_each_block([&](const TileBlock& block, const float* source) {
      convolve_block(kernels, winograd, conv, weights.data(), block, layout, source, {}, map,
                     scratch.data());
    });
  });
  const double tiles = double(grid.rows) * grid.columns * map.groups();
  const double products = 2e-9 * tiles * 36 * 64 * kGroup / rate_of_products(kernels, 4, 4, false);
  return {1e9 * input / tiles, 1e9 * (all - products) / tiles};
}

// Seconds of a forward pass with one thread and random weights.
double time_network(const Kernels& kernels) {
  const RRDBConfig config{64, 32, kBlocks, 3, 5, 0.2f, false, {2, 2}};
  const Buffer values = filled(192 * 64 * 9);
  std::vector<Parameters> parameters{{values.data(), values.data(), 64, 3}};
  for (int i = 0; i < 3 * kBlocks; ++i)
    for (int k = 0; k < 5; ++k)
      parameters.push_back({values.data(), values.data(), k < 4 ? 32 : 64, 64 + 32 * k});
  for (int i = 0; i < 4; ++i) parameters.push_back({values.data(), values.data(), 64, 64});
  parameters.push_back({values.data(), values.data(), 3, 64});
  const auto network = make_rrdb_net(config, parameters);
  const Buffer image = Buffer::zeros(3 * kSide * kSide);
  Buffer out(3 * kSide * kSide * 16);
  ThreadPool pool(1);
  return quickest([&] { network->run(kernels, pool, image.data(), kSide, kSide, out.data()); }, 3);
}

void measure(const Kernels& kernels) {
  const double memory = rate_of_products(kernels, 8, 2, false);
  const TransformTimes times = time_transforms(kernels);
  const double tiles = kSide * kSide / 16.0, dense_blocks = 3 * kBlocks;
  // A dense block reads and makes 192 channels, and multiplies 64 to 192 of them by 32 or 64.
  const double products = 2e-9 * dense_blocks * tiles * 36 * 26624;
  const double transforms = 1e-9 * dense_blocks * tiles * 12;
  const double network = time_network(kernels);
  std::printf("%s\n", kernels.name);
  std::printf("  products, same operands     %6.1f GFLOP/s\n",
              rate_of_products(kernels, 8, 2, true));
  std::printf("  products, own operands      %6.1f GFLOP/s\n", memory);
  std::printf("  transform of a tile         %6.1f ns (input), %.1f ns (output)\n", times.input,
              times.output);
  std::printf("  dense blocks: products      %6.3f s\n", products / memory);
  std::printf("  dense blocks: input         %6.3f s\n", transforms * times.input);
  std::printf("  dense blocks: output        %6.3f s\n", transforms * times.output);
  std::printf("  network                     %6.3f s, %.1f effective GFLOP/s\n", network,
              2e-9 * kSide * kSide * 17.93e6 / network);
}

}  // namespace

int main() {
  std::printf("fused multiply-additions in registers: %.1f GFLOP/s\n", peak());
  for (const Kernels* kernels : available_kernels()) measure(*kernels);
}
