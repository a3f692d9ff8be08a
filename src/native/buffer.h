// Memory for floats, aligned to cache lines.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace torch_sr {

class Buffer {
 public:
  Buffer() = default;

  // Uninitialized; throws std::bad_alloc.
  explicit Buffer(std::size_t floats) : size_(floats) {
    const std::size_t bytes = (floats * sizeof(float) + kLine - 1) / kLine * kLine;
    data_.reset(static_cast<float*>(std::aligned_alloc(kLine, bytes ? bytes : kLine)));
    if (!data_) throw std::bad_alloc();
  }

  static Buffer zeros(std::size_t floats) {
    Buffer buffer(floats);
    std::memset(buffer.data(), 0, floats * sizeof(float));
    return buffer;
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kLine = 64;
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace torch_sr
