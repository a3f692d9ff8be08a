#include "convolution.h"

#include "feature_map.h"

namespace torch_sr {

namespace {

constexpr int kTaps = 9;

int sum_of_groups(const std::vector<int>& segments) {
  int groups = 0;
  for (const int channels : segments) groups += groups_of(channels);
  return groups;
}

// The pixel, relative to its own, that a pixel of an enlarged image is taken from.
int source_offset(int phase, int tap, int factor) {
  return (phase + tap - 1 + factor) / factor - 1;  // rounded down
}

}  // namespace

Convolution::Convolution(int out_channels, int in_groups, int factor)
    : out_channels_(out_channels),
      in_groups_(in_groups),
      factor_(factor),
      panels_(groups_of(out_channels) * factor * factor),
      weights_(std::size_t(panels_) * in_groups * kGroup * kTaps * kGroup),
      bias_(std::size_t(panels_) * kGroup) {}

Convolution::Convolution(const Parameters& p, const std::vector<int>& segments)
    : Convolution(p.out, sum_of_groups(segments), 1) {
  for (int out = 0; out < p.out; ++out) {
    bias_[out] = p.bias[out];
    const float* source = p.weight + std::size_t(out) * p.in * kTaps;
    int first = 0;
    for (const int channels : segments) {
      for (int c = 0; c < channels; ++c, source += kTaps) {
        float* target = weights(0, out, first + c);
        for (int tap = 0; tap < kTaps; ++tap) target[tap * kGroup] = source[tap];
      }
      first += groups_of(channels) * kGroup;
    }
  }
}

Convolution Convolution::subpixel(const Parameters& p, int factor) {
  const int phases = factor * factor, out_channels = p.out / phases;
  Convolution conv(out_channels, groups_of(p.in), factor);
  for (int out = 0; out < p.out; ++out) {
    const int phase = out % phases, channel = out / phases;
    conv.bias_[std::size_t(phase) * groups_of(out_channels) * kGroup + channel] = p.bias[out];
    for (int in = 0; in < p.in; ++in) {
      const float* source = p.weight + (std::size_t(out) * p.in + in) * kTaps;
      float* target = conv.weights(phase, channel, in);
      for (int tap = 0; tap < kTaps; ++tap) target[tap * kGroup] = source[tap];
    }
  }
  return conv;
}

Convolution Convolution::upsampling(const Parameters& p, int factor) {
  Convolution conv(p.out, groups_of(p.in), factor);
  for (int phase = 0; phase < factor * factor; ++phase) {
    for (int out = 0; out < p.out; ++out) {
      conv.bias_[std::size_t(phase) * groups_of(p.out) * kGroup + out] = p.bias[out];
      for (int in = 0; in < p.in; ++in) {
        const float* source = p.weight + (std::size_t(out) * p.in + in) * kTaps;
        float* target = conv.weights(phase, out, in);
        for (int tap = 0; tap < kTaps; ++tap) {
          const int dy = source_offset(phase / factor, tap / 3, factor);
          const int dx = source_offset(phase % factor, tap % 3, factor);
          target[((dy + 1) * 3 + dx + 1) * kGroup] += source[tap];
        }
      }
    }
  }
  return conv;
}

float* Convolution::weights(int phase, int out, int in) {
  const int panel = phase * groups_of(out_channels_) + out / kGroup;
  const std::size_t channels = std::size_t(in_groups_) * kGroup;
  return weights_.data() + (panel * channels + in) * kTaps * kGroup + out % kGroup;
}

void Convolution::set_slopes(float slope) { slopes_.assign(bias_.size(), slope); }

void Convolution::set_slopes(const float* slopes) {
  slopes_.assign(bias_.size(), 0.f);
  for (int phase = 0; phase < factor_ * factor_; ++phase)
    for (int out = 0; out < out_channels_; ++out)
      slopes_[std::size_t(phase) * groups_of(out_channels_) * kGroup + out] = slopes[out];
}

Epilogue Convolution::epilogue() const {
  Epilogue epilogue;
  epilogue.bias = bias_.data();
  epilogue.slopes = slopes_.empty() ? nullptr : slopes_.data();
  return epilogue;
}

std::size_t Convolution::transformed_size(const WinogradKernels& winograd) const {
  return std::size_t(winograd.inputs) * winograd.inputs * panels_ * in_groups_ * kGroup * kGroup;
}

void Convolution::transform(const WinogradKernels& winograd, ThreadPool& pool,
                            float* transformed) const {
  const std::size_t position = std::size_t(panels_) * in_groups_ * kGroup * kGroup;
  pool.run(panels_ * in_groups_, [&](int item, int) {
    const std::size_t first = std::size_t(item) * kGroup;
    for (std::size_t channel = first; channel < first + kGroup; ++channel)
      winograd.transform_weights(weights_.data() + channel * kTaps * kGroup,
                                 transformed + channel * kGroup, position);
  });
}

}  // namespace torch_sr
