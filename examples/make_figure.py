"""Draw the README's figure from ``dahlia.jpg``, and ``docs/images/sheet.png``.

Run from the root of the repository. The sheet is drawn as by ``torch-sr test -o``, from the
photograph of the cat Chelsea (Stéfan van der Walt, CC0) in scikit-image (``dev`` extra).

``dahlia.jpg`` is a photograph by vultilion (https://www.flickr.com/photos/vultilion/6056698931,
CC BY 2.0), which scikit-learn ships as ``flower.jpg``. It was reduced to 213x142 pixels by Pillow's
Lanczos filter and saved as JPEG of quality 60, like a small photograph on the web.
"""

from pathlib import Path

import numpy as np
import torch
from skimage.data import chelsea

from torch_sr import Upscaler
from torch_sr.data.resize import downscale, imresize
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.presentation.sheets import draw_sheet
from torch_sr.images import Image, read_image, to_nchw, write_image
from torch_sr.metrics import measure

FOLDER = Path(__file__).parent
SCALE = 4
DETAIL = (slice(64, 364), slice(230, 530))
GAP = 8


def main() -> None:
    """Write the pictures."""
    draw_comparison(read_image(FOLDER / "dahlia.jpg").color)
    hr = np.ascontiguousarray(chelsea()[:300, :448])
    lr = downscale(hr, SCALE)
    results = {"bicubic": imresize(lr, SCALE), "compact-x4": Upscaler("compact-x4").upscale(lr)}
    metrics = {name: score(sr, hr) for name, sr in results.items()}
    sheet = draw_sheet(Comparison("cat", "cat", lr, hr, results, metrics))
    write_image(FOLDER.parent / "docs" / "images" / "sheet.png", Image.from_array(sheet))


def draw_comparison(lr: np.ndarray) -> None:
    """Details of a picture's pixels, of bicubic interpolation and of the default, side by side."""
    squares = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    details = [view[DETAIL] for view in (squares, imresize(lr, SCALE), Upscaler().upscale(lr))]
    gap = np.full((details[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    strip = [part for detail in details for part in (detail, gap)][:-1]
    write_image(FOLDER / "comparison.png", Image.from_array(np.concatenate(strip, axis=1)))


def score(sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM under the protocol of the papers."""
    return measure(*(torch.from_numpy(to_nchw(image)) for image in (sr, hr)), SCALE)


if __name__ == "__main__":
    main()
