"""Low resolution that looks like ordinary photographs: blurred, noisy and compressed twice.

The second-order pipeline of Real-ESRGAN (Wang et al. 2021, https://arxiv.org/abs/2107.10833,
section 3). Every part is a function of its arguments and of the generator it is given; nothing
is global. Colours are computed as float32 in [0, 1], where not said otherwise, by OpenCV and NumPy.
"""

from torch_sr.data.degradation.pipeline import Degradation
from torch_sr.data.degradation.sharpening import sharpen

__all__ = ["Degradation", "sharpen"]
