"""Make LR with the flaws of real photographs: blur, noise, compression.

The second-order pipeline of Real-ESRGAN (Wang et al. 2021, https://arxiv.org/abs/2107.10833,
section 3). Every part is a function of its arguments, including the random generator; there is no
global state. Colors are float32 in [0, 1] unless stated otherwise.
"""

from torch_sr.data.degradation.pipeline import Degradation
from torch_sr.data.degradation.sharpening import sharpen

__all__ = ["Degradation", "sharpen"]
