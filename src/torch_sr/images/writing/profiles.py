"""Apply ICC profiles that a format cannot hold: the colors become sRGB."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from torch_sr.images.image import profile_fits
from torch_sr.images.vips import libvips

_LEVELS = 2  # of 255; sRGB profiles of different makers differ by this much


def to_srgb(image: Any, icc: bytes | None, channels: int) -> Any:
    """Convert gray or RGB, stored as RGB, from its profile to sRGB.

    Args:
        image: of libvips, RGB with or without alpha, 8 or 16 bits.
        icc: the profile; it is ignored if it is damaged or for other channels.
        channels: 1 if the three channels are the same gray.
    """
    if not icc or not profile_fits(icc, channels) or (channels == 3 and means_srgb(icc)):
        return image
    vips, deep = libvips(), image.format == "ushort"
    names = ("grey16", "rgb16") if deep else ("b-w", "srgb")
    color = image[0] if channels == 1 else image.extract_band(0, n=3)
    color = color.copy(interpretation=names[channels == 3])
    color.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
    try:
        color = color.icc_transform("srgb", embedded=True, depth=16 if deep else 8).copy()
    except vips.Error:
        return image
    color.remove("icc-profile-data")
    return color.bandjoin(image[3]) if image.bands == 4 else color


@functools.lru_cache(16)
def means_srgb(icc: bytes) -> bool:
    """Whether an RGB profile is sRGB, up to differences that are not visible."""
    vips = libvips()
    cube = np.mgrid[0:256:51, 0:256:51, 0:256:51].reshape(3, 1, -1).transpose(1, 2, 0)
    cube = np.ascontiguousarray(cube, dtype=np.uint8)
    image = vips.Image.new_from_array(cube, interpretation="srgb")
    image.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
    try:
        found = image.icc_transform("srgb", embedded=True).numpy()
    except vips.Error:
        return True
    return bool(np.abs(found.astype(int) - cube).max() <= _LEVELS)
