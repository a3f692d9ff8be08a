"""Type aliases that modules share: arrays, pixels, stages and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:  # at run time the aliases stay strings: a download does not need numpy
    import os

    import numpy as np
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Floats: TypeAlias = "npt.NDArray[np.float32]"
Doubles: TypeAlias = "npt.NDArray[np.float64]"
Bytes: TypeAlias = "npt.NDArray[np.uint8]"
Pixels: TypeAlias = "npt.NDArray[Any]"  # (H, W, C), of uint8, uint16 or float32

StageName: TypeAlias = Literal["pretraining", "training"]  # in order, as in a configuration

PathLike: TypeAlias = "str | os.PathLike[str]"

Progress: TypeAlias = Callable[[int, int], None]  # (done, total)
OpenProgress: TypeAlias = Callable[[int, int | None], None]  # the total is None while unknown
OnDownload: TypeAlias = Callable[[str, int, int | None], None]  # (what, done, total or None)
OnNote: TypeAlias = Callable[[str], None]  # called with a note for the user
