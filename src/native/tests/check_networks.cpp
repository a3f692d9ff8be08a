// Compare the networks with a plain implementation in double precision.
//
// Runs every instruction set of this processor, one to four threads, and shapes that leave rests of
// everything: channels, tiles, blocks and strips. Built by scripts/check_native, with sanitizers
// and for other processors as well. Prints one line for each network; exit code 1 if one differs.

#include <cmath>
#include <cstdio>
#include <random>

#include "../instruction_sets.h"
#include "../networks.h"

using namespace torch_sr;

namespace {

constexpr double kTolerance = 2e-5;  // of the largest value of the result

struct Image {
  int channels, height, width;
  std::vector<double> values;

  Image(int channels, int height, int width)
      : channels(channels),
        height(height),
        width(width),
        values(std::size_t(channels) * height * width) {}

  double& at(int c, int y, int x) { return values[(std::size_t(c) * height + y) * width + x]; }
  double at(int c, int y, int x) const {
    return y < 0 || y >= height || x < 0 || x >= width
               ? 0
               : values[(std::size_t(c) * height + y) * width + x];
  }
};

// Random parameters of convolutions, which keep the size of values about the same.
struct Weights {
  std::mt19937 random{1};
  std::vector<std::vector<float>> values;
  std::vector<Parameters> parameters;

  std::vector<float>& draw(std::size_t count, float deviation) {
    std::normal_distribution<float> normal(0, deviation);
    values.emplace_back(count);
    for (float& value : values.back()) value = normal(random);
    return values.back();
  }

  void add(int out, int in) {
    const std::size_t count = std::size_t(out) * in * 9;
    const float* weight = draw(count, std::sqrt(1.f / (in * 9))).data();
    parameters.push_back({weight, draw(out, 0.1f).data(), out, in});
  }
};

Image convolve(const Parameters& p, const Image& in) {
  Image out(p.out, in.height, in.width);
  for (int o = 0; o < p.out; ++o)
    for (int y = 0; y < in.height; ++y)
      for (int x = 0; x < in.width; ++x) {
        double sum = p.bias[o];
        for (int i = 0; i < p.in; ++i)
          for (int tap = 0; tap < 9; ++tap)
            sum += p.weight[(std::size_t(o) * p.in + i) * 9 + tap] *
                   in.at(i, y + tap / 3 - 1, x + tap % 3 - 1);
        out.at(o, y, x) = sum;
      }
  return out;
}

Image activate(Image image, const std::vector<float>& slopes) {
  for (std::size_t i = 0; i < image.values.size(); ++i) {
    const float slope =
        slopes.size() == 1 ? slopes[0] : slopes[i / (std::size_t(image.height) * image.width)];
    if (image.values[i] < 0) image.values[i] *= slope;
  }
  return image;
}

Image concatenate(const Image& a, const Image& b) {
  Image out = a;
  out.channels += b.channels;
  out.values.insert(out.values.end(), b.values.begin(), b.values.end());
  return out;
}

Image add(const Image& a, const Image& b, double scale_b) {
  Image out = a;
  for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] += scale_b * b.values[i];
  return out;
}

Image enlarge(const Image& in, int factor) {
  Image out(in.channels, in.height * factor, in.width * factor);
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x) out.at(c, y, x) = in.at(c, y / factor, x / factor);
  return out;
}

Image shuffle(const Image& in, int factor) {
  Image out(in.channels / factor / factor, in.height * factor, in.width * factor);
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x)
        out.at(c, y, x) =
            in.at((c * factor + y % factor) * factor + x % factor, y / factor, x / factor);
  return out;
}

Image run_rrdb_net(const RRDBConfig& c, const std::vector<Parameters>& parameters,
                   const Image& image) {
  auto next = parameters.begin();
  const Image shallow = convolve(*next++, image);
  Image trunk = shallow;
  for (int b = 0; b < c.num_basic_blocks; ++b) {
    const Image outer = trunk;
    for (int d = 0; d < c.num_dense_blocks; ++d) {
      Image maps = trunk;
      for (int k = 0; k + 1 < c.num_residual_blocks; ++k)
        maps = concatenate(maps, activate(convolve(*next++, maps), {0.2f}));
      trunk = add(trunk, convolve(*next++, maps), c.residual_scaling);
    }
    trunk = add(outer, trunk, c.residual_scaling);
  }
  Image features = add(shallow, convolve(*next++, trunk), 1);
  for (const int factor : c.upscaling_steps)
    features = activate(c.use_subpixel_conv ? shuffle(convolve(*next++, features), factor)
                                            : convolve(*next++, enlarge(features, factor)),
                        {0.2f});
  features = activate(convolve(*next++, features), {0.2f});
  return convolve(*next++, features);
}

Image run_compact_net(int scale, const std::vector<Parameters>& parameters,
                      const std::vector<std::vector<float>>& slopes, const Image& image) {
  Image maps = image;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    maps = convolve(parameters[i], maps);
    if (i < slopes.size()) maps = activate(maps, slopes[i]);
  }
  return add(shuffle(maps, scale), enlarge(image, scale), 1);
}

Image random_image(int channels, int height, int width) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(0, 1);
  Image image(channels, height, width);
  for (double& value : image.values) value = uniform(random);
  return image;
}

// Whether the network computes the expected image with all instruction sets and threads.
bool check(const char* what, const Network& network, const Image& image, const Image& expected) {
  const std::vector<float> input(image.values.begin(), image.values.end());
  std::vector<float> result(expected.values.size());
  double largest = 0, worst = 0;
  for (const double value : expected.values) largest = std::max(largest, std::abs(value));
  for (const Kernels* kernels : available_kernels())
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      network.run(*kernels, pool, input.data(), image.height, image.width, result.data());
      for (std::size_t i = 0; i < result.size(); ++i) {
        const double difference = std::abs(result[i] - expected.values[i]);
        worst = std::isfinite(result[i]) ? std::max(worst, difference) : INFINITY;
      }
    }
  std::printf("%-34s %3dx%-3d difference %.1e of %.1f\n", what, image.width, image.height, worst,
              largest);
  return worst <= kTolerance * largest;
}

bool check_rrdb_net(const char* what, const RRDBConfig& c, int in_channels, int out_channels,
                    int height, int width) {
  Weights w;
  w.add(c.rrdb_channels, in_channels);
  for (int block = 0; block < c.num_basic_blocks * c.num_dense_blocks; ++block)
    for (int k = 0; k < c.num_residual_blocks; ++k)
      w.add(k + 1 < c.num_residual_blocks ? c.growth_channels : c.rrdb_channels,
            c.rrdb_channels + k * c.growth_channels);
  w.add(c.rrdb_channels, c.rrdb_channels);
  for (const int factor : c.upscaling_steps)
    w.add(c.rrdb_channels * (c.use_subpixel_conv ? factor * factor : 1), c.rrdb_channels);
  w.add(c.rrdb_channels, c.rrdb_channels);
  w.add(out_channels, c.rrdb_channels);
  const Image image = random_image(in_channels, height, width);
  return check(what, *make_rrdb_net(c, w.parameters), image, run_rrdb_net(c, w.parameters, image));
}

bool check_compact_net(const char* what, int channels, int width, int convolutions, int scale,
                       int image_height, int image_width) {
  Weights w;
  w.add(width, channels);
  for (int i = 0; i < convolutions; ++i) w.add(width, width);
  w.add(channels * scale * scale, width);
  std::vector<std::vector<float>> slopes;
  std::vector<const float*> pointers;
  for (int i = 0; i <= convolutions; ++i) slopes.push_back(w.draw(width, 0.3f));
  for (const std::vector<float>& each : slopes) pointers.push_back(each.data());
  const Image image = random_image(channels, image_height, image_width);
  return check(what, *make_compact_net(scale, w.parameters, pointers), image,
               run_compact_net(scale, w.parameters, slopes, image));
}

}  // namespace

int main() {
  bool passed = true;
  const auto rrdb = [&](const char* what, RRDBConfig c, int in, int out, int height, int width) {
    passed &= check_rrdb_net(what, c, in, out, height, width);
  };
  for (const int size : {1, 2, 5, 6, 7, 13})
    rrdb("RRDBNet x4", {16, 16, 1, 3, 5, 0.2f, false, {2, 2}}, 3, 3, size, 14 - size);
  rrdb("RRDBNet x4, wide", {64, 32, 1, 3, 5, 0.2f, false, {2, 2}}, 3, 3, 26, 31);
  rrdb("RRDBNet x1, odd channels", {21, 9, 2, 2, 3, 0.5f, false, {}}, 3, 3, 17, 40);
  rrdb("RRDBNet x2, unshuffled", {32, 16, 1, 1, 4, 0.2f, false, {2, 2}}, 12, 3, 9, 11);
  rrdb("RRDBNet x2, gray", {8, 4, 1, 3, 5, 0.2f, false, {2}}, 1, 1, 30, 8);
  rrdb("RRDBNet x3, four channels", {24, 40, 1, 3, 2, 0.2f, false, {3}}, 4, 4, 12, 19);
  rrdb("RRDBNet x8", {16, 8, 1, 2, 2, 0.2f, false, {2, 2, 2}}, 3, 3, 7, 10);
  rrdb("RRDBNet x4, sub-pixel", {20, 8, 1, 3, 3, 0.2f, true, {2, 2}}, 3, 3, 11, 13);
  rrdb("RRDBNet x3, sub-pixel", {16, 8, 1, 1, 1, 0.2f, true, {3}}, 3, 3, 11, 13);
  rrdb("RRDBNet, single convolutions", {16, 8, 2, 3, 1, 0.2f, false, {2}}, 3, 3, 20, 9);
  rrdb("RRDBNet, many strips", {16, 16, 1, 2, 3, 0.2f, false, {2}}, 3, 3, 150, 20);
  rrdb("RRDBNet, deep", {16, 8, 12, 3, 2, 0.2f, false, {2}}, 3, 3, 16, 18);
  passed &= check_compact_net("SRVGGNetCompact x4", 3, 64, 2, 4, 23, 20);
  passed &= check_compact_net("SRVGGNetCompact x2, gray", 1, 24, 1, 2, 9, 40);
  passed &= check_compact_net("SRVGGNetCompact x1", 3, 8, 0, 1, 5, 4);
  std::puts(passed ? "all networks agree" : "a network differs");
  return passed ? 0 : 1;
}
