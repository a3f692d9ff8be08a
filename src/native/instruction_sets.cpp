#include "instruction_sets.h"

#include <stdexcept>

#if defined(__x86_64__)
namespace torch_sr_avx512 {
extern const torch_sr::Kernels kKernels;
}
namespace torch_sr_avx2 {
extern const torch_sr::Kernels kKernels;
}
#elif defined(__aarch64__)
namespace torch_sr_neon {
extern const torch_sr::Kernels kKernels;
}
#endif
namespace torch_sr_portable {
extern const torch_sr::Kernels kKernels;
}

namespace torch_sr {

namespace {

std::vector<const Kernels*> detect() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    found.push_back(&torch_sr_avx512::kKernels);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back(&torch_sr_avx2::kKernels);
#elif defined(__aarch64__)
  found.push_back(&torch_sr_neon::kKernels);  // part of every 64-bit ARM
#endif
  found.push_back(&torch_sr_portable::kKernels);
  return found;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = detect();
  return found;
}

const Kernels& find_kernels(const std::string& name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return *kernels;
  throw std::invalid_argument("this processor does not have the instruction set " + name);
}

}  // namespace torch_sr
