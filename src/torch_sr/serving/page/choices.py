"""What a visitor chooses on the page -> an UpscaleRequest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from torch_sr.models.weights import find_pair
from torch_sr.serving.errors import RequestError
from torch_sr.serving.offers import OfferedModel
from torch_sr.serving.requests import UpscaleRequest

FORMATS = {
    "As the image": "",
    "PNG": "png",
    "JPEG": "jpg",
    "WebP": "webp",
    "AVIF": "avif",
    "TIFF": "tif",
}
USUAL_QUALITY = 95  # on the page; the file's format decides what that is
_NAMES = {"scale": "The factor", "width": "The width", "height": "The height"}
_WITH_QUALITY = ("", "jpg", "webp", "avif")


def distinct(offers: Iterable[OfferedModel]) -> list[OfferedModel]:
    """The models to choose from: of a pair only the first, because the strength does the rest."""
    pairs, kept = [], []
    for model in offers:
        pair = find_pair(model.source)
        if pair is None or pair not in pairs:
            kept.append(model)
            pairs.append(pair)
    return kept


def sizes(model: OfferedModel) -> dict[str, str]:
    """The ways to choose the size of a result, as they are called."""
    return {
        f"{model.scale_factor} times": "model",
        "Another factor": "factor",
        "Width or height in pixels": "pixels",
    }


def to_request(
    model: OfferedModel,
    *,
    strength: float,
    size: str,
    factor: float | None,
    width: float | None,
    height: float | None,
    file_format: str,
    quality: float | None,
    keep_damaged: bool,
) -> UpscaleRequest:
    """Check the choices; a program could send others than the page offers.

    Raises:
        RequestError: something is missing or impossible.
    """
    values: dict[str, Any] = {"model": model.name, "format": file_format or None}
    if model.default_strength is not None:
        values["strength"] = strength
    if size == "factor":
        values["scale"] = _needed(factor, "Enter a factor")
    elif size == "pixels":
        values |= {"width": width or None, "height": height or None}
        _needed(width or height, "Enter a width or a height")
    if file_format in _WITH_QUALITY:
        values["quality"] = None if quality == USUAL_QUALITY else quality
    if keep_damaged:
        values["damaged"] = "keep"
    try:
        return UpscaleRequest(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise RequestError(
            f"{_NAMES.get(name, f'The {name}')}: {first['msg'].lower()}", field=name
        ) from error


def _needed(value: float | None, message: str) -> float:
    if not value:
        raise RequestError(message, field="size")
    return value
