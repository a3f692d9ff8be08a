// The kernels for AVX2.

#define TARGET torch_sr_avx2
#define TARGET_NAME "avx2"
#include "table.h"
