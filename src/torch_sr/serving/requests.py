"""What a client may ask for: model, size, format and quality of a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from torch_sr.images import WriteOptions
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.sizes import target_size
from torch_sr.serving.errors import RequestError

FORMATS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "tif": "image/tiff",
    "gif": "image/gif",
}
"""The formats of results, by the option ``format``, and their media types."""
_LARGEST_SIDE = 1_000_000


class UpscaleRequest(BaseModel):
    """The options of a request; all of them may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[
        str | None,
        Field(
            max_length=200,
            description="One of the models that `GET /v1/models` lists; by default its first.",
            examples=["compact-x4"],
        ),
    ] = None
    strength: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="From 0 (faithful) to 1 (restoring), for models with a default strength.",
            examples=[0.7],
        ),
    ] = None
    scale: Annotated[
        float | None,
        Field(
            gt=0,
            le=64,
            description="Resample the result to this multiple of the source's size.",
            examples=[2],
        ),
    ] = None
    width: Annotated[
        int | None,
        Field(
            ge=1,
            le=_LARGEST_SIDE,
            description="Resample to this width; without `height`, in proportion.",
        ),
    ] = None
    height: Annotated[
        int | None,
        Field(
            ge=1,
            le=_LARGEST_SIDE,
            description="Resample to this height; without `width`, in proportion.",
        ),
    ] = None
    format: Annotated[
        Literal["png", "jpg", "webp", "avif", "tif", "gif"] | None,
        Field(
            description="Format of the result; by default that of the source, or PNG if it is "
            "only read."
        ),
    ] = None
    quality: Annotated[
        int | None, Field(ge=1, le=100, description="Quality of JPEG, WebP and AVIF.")
    ] = None
    lossless: Annotated[bool, Field(description="Write WebP or AVIF without loss.")] = False
    tta: Annotated[
        bool,
        Field(description="Average over the eight flips and rotations; eight times slower."),
    ] = False
    damaged: Annotated[
        Literal["refuse", "keep"],
        Field(
            description="Refuse damaged images, or keep what can be read and fill the rest with "
            "gray."
        ),
    ] = "refuse"

    def batch_options(self, max_pixels: int) -> BatchOptions:
        """The options of the file's conversion.

        Raises:
            RequestError: options contradict each other.
        """
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise RequestError(
                "scale and a width or height were given",
                field="scale",
                value=self.scale,
                remedy="give one of them",
            )
        return BatchOptions(
            write=WriteOptions(self.format, self.quality, self.lossless),
            size=target_size(self.scale, self.width, self.height),
            existing="overwrite",
            max_pixels=max_pixels,
            damaged=self.damaged,
        )
