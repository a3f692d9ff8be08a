#include "outer_convolutions.h"

#include <stdexcept>

namespace torch_sr {

namespace {

constexpr int kTaps = 9;
constexpr int kPixels = 96;  // of a row that are multiplied at a time; they stay in the L1 cache

}  // namespace

FirstConvolution::FirstConvolution(const Parameters& p)
    : in_(p.in),
      out_(p.out),
      weights_(std::size_t(groups_of(p.out)) * groups_of(p.in * kTaps) * kGroup * kGroup),
      bias_(std::size_t(groups_of(p.out)) * kGroup) {
  const std::size_t depth = std::size_t(groups_of(in_ * kTaps)) * kGroup;
  for (int out = 0; out < out_; ++out) {
    bias_[out] = p.bias[out];
    for (int in = 0; in < in_; ++in)
      for (int tap = 0; tap < kTaps; ++tap)
        weights_[(out / kGroup * depth + tap * in_ + in) * kGroup + out % kGroup] =
            p.weight[(std::size_t(out) * in_ + in) * kTaps + tap];
  }
}

void FirstConvolution::set_slopes(const float* slopes) {
  slopes_.assign(bias_.size(), 0.f);
  std::copy(slopes, slopes + out_, slopes_.begin());
}

void FirstConvolution::run(const Kernels& kernels, ThreadPool& pool, const float* image,
                           FeatureMap& out) const {
  const int height = out.height(), width = out.width(), groups = groups_of(in_ * kTaps);
  const std::size_t group = std::size_t(kPixels) * kGroup, size = group * groups;
  Buffer scratch = Buffer::zeros(size * pool.size());
  Epilogue epilogue;
  epilogue.bias = bias_.data();
  epilogue.slopes = slopes_.empty() ? nullptr : slopes_.data();
  pool.run(height, [&](int y, int thread) {
    float* neighborhoods = scratch.data() + thread * size;
    for (int x = 0; x < width; x += kPixels) {
      const int count = std::min(kPixels, width - x);
      for (int i = 0; i < count; ++i) {
        int k = 0;
        for (int dy = -1; dy <= 1; ++dy)
          for (int dx = -1; dx <= 1; ++dx) {
            const int v = y + dy, u = x + i + dx;
            const bool inside = v >= 0 && v < height && u >= 0 && u < width;
            for (int c = 0; c < in_; ++c, ++k)
              neighborhoods[k / kGroup * group + i * kGroup + k % kGroup] =
                  inside ? image[(std::size_t(c) * height + v) * width + u] : 0.f;
          }
      }
      float* target = out.at(y) + std::size_t(x) * kGroup;
      kernels.multiply({neighborhoods, group, groups, weights_.data(), target, out.group_stride(),
                        out.groups(), count});
      for (int panel = 0; panel < out.groups(); ++panel)
        kernels.finish(target + panel * out.group_stride(), count, epilogue, panel);
    }
  });
}

LastConvolution::LastConvolution(const Parameters& p)
    : in_groups_(groups_of(p.in)),
      out_(p.out),
      taps_per_panel_(kGroup / p.out),
      panels_((kTaps + taps_per_panel_ - 1) / taps_per_panel_),
      weights_(std::size_t(panels_) * in_groups_ * kGroup * kGroup),
      bias_(p.bias, p.bias + p.out) {
  const std::size_t depth = std::size_t(in_groups_) * kGroup;
  for (int out = 0; out < out_; ++out)
    for (int in = 0; in < p.in; ++in)
      for (int tap = 0; tap < kTaps; ++tap)
        weights_[(tap / taps_per_panel_ * depth + in) * kGroup + tap % taps_per_panel_ * out_ +
                 out] = p.weight[(std::size_t(out) * p.in + in) * kTaps + tap];
}

void LastConvolution::run(const Kernels& kernels, ThreadPool& pool, const FeatureMap& in, int rows,
                          const std::function<void(int end)>& produce, float* image) const {
  const int height = in.height();
  FeatureMap parts(panels_ * kGroup, height, in.width(), rows + 2);
  for (int begin = 0; begin < height; begin += rows) {
    const int end = std::min(height, begin + rows);
    produce(end);
    pool.run(end - begin, [&](int i, int) { multiply_row(kernels, in, begin + i, parts); });
    // A row waits for the one below it.
    const int first = std::max(0, begin - 1), last = end == height ? end : end - 1;
    pool.run(last - first, [&](int i, int) { sum_row(parts, first + i, image); });
  }
}

void LastConvolution::multiply_row(const Kernels& kernels, const FeatureMap& in, int y,
                                   FeatureMap& parts) const {
  for (int x = 0; x < in.width(); x += kPixels)
    kernels.multiply({in.at(y) + std::size_t(x) * kGroup, in.group_stride(), in_groups_,
                      weights_.data(), parts.at(y) + std::size_t(x) * kGroup, parts.group_stride(),
                      panels_, std::min(kPixels, in.width() - x), std::size_t(kPixels) * kGroup});
}

void LastConvolution::sum_row(const FeatureMap& parts, int y, float* image) const {
  const int height = parts.height(), width = parts.width();
  const float* taps[kTaps];  // at column 0; column -1 is zero, and so is the one after the last
  for (int tap = 0; tap < kTaps; ++tap)
    taps[tap] = parts.data() + tap / taps_per_panel_ * parts.group_stride() +
                parts.row(y + tap / 3 - 1) + tap % taps_per_panel_ * out_ + (tap % 3 - 1) * kGroup;
  for (int x = 0; x < width; ++x) {
    float sums[kGroup];
    for (int c = 0; c < out_; ++c) sums[c] = bias_[c];
    for (int tap = 0; tap < kTaps; ++tap)
      for (int c = 0; c < out_; ++c) sums[c] += taps[tap][std::size_t(x) * kGroup + c];
    for (int c = 0; c < out_; ++c) image[(std::size_t(c) * height + y) * width + x] = sums[c];
  }
}

}  // namespace torch_sr
