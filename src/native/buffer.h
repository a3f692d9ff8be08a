// Memory for floats, aligned to cache lines.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace torch_sr {

class Buffer {
 public:
  Buffer() = default;

  // Uninitialized; throws std::bad_alloc.
  explicit Buffer(std::size_t floats) : size_(floats) {
    const std::size_t wanted = floats * sizeof(float);
    const std::size_t alignment = wanted < kHugePage ? kLine : kHugePage;
    const std::size_t bytes = (wanted / alignment + 1) * alignment;
    data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    // Fewer page faults, and fewer misses where the addresses of pages are cached. Only a request.
    if (alignment == kHugePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
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
  static constexpr std::size_t kLine = 64, kHugePage = std::size_t(2) << 20;
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace torch_sr
