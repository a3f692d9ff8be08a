"""Read JPEG quality, camera, time and color profile of a file."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

_JPEG_LUMA_SUM = 3688  # of the table in annex K.1 of ITU-T T.81
_SRGB = re.compile(r"srgb|61966-2|^c2$|^urgb$", re.IGNORECASE)  # c2, uRGB: compact forms of it


def jpeg_quality(path: Path) -> float | None:
    """The quality of a JPEG file on libjpeg's scale; None for other files.

    It is the quality for which libjpeg's ``jpeg_quality_scaling`` produces the first quantization
    table of the file.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".jpe", ".jfif"):
        return None
    from PIL import Image as PillowImage
    from PIL.JpegImagePlugin import JpegImageFile

    with suppress(Exception), PillowImage.open(path) as file:  # reads only the header
        if isinstance(file, JpegImageFile):
            scale = 100 * float(sum(file.quantization[0])) / _JPEG_LUMA_SUM
            return (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return None


def camera_and_time(exif: bytes | None) -> tuple[str, float | None]:
    """The camera and the time of a photograph in seconds; ``""`` and None if EXIF has no time.

    The tags are Model, DateTimeOriginal and SubSecTimeOriginal of EXIF 2.3.
    """
    if exif is None:
        return "", None
    from PIL import Image as PillowImage

    with suppress(Exception):  # EXIF may be damaged in any way
        tags = PillowImage.Exif()
        tags.load(exif)
        inner = tags.get_ifd(0x8769)
        moment = datetime.strptime(str(inner[0x9003]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        fraction = float("0." + (re.sub(r"\D", "", str(inner.get(0x9291, ""))) or "0"))
        return str(tags.get(0x0110, "")), moment.replace(tzinfo=timezone.utc).timestamp() + fraction
    return "", None


def unusual_profile(icc: bytes | None) -> str:
    """The name of an RGB profile other than sRGB; empty for sRGB, gray and damaged profiles."""
    if icc is None or icc[16:20] != b"RGB ":
        return ""
    from PIL import ImageCms

    with suppress(ImageCms.PyCMSError, OSError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = ImageCms.getProfileDescription(profile).strip()
        return "" if _SRGB.search(name) else name
    return ""
