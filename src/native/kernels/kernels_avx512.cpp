// The kernels for AVX-512.

#define TARGET torch_sr_avx512
#define TARGET_NAME "avx512"
#include "table.h"
