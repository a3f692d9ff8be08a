// A feature map, of which some or all rows are in memory.

#pragma once

#include <algorithm>

#include "buffer.h"
#include "kernels/kernels.h"

namespace torch_sr {

inline int groups_of(int channels) { return (channels + kGroup - 1) / kGroup; }

// Layout [group][row][column][16]. Row y is in slot y % slots. One more slot and one more column
// are zero, and stand for everything outside the image; so no loop knows about borders. Column -1
// of a row is the zero column of the row before it.
class FeatureMap {
 public:
  FeatureMap() = default;

  // slots: how many rows are kept; by default all.
  FeatureMap(int channels, int height, int width, int slots = 0)
      : groups_(groups_of(channels)),
        height_(height),
        width_(width),
        slots_(slots > 0 ? std::min(slots, height) : height),
        row_(stride_of(width)),
        group_(row_ * (slots_ + 1)),
        data_(kGroup + group_ * groups_) {
    clear_borders();
  }

  // A map of the same shape, with or without the same values.
  FeatureMap empty_copy() const { return FeatureMap(groups_ * kGroup, height_, width_, slots_); }
  FeatureMap copy() const {
    FeatureMap other = empty_copy();
    std::memcpy(other.data_.data(), data_.data(), data_.size() * sizeof(float));
    return other;
  }

  int groups() const { return groups_; }
  int height() const { return height_; }
  int width() const { return width_; }
  std::size_t group_stride() const { return group_; }

  float* data() { return data_.data() + kGroup; }
  const float* data() const { return data_.data() + kGroup; }
  float* at(int y) { return data() + row(y); }
  const float* at(int y) const { return data() + row(y); }

  // Offset of a row in its group; outside the image, of the zero row.
  std::size_t row(int y) const { return row_ * (y < 0 || y >= height_ ? slots_ : y % slots_); }

  // Offset of a column in its row; outside the image, of the zero column.
  std::size_t column(int x) const {
    return std::size_t(kGroup) * (x < 0 || x >= width_ ? width_ : x);
  }

 private:
  void clear_borders() {
    std::memset(data_.data(), 0, kGroup * sizeof(float));  // column -1 of the first row
    for (int g = 0; g < groups_; ++g) {
      float* group = data() + g * group_;
      for (int slot = 0; slot < slots_; ++slot) {
        const std::size_t end = row_ * slot + std::size_t(kGroup) * width_;
        std::memset(group + end, 0, (row_ * (slot + 1) - end) * sizeof(float));
      }
      std::memset(group + row_ * slots_, 0, row_ * sizeof(float));
    }
  }

  static std::size_t stride_of(int width) {
    const std::size_t columns = std::size_t(width) + 1;
    // Rows at a distance of 4 KiB would compete for the same lines of the L1 cache.
    return kGroup * (columns % 64 == 0 ? columns + 1 : columns);
  }

  int groups_ = 0, height_ = 0, width_ = 0, slots_ = 0;
  std::size_t row_ = 0, group_ = 0;
  Buffer data_;
};

}  // namespace torch_sr
