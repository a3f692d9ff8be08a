"""Augment crops: flip and transpose both images, degrade LR.

Flips and transposes return views of the pixels. Albumentations (Buslaev et al. 2020,
https://doi.org/10.3390/info11020125) compresses LR, blanks squares of it, or applies a custom
pipeline. All draw from the random generator that they are given and have no random state, so that a
sample is a function of its key. Albumentations is only imported here, and only if it is used.
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

Spatial = Literal["flip_or_transpose", "dihedral", "none"]
Orientation = tuple[bool, bool, bool]
"""Whether rows are reversed, whether columns are reversed, and whether both are then swapped."""

JPEG_QUALITY = (65, 100)
"""Range of the quality on libjpeg's scale; this and the next two values are enhanced-srgan's."""
HOLES = 8
HOLE_SIDE = 2
"""Number of squares that a coarse dropout blanks, and their side in LR pixels."""
TRIES = 16
"""Number of random draws with which a custom pipeline is tested before the training."""


def draw_orientation(spatial: Spatial, rng: np.random.Generator) -> Orientation:
    """Draw the orientation of a crop.

    Args:
        spatial: "flip_or_transpose" leaves half of the crops as they are, transposes three quarters
            of the others, and flips a quarter: rows, columns or both; "dihedral" takes each of the
            eight flips and rotations equally often; "none" draws nothing.
        rng: the random generator of the sample.
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
    """Flip and transpose an image ``(H, W, C)``; a view, ``(W, H, C)`` if it is transposed."""
    rows, columns, transpose = orientation
    image = image[::-1] if rows else image
    image = image[:, ::-1] if columns else image
    return image.transpose(1, 0, 2) if transpose else image


def restore(image: Array, orientation: Orientation) -> Array:
    """The inverse of :func:`orient`; also a view."""
    rows, columns, transpose = orientation
    image = image.transpose(1, 0, 2) if transpose else image
    return orient(image, (rows, columns, False))


class HardTransforms:
    """Degrade LR crops at random, so that the network learns to restore them.

    Args:
        compression: probability of a JPEG compression; alpha is not compressed.
        coarse_dropout: probability that 8 squares of 2x2 pixels become black (and transparent).
        pipeline: JSON or YAML file written by ``albumentations.save``, applied after those two. Its
            transforms must not change the shape of the crop, and should not move pixels.

    Raises:
        ConfigError: the pipeline cannot be read, or contains anything other than transforms
            of Albumentations.
    """

    def __init__(
        self, compression: float = 0.0, coarse_dropout: float = 0.0, pipeline: str | None = None
    ) -> None:
        self.pipeline = pipeline
        self._compression = self._dropout = self._custom = None
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
            self._custom = load_pipeline(pipeline)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return any((self._compression, self._dropout, self._custom))

    def __call__(self, lr: Array, rng: np.random.Generator) -> Array:
        """Return a degraded copy of ``(H, W, C)`` uint8 that depends only on ``lr`` and ``rng``.

        Raises:
            ConfigError: the pipeline fails, or changes the crop's shape or type.
        """
        # One stream for all: with set_random_seed, every transform would draw the same numbers, so
        # compression and dropout would always be applied together.
        state = rng, random.Random(int(rng.integers(2**63)))
        lr = lr.copy()  # the cache is read-only, and some transforms write into their input
        if self._compression:
            self._compression.set_random_state(*state)
            colors = lr[..., 2::-1] if lr.shape[2] > 1 else lr  # OpenCV's order is BGR
            colors[...] = self._compression(image=np.ascontiguousarray(colors))["image"]
        if self._dropout:
            self._dropout.set_random_state(*state)
            lr = self._dropout(image=lr)["image"]
        if self._custom:
            self._custom.set_random_state(*state)
            lr = self._apply_custom(lr)
        return lr

    def dry_run(self, lr: Array) -> None:
        """Apply the pipeline several times, so that an unsuitable one fails before the training."""
        for seed in range(TRIES if self.pipeline is not None else 0):
            self(lr, np.random.default_rng(seed))

    def _apply_custom(self, lr: Array) -> Array:
        assert self._custom is not None
        try:
            augmented = self._custom(image=lr)["image"]
        except Exception as error:
            raise _pipeline_error(
                self.pipeline, f"fails on {_describe(lr)}: {_one_line(error)}"
            ) from error
        if not isinstance(augmented, np.ndarray) or _describe(augmented) != _describe(lr):
            raise _pipeline_error(
                self.pipeline,
                f"must keep shape and type; it turns {_describe(lr)} into {_describe(augmented)}",
            )
        return augmented


def load_pipeline(path: str | Path) -> Any:
    """Read a file written by ``albumentations.save``: YAML or JSON, by its suffix.

    Only transforms that Albumentations itself defines are created; no code is read from the file.

    Raises:
        ConfigError: the file cannot be read, or is not such a pipeline.
    """
    a = _albumentations()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _pipeline_error(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _pipeline_error(path, "is not UTF-8 text") from error
    except ValueError as error:  # such as a null character in the path
        raise _pipeline_error(path, f"cannot be read: {error}") from error
    try:
        data = _parse(text, is_yaml=Path(path).suffix.lower() in {".yaml", ".yml"})
        _check_classes(data["transform"])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # unknown arguments only cause a warning
            pipeline = a.from_dict(data)
            return pipeline if isinstance(pipeline, a.Compose) else a.Compose([pipeline])
    except (KeyError, TypeError) as error:
        raise _pipeline_error(
            path, f"was not written by albumentations.save: {_one_line(error)}"
        ) from error
    except Exception as error:  # its transforms may raise anything about their arguments
        raise _pipeline_error(
            path, f"does not contain a usable pipeline: {_one_line(error)}"
        ) from error


def _parse(text: str, is_yaml: bool) -> Any:
    if not is_yaml:
        return json.loads(text)
    import yaml  # as Albumentations does

    return yaml.safe_load(text)


def _check_classes(transform: Any) -> None:
    """Refuse everything except transforms of Albumentations, including nested ones."""
    from albumentations.core.composition import BaseCompose
    from albumentations.core.serialization import SERIALIZABLE_REGISTRY, shorten_class_name
    from albumentations.core.transforms_interface import BasicTransform

    name = transform["__class_fullname__"]
    found = SERIALIZABLE_REGISTRY.get(shorten_class_name(name))
    is_own = found is not None and found.__module__.partition(".")[0] == "albumentations"
    if not is_own or not issubclass(found, BaseCompose | BasicTransform):
        raise ValueError(f"{name} is not a transform of Albumentations that a file can contain")
    for inner in transform.get("transforms", ()):
        _check_classes(inner)


def _albumentations() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would use the network
    import albumentations

    return albumentations


def _describe(image: Any) -> str:
    shape = "x".join(str(side) for side in getattr(image, "shape", ()))
    return f"{shape} {getattr(image, 'dtype', type(image).__name__)}"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _pipeline_error(path: str | Path | None, reason: str) -> ConfigError:
    return ConfigError(f"augmentation pipeline {path}: {reason}")
