"""Video codecs, the containers that hold them, and encoder settings.

All use x264's quality scale: 0 is lossless if the codec can be, 51 the worst. x265 gets 4 more
(libx265 at 28 looks like libx264 at 23, https://trac.ffmpeg.org/wiki/Encode/H.265), SVT-AV1 the
same share of its own range of 63, libvpx the number itself; ProRes and FFV1 need none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch_sr.errors import ImageError
from torch_sr.inference.video.containers import CONTAINERS
from torch_sr.inference.video.hdr import SideData
from torch_sr.inference.video.opening import pyav

_BY_DEFAULT = {".mkv": "h264", ".mov": "h264", ".mp4": "h264", ".webm": "vp9"}


@dataclass(frozen=True)
class Codec:
    """A codec and what it can hold.

    Args:
        name: for users.
        encoder: ffmpeg's name.
        suffixes: of the containers that can hold it.
        segment_container: ffmpeg's name of the container for segments, which must keep times.
        sources: ffmpeg's decoders of the sources whose results use this codec too.
        interlaced: whether its stream can hold fields.
        shape: whether its stream itself stores the pixel aspect ratio.
    """

    name: str
    encoder: str
    suffixes: tuple[str, ...]
    segment_container: str = "mp4"
    sources: frozenset[str] = field(default_factory=frozenset)
    interlaced: bool = False
    shape: bool = True

    @property
    def formats(self) -> list[str]:
        """The pixel formats that it accepts."""
        codec = pyav().codec.Codec(self.encoder, "w")
        return [kind.name for kind in codec.video_formats or []]


_LOSSLESS = (
    "ffv1 ffvhuff huffyuv utvideo magicyuv lagarith rawvideo png qtrle v210 v410 r210 r10k apng "
    "flashsv flashsv2 zlib tscc tscc2 camstudio fraps snow dirac hymt vble wrapped_avframe"
)
CODECS = {
    "h264": Codec("H.264", "libx264", (".mp4", ".mkv", ".mov"), interlaced=True),
    "hevc": Codec(
        "HEVC", "libx265", (".mp4", ".mkv", ".mov"), sources=frozenset({"hevc", "vvc", "libvvdec"})
    ),
    "av1": Codec(
        "AV1",
        "libsvtav1",
        (".mp4", ".mkv", ".webm"),
        sources=frozenset({"av1", "libdav1d", "libaom-av1"}),
        shape=False,
    ),
    "ffv1": Codec(
        "FFV1",
        "ffv1",
        (".mkv",),
        segment_container="nut",
        sources=frozenset(_LOSSLESS.split()),
        interlaced=True,
        shape=False,
    ),
    "prores": Codec(
        "ProRes",
        "prores_ks",
        (".mov", ".mkv"),
        segment_container="mov",
        sources=frozenset({"prores", "prores_raw"}),
        interlaced=True,
        shape=False,
    ),
    "vp9": Codec("VP9", "libvpx-vp9", (".webm", ".mkv", ".mp4"), shape=False),
}
"""By the names that users give."""


def check_codec(suffix: str, codec: str | None) -> None:
    """Raise an :class:`ImageError` if the container is unknown or cannot hold the codec."""
    if suffix not in CONTAINERS:
        raise ImageError(f"write .mp4, .mkv, .mov or .webm: '{suffix}' is not supported")
    if codec is None:
        return
    if codec not in CODECS:
        raise ImageError(f"use one of {', '.join(CODECS)}: '{codec}' is not supported")
    if suffix not in CODECS[codec].suffixes:
        fitting = [name for name, other in CODECS.items() if suffix in other.suffixes]
        raise ImageError(
            f"use {_either(CODECS[codec].suffixes)}, or --codec {_either(fitting)}: "
            f"'{suffix}' cannot hold {CODECS[codec].name}"
        )
    if CODECS[codec].encoder not in pyav().codecs_available:
        raise ImageError(
            f"install PyAV from PyPI, or use another --codec: the one here has no encoder for "
            f"{CODECS[codec].name} ({CODECS[codec].encoder})"
        )


def choose_codec(suffix: str, codec: str | None, source: str, bits: int) -> tuple[Codec, str]:
    """The requested codec, or that of the source if the container can hold it.

    Args:
        suffix: of the target.
        codec: a key of :data:`CODECS`.
        source: ffmpeg's name of the source's decoder.
        bits: of a sample of the source.

    Returns:
        The codec, and a note if a lossless source gets a lossy codec.
    """
    check_codec(suffix, codec)
    if codec is not None:
        return CODECS[codec], ""
    wanted = next((name for name, other in CODECS.items() if source in other.sources), None)
    available = pyav().codecs_available
    if wanted and suffix in CODECS[wanted].suffixes and CODECS[wanted].encoder in available:
        return CODECS[wanted], ""
    name = _BY_DEFAULT[suffix]
    if name == "vp9" and bits > 8 and CODECS["av1"].encoder in available:
        name = "av1"  # libvpx is built for 8 bits only
    note = ""
    if wanted == "ffv1" and source != "rawvideo":
        note = f"the source is lossless, {CODECS[name].name} in {suffix} is not; .mkv gets FFV1"
    return CODECS[name], note


def keep_fields(codec: Codec, suffix: str, *, asked: bool) -> Codec:
    """A codec that can hold fields: this one, or H.264 if none was requested.

    Raises:
        ImageError: the container has no such codec.
    """
    if codec.interlaced:
        return codec
    names = [name for name, c in CODECS.items() if c.interlaced and suffix in c.suffixes]
    if "h264" in names and not asked:
        return CODECS["h264"]
    other = f"--codec {_either(names)}" if names else "another container, such as .mkv"
    raise ImageError(f"use {other}, or omit --no-deinterlace: {codec.name} cannot hold fields")


def choose_format(codec: Codec, chroma: str, bits: int, height: int, width: int) -> str:
    """The pixel format nearest to the source's.

    Args:
        codec: of the result.
        chroma: 420, 422 or 444; odd sizes get 444.
        bits: of a sample.
        height, width: of the result.
    """
    odd = (height % 2 and chroma == "420") or (width % 2 and chroma != "444")
    order = ["444", "422", "420"] if odd or chroma == "444" else [chroma, "422", "444", "420"]
    if codec.encoder == "libsvtav1":
        order = ["420"]
    formats = codec.formats
    depths = sorted((8, 9, 10, 12, 14, 16), key=lambda depth: (depth < bits, abs(depth - bits)))
    for kind in order:
        for depth in depths:
            name = f"yuv{kind}p" + (f"{depth}le" if depth > 8 else "")
            if name in formats:
                return name
    return formats[0]


def options(codec: Codec, crf: int, pixel_format: str, side_data: SideData) -> dict[str, str]:
    """The options of the encoder."""
    display, level = side_data.display, side_data.light_level
    light = f"{level[0]},{level[1]}" if level else ""
    if codec.encoder == "libx264":
        settings = {"mastering-display": display.integers() if display else "", "cll": light}
        return {"qp" if crf == 0 else "crf": str(crf), "x264-params": _joined(settings)}
    if codec.encoder == "libx265":
        settings = {"log-level": "none", "info": "0", "open-gop": "0", "lossless": "1" * (crf == 0)}
        settings |= {"master-display": display.integers() if display else "", "max-cll": light}
        return {"crf": str(min(51, crf + 4)), "x265-params": _joined(settings)}
    if codec.encoder == "libsvtav1":
        settings = {"lossless": "1" * (crf == 0), "content-light": light}
        settings |= {"mastering-display": display.decimals() if display else ""}
        return {"crf": str(max(1, round(crf * 63 / 51))), "svtav1-params": _joined(settings)}
    if codec.encoder == "libvpx-vp9":
        settings = {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
        return settings | {"auto-alt-ref": "0", "lag-in-frames": "0", "lossless": f"{crf == 0:d}"}
    if codec.encoder == "prores_ks":
        return {"profile": "4" if "444" in pixel_format else "3", "vendor": "apl0"}
    return {"level": "3", "slicecrc": "1"}


def _joined(settings: dict[str, str]) -> str:
    return ":".join(f"{name}={value}" for name, value in settings.items() if value)


def _either(names: tuple[str, ...] | list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
