// The kernels for any processor.

#define TARGET torch_sr_portable
#define TARGET_NAME "portable"
#include "table.h"
