// The table of functions of one instruction set.

#pragma once

#include "multiply.h"
#include "transforms.h"

namespace TARGET {

template <class F>
static constexpr torch_sr::WinogradKernels winograd_kernels() {
  return {F::kInputs, F::kOutputs, transform_input<F>, transform_output<F>, transform_weights<F>};
}

extern const torch_sr::Kernels kKernels;
const torch_sr::Kernels kKernels = {
    TARGET_NAME, winograd_kernels<F4>(), winograd_kernels<F6>(), multiply, finish,
};

}  // namespace TARGET
