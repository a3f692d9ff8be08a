// The kernels for NEON.

#define TARGET torch_sr_neon
#define TARGET_NAME "neon"
#include "table.h"
