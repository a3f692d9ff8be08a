"""What is done to a crop before the network sees it: the description's spatial and hard transforms.

The spatial ones turn LR and HR alike and are views of the pixels; the hard ones, made by
Albumentations (Buslaev et al. 2020, https://doi.org/10.3390/info11020125), spoil LR alone. All
draw from the generator they are given and keep no random state, so a sample stays a function of
its key. Albumentations is imported here alone, and only where a transform of its is asked for.
"""

from __future__ import annotations

import json
import os
import random
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torch_sr.aliases import Array
from torch_sr.errors import ConfigError

Spatial = Literal["described", "dihedral", "none"]
Orientation = tuple[bool, bool, bool]
"""Whether rows are reversed, then columns, then both swapped."""

JPEG_QUALITY = (65, 100)
"""Of a compression, on libjpeg's scale; like the two below as in enhanced-srgan's ``train.py``."""
HOLES = 8
HOLE_SIDE = 2
"""Squares that a coarse dropout blanks, and their side in low-resolution pixels."""
TRIES = 16
"""Draws that a user's pipeline is tried with before the training."""


def draw_orientation(spatial: Spatial, rng: np.random.Generator) -> Orientation:
    """Choose how a crop lies.

    Args:
        spatial: "described" leaves half of the crops as they are and does one of two things to the
            others: a flip with 0.25 probability, of rows, of columns or of both alike, or a
            transpose with 0.75; "dihedral" takes each of the eight flips and rotations equally
            often; "none" draws nothing.
        rng: the sample's own.
    """
    if spatial == "none":
        return False, False, False
    if spatial == "dihedral":
        rows, columns, transpose = rng.random(3) < 0.5
        return bool(rows), bool(columns), bool(transpose)
    if rng.random() >= 0.5:
        return False, False, False
    if rng.random() < 0.75:
        return False, False, True
    flips = ((True, False, False), (False, True, False), (True, True, False))
    return flips[rng.integers(3)]


def orient(image: Array, orientation: Orientation) -> Array:
    """Turn an image ``(H, W, C)``: a view, ``(W, H, C)`` where it is transposed."""
    rows, columns, transpose = orientation
    image = image[::-1] if rows else image
    image = image[:, ::-1] if columns else image
    return image.transpose(1, 0, 2) if transpose else image


def restore(image: Array, orientation: Orientation) -> Array:
    """The inverse of :func:`orient`, also a view."""
    rows, columns, transpose = orientation
    image = image.transpose(1, 0, 2) if transpose else image
    return orient(image, (rows, columns, False))


class HardTransforms:
    """Spoil low-resolution crops at random, so that the network learns to mend them.

    Args:
        compression: probability of a JPEG compression; alpha is not compressed.
        coarse_dropout: probability that 8 squares of 2x2 pixels become black (and transparent).
        pipeline: JSON or YAML file written by ``albumentations.save``, applied after those two. Its
            transforms must leave the crop's shape, and should leave every pixel where it is.

    Raises:
        ConfigError: when the pipeline cannot be read, or holds what is no transform of
            Albumentations.
    """

    def __init__(
        self, compression: float = 0.0, coarse_dropout: float = 0.0, pipeline: str | None = None
    ) -> None:
        self.pipeline = pipeline
        self._compression = self._dropout = self._own = None
        if compression:
            a = _albumentations()
            jpeg = a.ImageCompression(quality_range=JPEG_QUALITY, p=compression)
            self._compression = a.Compose([jpeg])
        if coarse_dropout:
            a = _albumentations()
            side = (HOLE_SIDE, HOLE_SIDE)
            holes = a.CoarseDropout(
                num_holes_range=(HOLES, HOLES),
                hole_height_range=side,
                hole_width_range=side,
                p=coarse_dropout,
            )
            self._dropout = a.Compose([holes])
        if pipeline is not None:
            self._own = load_pipeline(pipeline)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return any((self._compression, self._dropout, self._own))

    def __call__(self, lr: Array, rng: np.random.Generator) -> Array:
        """Return a spoilt copy of ``(H, W, C)`` uint8, a function of ``lr`` and ``rng`` alone.

        Raises:
            ConfigError: when the pipeline fails, or changes the crop's shape or type.
        """
        # One stream for all: set_random_seed would give every transform the same numbers, and the
        # two hard ones would always come together.
        state = rng, random.Random(int(rng.integers(2**63)))
        lr = lr.copy()  # the cache is read-only, and some transforms write into their input
        if self._compression:
            self._compression.set_random_state(*state)
            colours = lr[..., 2::-1] if lr.shape[2] > 1 else lr  # OpenCV's order is BGR
            colours[...] = self._compression(image=np.ascontiguousarray(colours))["image"]
        if self._dropout:
            self._dropout.set_random_state(*state)
            lr = self._dropout(image=lr)["image"]
        if self._own:
            self._own.set_random_state(*state)
            lr = self._apply_own(lr)
        return lr

    def try_on(self, lr: Array) -> None:
        """Apply the pipeline some times, so that one that does not fit fails at the start."""
        for seed in range(TRIES if self.pipeline is not None else 0):
            self(lr, np.random.default_rng(seed))

    def _apply_own(self, lr: Array) -> Array:
        assert self._own is not None
        try:
            spoilt = self._own(image=lr)["image"]
        except Exception as error:
            raise _refusal(self.pipeline, f"fails on {_describe(lr)}: {_words(error)}") from error
        if not isinstance(spoilt, np.ndarray) or _describe(spoilt) != _describe(lr):
            raise _refusal(
                self.pipeline,
                f"makes {_describe(spoilt)} of {_describe(lr)}; it must keep shape and type",
            )
        return spoilt


def load_pipeline(path: str | Path) -> Any:
    """Read what ``albumentations.save`` wrote: YAML where the file's name says so, else JSON.

    Only transforms that Albumentations itself defines are made; no code comes out of the file.

    Raises:
        ConfigError: in one line, with the file and the reason.
    """
    a = _albumentations()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(path, "is not UTF-8 text") from error
    except ValueError as error:  # such as a null character in the path
        raise _refusal(path, f"cannot be read: {error}") from error
    try:
        data = _parse(text, is_yaml=Path(path).suffix.lower() in {".yaml", ".yml"})
        _check_classes(data["transform"])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it only warns of unknown arguments
            pipeline = a.from_dict(data)
            return pipeline if isinstance(pipeline, a.Compose) else a.Compose([pipeline])
    except (KeyError, TypeError) as error:
        raise _refusal(path, f"is not what albumentations.save writes: {_words(error)}") from error
    except Exception as error:  # whatever its transforms say about their arguments
        raise _refusal(path, f"holds no usable pipeline: {_words(error)}") from error


def _parse(text: str, is_yaml: bool) -> Any:
    if not is_yaml:
        return json.loads(text)
    import yaml  # as Albumentations does

    return yaml.safe_load(text)


def _check_classes(transform: Any) -> None:
    """Refuse what is no transform of Albumentations itself, down to the innermost."""
    from albumentations.core.composition import BaseCompose
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY, shorten_class_name
    from albumentations.core.transforms_interface import BasicTransform

    name = transform["__class_fullname__"]
    made = SERIALIZABLE_REGISTRY.get(shorten_class_name(name))
    own = made is not None and made.__module__.partition(".")[0] == "albumentations"
    if not own or not issubclass(made, BaseCompose | BasicTransform):
        raise ValueError(f"{name} is no transform of Albumentations that a file can hold")
    for inner in transform.get("transforms", ()):
        _check_classes(inner)


def _albumentations() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the internet on import
    import albumentations

    return albumentations


def _describe(image: Any) -> str:
    shape = "x".join(str(side) for side in getattr(image, "shape", ()))
    return f"{shape} {getattr(image, 'dtype', type(image).__name__)}"


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _refusal(path: str | Path | None, reason: str) -> ConfigError:
    return ConfigError(f"augmentation pipeline {path}: {reason}")
