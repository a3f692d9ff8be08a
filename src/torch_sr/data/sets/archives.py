"""The archives of known data sets: addresses and hashes.

The hashes are those with which other programs check the same files: torchSR (DIV2K and the EDSR
benchmarks), Catalyst (DIV2K and Flickr2K) and enhanced-srgan (BSDS500).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import DataError

_ETHZ = ("http://data.vision.ee.ethz.ch/cvl/DIV2K", "https://data.vision.ee.ethz.ch/cvl/DIV2K")
_SNU = ("https://cv.snu.ac.kr/research/EDSR", "http://cv.snu.ac.kr/research/EDSR")
_BERKELEY = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR",
    "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR",
)


@dataclass(frozen=True)
class Archive:
    """A published file and its contents.

    Args:
        name: the file name.
        servers: URLs of the folders in which it is published; the original first.
        digest: ``md5:…`` or ``sha256:…``.
        folder: where it is unpacked, relative to the data root.
        holds: folder below ``folder`` that exists and is not empty once the archive is unpacked.
        num_bytes: size of the file, if known.
    """

    name: str
    servers: tuple[str, ...]
    digest: str
    folder: str
    holds: str
    num_bytes: int | None = None

    @property
    def urls(self) -> list[str]:
        """Its addresses, the original first."""
        return [f"{server}/{self.name}" for server in self.servers]

    def is_unpacked(self, data_root: Path) -> bool:
        """Whether its contents are below the data root."""
        folder = data_root / self.folder / self.holds
        return folder.is_dir() and any(folder.iterdir())


_DIV2K_MD5 = {
    "DIV2K_train_HR": "bdc2d9338d4e574fe81bf7d158758658",
    "DIV2K_train_LR_bicubic_X2": "9a637d2ef4db0d0a81182be37fb00692",
    "DIV2K_train_LR_bicubic_X3": "ad80b9fe40c049a07a8a6c51bfab3b6d",
    "DIV2K_train_LR_bicubic_X4": "76c43ec4155851901ebbe8339846d93d",
    "DIV2K_train_LR_unknown_X2": "1396d023072c9aaeb999c28b81315233",
    "DIV2K_train_LR_unknown_X3": "4e651308aaa54d917fb1264395b7f6fa",
    "DIV2K_train_LR_unknown_X4": "e3c7febb1b3f78bd30f9ba15fe8e3956",
    "DIV2K_train_LR_x8": "613db1b855721b3d2b26f4194a1d22a6",
    "DIV2K_train_LR_mild": "807b3e3a5156f35bd3a86c5bbfb674bc",
    "DIV2K_train_LR_difficult": "5a8f2b9e0c5f5ed0dac271c1293662f4",
    "DIV2K_train_LR_wild": "d00982366bffee7c4739ba7ff1316b3b",
    "DIV2K_valid_HR": "9fcdda83005c5e5997799b69f955ff88",
    "DIV2K_valid_LR_bicubic_X2": "1512c9a3f7bde2a1a21a73044e46b9cb",
    "DIV2K_valid_LR_bicubic_X3": "18b1d310f9f88c13618c287927b29898",
    "DIV2K_valid_LR_bicubic_X4": "21962de700c8d368c6ff83314480eff0",
    "DIV2K_valid_LR_unknown_X2": "d319bd9033573d21de5395e6454f34f8",
    "DIV2K_valid_LR_unknown_X3": "05184168e3608b5c539fbfb46bcade4f",
    "DIV2K_valid_LR_unknown_X4": "8ac3413102bb3d0adc67012efb8a6c94",
    "DIV2K_valid_LR_x8": "c5aeea2004e297e9ff3abfbe143576a5",
    "DIV2K_valid_LR_mild": "8c433f812ca532eed62c11ec0de08370",
    "DIV2K_valid_LR_difficult": "1620af11bf82996bc94df655cb6490fe",
    "DIV2K_valid_LR_wild": "aacae8db6bec39151ca5bb9c80bf2f6c",
}
_BENCHMARKS = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100": "Urban100"}
_BY_HAND = {
    "manga109": (
        "Manga109 is only available from its authors, on request: http://www.manga109.org; "
        "put its pages into benchmark/Manga109/HR"
    ),
    "lsdir": (
        "LSDIR is only available from its authors, on request: https://ofsoundof.github.io/"
        "lsdir-data; put it into LSDIR/HR/train and LSDIR/HR/val, low resolution into LSDIR/X4/…"
    ),
}


def archives_of(name: str, scale_factor: int, split: str | None = None) -> list[Archive]:
    """The archives of a data set.

    Args:
        name: a row of :data:`~torch_sr.data.sets.table.DATASETS`.
        scale_factor: between the two resolutions; if no low resolution is published for it, only
            the high resolution is listed.
        split: a split of that row; all by default.

    Raises:
        DataError: the data set is unknown, or cannot be downloaded automatically.
    """
    if name in _BY_HAND:
        raise DataError(_BY_HAND[name])
    if name == "bsds500":
        digest = "md5:0b17383ff0b21fe43d2f28e624203169"
        holds = "BSR/BSDS500/data/images/test"
        return [Archive("BSR_bsds500.tgz", _BERKELEY, digest, "", holds, 70_763_455)]
    if name == "flickr2k":
        digest = "md5:5d3f39443d5e9489bff8963f8f26cb03"
        return [Archive("Flickr2K.tar", _SNU, digest, "", "Flickr2K/Flickr2K_HR")]
    if name in _BENCHMARKS:
        digest = "md5:4ace41d33c2384b97e6b320cd0afd6ba"
        holds = f"benchmark/{_BENCHMARKS[name]}/HR"
        return [Archive("benchmark.tar", _SNU, digest, "", holds)]
    base, _, track = name.partition("-")
    if base != "div2k":
        raise DataError(
            f"data set {name!r} cannot be downloaded; choose from {', '.join(DOWNLOADABLE)}"
        )
    parts = {"train": "train", "val": "valid"}
    chosen = [parts[split]] if split else list(parts.values())
    stems = [
        stem
        for part in chosen
        for stem in (
            f"DIV2K_{part}_HR",
            _div2k_low_resolution(part, track or "bicubic", scale_factor),
        )
    ]
    return [_div2k_archive(stem) for stem in stems if stem in _DIV2K_MD5]


DOWNLOADABLE = (
    *("div2k", "div2k-unknown", "div2k-mild", "div2k-difficult", "div2k-wild"),
    *("bsds500", "flickr2k", *_BENCHMARKS),
)
"""The data sets that have archives."""


def _div2k_low_resolution(part: str, track: str, scale_factor: int) -> str:
    if track in ("bicubic", "unknown") and scale_factor != 8:
        return f"DIV2K_{part}_LR_{track}_X{scale_factor}"
    return f"DIV2K_{part}_LR_{'x8' if track == 'bicubic' else track}"


def _div2k_archive(stem: str) -> Archive:
    # DIV2K_train_LR_bicubic_X4.zip contains the folder DIV2K_train_LR_bicubic/X4.
    holds = re.sub(r"_(X[234])$", r"/\1", stem)
    size = 3_530_603_713 if stem == "DIV2K_train_HR" else None
    return Archive(f"{stem}.zip", _ETHZ, f"md5:{_DIV2K_MD5[stem]}", "DIV2K", holds, size)
