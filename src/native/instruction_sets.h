// The instruction sets that this processor has, with their kernels.

#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace torch_sr {

// Those that this processor has, the fastest first; the last is "portable".
const std::vector<const Kernels*>& available_kernels();

// Throws std::invalid_argument if this processor does not have the instruction set.
const Kernels& find_kernels(const std::string& name);

}  // namespace torch_sr
