"""Print tables of what each file format keeps of a source, from real results.

Sources with every property are made (with ``--photos``, also taken from a folder). Each is
super-resolved into each format by an engine that only repeats pixels. The results are read by
Pillow, a program other than the one that wrote them, unless it does not support their bit depth.
Run with::

    python benchmarks/formats.py --photos ../shared/data/photos
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms, IptcImagePlugin, PngImagePlugin

from torch_sr import Upscaler
from torch_sr.images import Image, WriteOptions, read_image, write_image

FORMATS = ["png", "jpg", "webp", "tif", "avif", "gif"]
RNG = np.random.default_rng(0)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6" tiff:ImageWidth="30"/></rdf:RDF></x:xmpmeta>'
)


class Repeat:
    """An engine that makes of each pixel a square."""

    scale_factor = 2
    img_channels = 3
    tile_area = 400
    tiles_redone = 0

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return lr.repeat(2, 2).repeat(2, 3)


def main() -> None:
    """Print the table, and what became of the photographs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="a folder of real files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(make_table(Path(folder)))
        if options.photos:
            print()
            print(make_photo_table(options.photos, Path(folder)))


def make_table(folder: Path) -> str:
    """The table of properties by formats, as Markdown."""
    lines = ["| | " + " | ".join(name.upper() for name in FORMATS) + " |"]
    lines.append("|---" * (len(FORMATS) + 1) + "|")
    for name, (make, look) in PROPERTIES.items():
        source = make(folder)
        cells = []
        for suffix in FORMATS:
            target = enlarge(source, folder / f"result.{suffix}")
            cells.append(look(target, source))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def make_photo_table(photos: Path, folder: Path) -> str:
    """Real files, each into its own format: what it was and what it is."""
    lines = ["| file | size | channels | bits | ICC | result |", "|---|---|---|---|---|---|"]
    for source in sorted(photos.iterdir()):
        before = read_image(source)
        after = read_image(enlarge(source, folder / f"photo{source.suffix}"))
        same = (
            after.color.shape[:2] == (2 * before.height, 2 * before.width)
            and after.channels == before.channels
            and (after.alpha is None) == (before.alpha is None)
            and (after.depth, after.metadata.icc) == (before.depth, before.metadata.icc)
        )
        channels = before.channels + (before.alpha is not None)
        lines.append(
            f"| {source.name} | {before.width}x{before.height} | {channels} | {before.depth} | "
            f"{'yes' if before.metadata.icc else 'no'} | {'all kept' if same else 'CHANGED'} |"
        )
    return "\n".join(lines)


def enlarge(source: Path, target: Path) -> Path:
    """Super-resolve, without loss where the format can."""
    lossless = target.suffix in (".webp", ".avif")
    options = WriteOptions(lossless=lossless)
    return Upscaler(Repeat(), overlap=2).upscale_file(
        source, target, options=options, overwrite=True
    )


# --- Sources ------------------------------------------------------------------------------------


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Noise on a coarse grid, which JPEG keeps too."""
    top = np.iinfo(dtype).max
    return RNG.integers(0, top, shape, dtype=dtype, endpoint=True)


def plain(channels: int, dtype: type = np.uint8, alpha: bool = False) -> Callable[[Path], Path]:
    """A function that makes an image of this kind."""

    def make(folder: Path) -> Path:
        if dtype is np.float32:
            color = RNG.random((20, 30, channels), dtype=np.float32)
        else:
            color = noise(20, 30, channels, dtype=dtype)
        opacity = np.maximum(noise(20, 30, dtype=np.uint8), 1) if alpha else None
        return write_image(folder / "source.tif", Image(color, opacity))

    return make


def tagged(folder: Path) -> Path:
    """A JPEG on its side with a profile, EXIF with a thumbnail's place, XMP and a resolution."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    inner = exif.get_ifd(0x8769)
    inner[0xA002], inner[0xA003], inner[0x9003] = 30, 20, "2020:01:01 00:00:00"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = folder / "tagged.jpg"
    Pillow.fromarray(noise(20, 30, 3)).save(
        path, exif=exif, icc_profile=icc, xmp=XMP, dpi=(300, 300), quality=95
    )
    return path


def described(folder: Path) -> Path:
    """A PNG with texts, as image generators store their parameters."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "A tree")
    info.add_itxt("parameters", "a tree, 木, Steps: 20")
    path = folder / "described.png"
    Pillow.fromarray(noise(20, 30, 3)).save(path, pnginfo=info)
    return path


def commented(folder: Path) -> Path:
    """A JPEG with a comment and IPTC."""
    path = folder / "commented.jpg"
    Pillow.fromarray(noise(20, 30, 3)).save(path, comment=b"A tree")
    records = b"\x1c\x02\x78\x00\x05Hello"
    resource = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records
    block = b"Photoshop 3.0\0" + resource
    data = path.read_bytes()
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block
    path.write_bytes(data[:2] + segment + data[2:])
    return path


def bare(folder: Path) -> Path:
    """A PNG of pixels alone."""
    path = folder / "bare.png"
    Pillow.fromarray(noise(20, 30, 3)).save(path)
    return path


def cmyk(folder: Path) -> Path:
    """Four inks, without a profile."""
    path = folder / "cmyk.tif"
    Pillow.fromarray(np.full((20, 30, 4), (0, 255, 255, 0), np.uint8), "CMYK").save(path)
    return path


def palette(folder: Path) -> Path:
    """A PNG of indexed colors, one of them transparent."""
    path = folder / "palette.png"
    palette = Pillow.fromarray(noise(20, 30, 3)).quantize(16)
    palette.save(path, transparency=3)
    return path


def animated(folder: Path) -> Path:
    """Three frames of different length."""
    frames = [Pillow.fromarray(noise(20, 30, 3)) for _ in range(3)]
    path = folder / "animated.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[50, 100, 150], loop=2)
    return path


def pages(folder: Path) -> Path:
    """A document of two pages."""
    path = folder / "pages.tif"
    tifffile.imwrite(path, noise(2, 20, 30, 3), photometric="rgb")
    return path


# --- Looking ------------------------------------------------------------------------------------


def pixels(path: Path) -> np.ndarray:
    """By Pillow, where it knows so many bits; by ours where not."""
    ours = read_image(path).to_array()
    if ours.dtype != np.uint8:  # of these Pillow keeps eight bits
        return ours
    with Pillow.open(path) as image:
        if image.mode == "P":
            return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
        return np.atleast_3d(np.asarray(image))


def bits(path: Path, source: Path) -> str:
    """How many of the source's bits are there."""
    result = pixels(path)
    if result.dtype == np.float32:
        return "yes"
    if path.suffix == ".gif":
        return "256 colors"
    if result.dtype == np.uint16:
        wanted = read_image(source)
        levels = len(np.unique(result))
        return (
            "yes"
            if wanted.depth == 16 and levels > 1000 and path.suffix != ".avif"
            else ("12 bit" if path.suffix == ".avif" else "16 bit")
        )
    return "yes" if read_image(source).depth == 8 else "8 bit"


def gray(path: Path, source: Path) -> str:
    """Whether one channel is left one."""
    return "yes" if pixels(path).shape[2] == 1 else "as RGB"


def opacity(path: Path, source: Path) -> str:
    """Whether there is a channel of opacity."""
    layers = pixels(path).shape[2]
    if layers == 4:
        return "on or off" if path.suffix == ".gif" else "yes"
    return "on white" if layers == 3 else "no"


def has(name: str) -> Callable[[Path, Path], str]:
    """A look at one of the things that travel along."""

    def look(path: Path, source: Path) -> str:
        with Pillow.open(path) as image:
            exif = image.getexif()
            inner = exif.get_ifd(0x8769)
            found: dict[str, Any] = {
                "icc": image.info.get("icc_profile"),
                "exif": inner.get(0x9003),
                "size": (inner.get(0xA002), inner.get(0xA003)) == image.size,
                "upright": image.size == (40, 60) and exif.get(0x0112, 1) == 1,
                "dpi": round(image.info.get("dpi", (0, 0))[0]) == 300 or exif.get(0x011A) == 300,
                "frames": getattr(image, "n_frames", 1) > 1,
            }
            return "yes" if found[name] else "no"

    return look


def text(path: Path, source: Path) -> str:
    """Whether both texts are there."""
    with Pillow.open(path) as image:
        image.load()
        found = image.info.get("Title"), image.info.get("parameters")
    return "yes" if found == ("A tree", "a tree, 木, Steps: 20") else "no"


def comment(path: Path, source: Path) -> str:
    """Whether the comment is there, or a text of that name."""
    with Pillow.open(path) as image:
        image.load()
        found = image.info.get("comment") or image.info.get("Comment")
    return {b"A tree": "yes", "A tree": "as text"}.get(found, "no")


def iptc(path: Path, source: Path) -> str:
    """Whether IPTC's records are there."""
    with Pillow.open(path) as image:
        found = IptcImagePlugin.getiptcinfo(image) or {}
    return "yes" if found.get((2, 120)) == b"Hello" else "no"


def added_metadata(path: Path, source: Path) -> str:
    """Whether the result has EXIF, a resolution or a comment that the source does not have."""
    with Pillow.open(path) as image:
        exif = set(image.getexif())
        image.load()
        info = {"exif", "comment", "icc_profile"} & set(image.info)
        resolution = {"dpi", "jfif_unit"} & {key for key, value in image.info.items() if value}
    if path.suffix == ".tif":  # whose tags Pillow takes for EXIF, and (1, 1) for none
        return "yes" if exif & {282, 283, 296, 34665} else "nothing"
    return "yes" if exif or info or resolution else "nothing"


def times(path: Path, source: Path) -> str:
    """Whether frames are shown as long, and as often."""
    found = [timeline(file) for file in (source, path)]
    return "yes" if found[0] == found[1] else "no"


def timeline(path: Path) -> tuple[list[float], int]:
    """Milliseconds of each frame, and how often the animation is shown; 0: for ever."""
    with Pillow.open(path) as image:
        delays = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            delays.append(float(image.info.get("duration") or 0))
        plays = int(image.info.get("loop", 1))
    return delays, plays + (path.suffix == ".gif" and plays > 0)  # which counts repetitions


def has_xmp(path: Path, source: Path) -> str:
    """Whether XMP is there, with the new size."""
    with Pillow.open(path) as image:
        text = str(image.info.get("XML:com.adobe.xmp", ""))  # which PNG compresses
    found = 'tiff:ImageWidth="40"' in text or b'tiff:ImageWidth="40"' in path.read_bytes()
    return "yes" if found else "no"


def red(path: Path, source: Path) -> str:
    """Whether magenta and yellow make red."""
    r, g, b = pixels(path)[0, 0, :3].astype(int)
    return "to sRGB" if r > 180 and max(g, b) < 80 else "no"


def matches(path: Path, source: Path) -> str:
    """Whether colors and transparency are those of the indexed image."""
    wanted = np.asarray(Pillow.open(source).convert("RGBA")).repeat(2, 0).repeat(2, 1)
    found = np.asarray(Pillow.open(path).convert("RGBA"))
    seen = wanted[..., 3] > 0
    close = np.abs(found.astype(int) - wanted)[seen].max() <= 3
    return "yes" if close and (found[..., 3] > 0)[~seen].max(initial=0) == 0 else "on white"


PROPERTIES: dict[str, tuple[Callable[[Path], Path], Callable[[Path, Path], str]]] = {
    "8 bit": (plain(3), bits),
    "16 bit": (plain(3, np.uint16), bits),
    "float": (plain(3, np.float32), bits),
    "gray": (plain(1), gray),
    "alpha": (plain(3, alpha=True), opacity),
    "palette with transparency": (palette, matches),
    "CMYK": (cmyk, red),
    "orientation applied, tag reset": (tagged, has("upright")),
    "ICC profile": (tagged, has("icc")),
    "EXIF": (tagged, has("exif")),
    "size in EXIF corrected": (tagged, has("size")),
    "XMP, corrected": (tagged, has_xmp),
    "DPI": (tagged, has("dpi")),
    "IPTC": (commented, iptc),
    "comment": (commented, comment),
    "text of PNG": (described, text),
    "metadata that the source does not have": (bare, added_metadata),
    "frames of an animation": (animated, has("frames")),
    "their times, the number of plays": (animated, times),
    "pages of a document": (pages, has("frames")),
}


if __name__ == "__main__":
    main()
