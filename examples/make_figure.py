"""Draw the README's picture, low resolution, bicubic, compact-x4 and the original, and a sheet.

Run from the root of the repository; needs the ``dev`` extra for scikit-image's picture of the cat
Chelsea (Stéfan van der Walt, CC0). It writes ``cat.png``, the input of the README's first command,
and ``comparison.png``, and ``docs/sheet.png``, as ``torch-sr test -o`` draws it.
"""

from pathlib import Path

import numpy as np
import torch
from skimage.data import chelsea

from torch_sr import Upscaler
from torch_sr.data.resize import downscale, imresize
from torch_sr.evaluation.evaluate import Comparison
from torch_sr.evaluation.figures import draw_sheet
from torch_sr.images import Image, to_nchw, write_image
from torch_sr.metrics import measure

FOLDER = Path(__file__).parent
SCALE = 4
DETAIL = (slice(36, 212), slice(96, 304))
GAP = 8


def main() -> None:
    """Write the pictures."""
    hr = np.ascontiguousarray(chelsea()[:300, :448])
    lr = downscale(hr, SCALE)
    write_image(FOLDER / "cat.png", Image.from_array(lr))
    squares = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    results = {"bicubic": imresize(lr, SCALE), "compact-x4": Upscaler("compact-x4").upscale(lr)}
    views = [squares, *results.values(), hr]
    details = [view[DETAIL] for view in views]
    gap = np.full((details[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    strip = [part for detail in details for part in (detail, gap)][:-1]
    write_image(FOLDER / "comparison.png", Image.from_array(np.concatenate(strip, axis=1)))
    metrics = {name: score(sr, hr) for name, sr in results.items()}
    sheet = draw_sheet(Comparison("cat", "examples/cat", lr, hr, results, metrics))
    write_image(FOLDER.parent / "docs" / "sheet.png", Image.from_array(sheet))


def score(sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM under the protocol of the papers."""
    return measure(*(torch.from_numpy(to_nchw(image)) for image in (sr, hr)), SCALE)


if __name__ == "__main__":
    main()
