"""Draw the README's picture: low resolution, bicubic, compact-x4, and the original.

Run from the root of the repository; needs the ``dev`` extra for scikit-image's picture of the cat
Chelsea (Stéfan van der Walt, CC0). It writes ``cat.png``, the input of the README's first command,
and ``comparison.png``.
"""

from pathlib import Path

import numpy as np
from skimage.data import chelsea

from torch_sr import Upscaler
from torch_sr.data.resize import downscale, imresize
from torch_sr.images import Image, write_image

FOLDER = Path(__file__).parent
SCALE = 4
DETAIL = (slice(36, 212), slice(96, 304))
GAP = 8


def main() -> None:
    """Write both pictures."""
    hr = np.ascontiguousarray(chelsea()[:300, :448])
    lr = downscale(hr, SCALE)
    write_image(FOLDER / "cat.png", Image.from_array(lr))
    squares = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    views = [squares, imresize(lr, SCALE), Upscaler("compact-x4").upscale(lr), hr]
    details = [view[DETAIL] for view in views]
    gap = np.full((details[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    strip = [part for detail in details for part in (detail, gap)][:-1]
    write_image(FOLDER / "comparison.png", Image.from_array(np.concatenate(strip, axis=1)))


if __name__ == "__main__":
    main()
