"""Make training targets with a larger model, the teacher, for distillation.

Reads pairs written by ``torch-sr data degrade`` (``LR`` and ``HR``), super-resolves each LR with
the teacher, and writes ``LR`` and ``HR`` of another data set, whose HR is the teacher's output. Its
low-frequency colors are replaced by those of the original, because teachers shift colors:
Real-ESRGAN x4plus by 1 level of 255 on average, and by 7 on some images. Run with::

    torch-sr data degrade bsds500:train+test data/pairs --config config.json --crop 256
    python scripts/teacher_targets.py data/pairs data/taught --model realesrgan-x4plus

A second run only makes missing files; ``--shard 1/2`` and ``2/2`` divide the work.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np

from torch_sr import Upscaler
from torch_sr.aliases import Bytes
from torch_sr.errors import DataError, TorchSRError
from torch_sr.images import Image, read_image, write_image

_SIGMA = 12  # of the blur, in pixels of HR: three pixels of LR at x4


def main() -> None:
    """Read the pairs, and write pairs with the teacher's targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="folder with LR and HR")
    parser.add_argument("out", type=Path, help="folder to write LR and HR to")
    parser.add_argument("--model", default="realesrgan-x4plus", help="the teacher: name or file")
    parser.add_argument("--device", default="auto", help="such as cuda or cpu")
    parser.add_argument("--shard", type=_shard, default="1/1", help="only each N-th image: I/N")
    options = parser.parse_args()
    files = sorted((options.pairs / "LR").glob("*.png"))
    if not files:
        parser.error(f"{options.pairs / 'LR'}: no PNG files; write them with torch-sr data degrade")
    try:
        for folder in ("LR", "HR"):
            (options.out / folder).mkdir(parents=True, exist_ok=True)
        teacher = Upscaler(options.model, device=options.device, border=0)
        for lr in files[options.shard]:
            _teach(teacher, lr, options.pairs / "HR" / lr.name, options.out)
    except (TorchSRError, OSError) as error:
        parser.error(str(error))


def _shard(text: str) -> slice:
    """Every N-th file, starting with the I-th."""
    number, _, shards = text.partition("/")
    if not (number.isdigit() and shards.isdigit() and 1 <= int(number) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r}: write I/N, such as 1/2 and 2/2")
    return slice(int(number) - 1, None, int(shards))


def _teach(teacher: Upscaler, lr: Path, hr: Path, out: Path) -> None:
    target = out / "HR" / lr.name
    if target.exists():
        return
    made, original = teacher.upscale(read_image(lr).color), read_image(hr).color
    if made.shape != original.shape:
        raise DataError(
            f"{hr}: write the pairs again, or choose another teacher: its size is not that of the "
            f"teacher's result for {lr}"
        )
    shutil.copyfile(lr, out / "LR" / lr.name)  # first: a pair with HR is complete
    write_image(target, Image.from_array(with_colors_of(made, original)))
    print(target, flush=True)


def with_colors_of(image: Bytes, original: Bytes) -> Bytes:
    """Combine the details of one image with the low-frequency colors of another, ``(H, W, C)``."""
    difference = original.astype(np.float32) - image
    wide = cv2.GaussianBlur(difference, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)
    mixed = image + wide.reshape(image.shape)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
