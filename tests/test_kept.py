"""Each property of each kind of source, into each format: kept, or reported in a note.

Sources are made, and results are read, by Pillow, tifffile and NumPy.
"""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms, IptcImagePlugin, PngImagePlugin

from torch_sr import Upscaler
from torch_sr.images import Header, Image, ImageReader, open_writer, read_image, write_image

TARGETS = ["png", "jpg", "webp", "tif", "avif", "gif"]
RNG = np.random.default_rng(3)
SAMPLE = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
NOISE = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:ImageWidth="10" dc:title="Tree"/></x:xmpmeta>'
IIM = b"\x1c\x02\x78\x00\x05Hello"  # 2:120, the caption
P3 = bytes(
    pyvips.Image.black(1, 1, bands=3)
    .copy(interpretation="srgb")
    .icc_transform("p3", input_profile="srgb")
    .get("icc-profile-data")
)


class Repeat:
    """An engine that makes of each pixel a square."""

    scale_factor = 2
    img_channels = 3
    tile_area = 10_000
    tiles_redone = 0

    def __call__(self, lr):
        return lr.repeat(2, 2).repeat(2, 3)


def enlarge(source, suffix, **options):
    notes = []
    target = source.with_name(f"result.{suffix}")
    Upscaler(Repeat(), overlap=2).upscale_file(
        source, target, on_note=notes.append, overwrite=True, **options
    )
    assert len(set(notes)) == len(notes)
    return target, notes


def chunks(path):
    data, place, found = path.read_bytes(), 8, []
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        place += 12 + length
    return found


# --- Sources ------------------------------------------------------------------------------------


def save(path, pixels=SAMPLE, **options):
    if path.suffix in (".webp", ".avif"):
        options = {"lossless": True, **options} if path.suffix == ".webp" else options
    Pillow.fromarray(pixels).save(path, **options)


def save_frames(path, durations=(100, 200, 400), **options):
    frames = [Pillow.fromarray(np.roll(SAMPLE, 3 * i, axis=0)) for i in range(len(durations))]
    options = {"duration": list(durations), **options}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


def exif_block():
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Model", 1
    inner = exif.get_ifd(0x8769)
    inner[0x9003], inner[0x8827] = "2024:05:06 07:08:09", 400
    inner[0xA002], inner[0xA003] = 10, 12
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def with_exif(path):
    save(path, exif=exif_block())


def with_maker_note(path):
    exif = exif_block()
    exif.get_ifd(0x8769)[0x927C] = b"a maker's own, with offsets"
    save(path, exif=exif)


def with_xmp(path):
    if path.suffix == ".tif":
        tifffile.imwrite(path, SAMPLE, photometric="rgb", extratags=[(700, 1, len(XMP), XMP, True)])
    elif path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        save(path, pnginfo=info)
    elif path.suffix == ".gif":
        file = io.BytesIO()
        Pillow.fromarray(SAMPLE).quantize(16).save(file, "GIF")
        data = file.getvalue()
        head = 13 + (3 << (data[10] & 7) + 1)
        tail = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
        path.write_bytes(data[:head] + b"\x21\xff\x0bXMP DataXMP" + XMP + tail + data[head:])
    else:
        save(path, xmp=XMP)


def with_iptc(path):
    if path.suffix == ".tif":
        tag = (33723, 7, len(IIM), IIM, True)
        tifffile.imwrite(path, SAMPLE, photometric="rgb", extratags=[tag])
        return
    save(path)
    data = path.read_bytes()
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IIM)) + IIM + bytes(len(IIM) % 2)
    block = b"Photoshop 3.0\0" + resource
    path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(block)) + block + data[2:])


def with_text(path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "A tree")
    info.add_itxt("parameters", "späte Sonne, 木, Steps: 20", "en", "parameters")
    info.add_text("workflow", '{"nodes": []}' * 50, zip=True)
    save(path, pnginfo=info)


def with_chunk(kind, data):
    def make(path):
        info = PngImagePlugin.PngInfo()
        info.add(kind, data)
        save(path, pnginfo=info)

    return make


def with_deep(path):
    deep = RNG.integers(0, 65536, (12, 10, 3), dtype=np.uint16)
    if path.suffix == ".tif":
        tifffile.imwrite(path, deep, photometric="rgb")
    else:
        pyvips.Image.new_from_array(deep, interpretation="rgb16").write_to_file(str(path))


def with_floats(path):
    tifffile.imwrite(path, RNG.random((12, 10, 3), dtype=np.float32), photometric="rgb")


def with_alpha(path):
    alpha = np.arange(120, dtype=np.uint8).reshape(12, 10, 1) * 2
    save(path, np.dstack([SAMPLE, alpha]))


def with_pages(path):
    stack = np.stack([SAMPLE, SAMPLE[::-1], SAMPLE[:, ::-1]])
    tifffile.imwrite(path, stack, photometric="rgb")


# --- What is kept, by another program -----------------------------------------------------------


def info_of(path, key):
    with Pillow.open(path) as image:
        image.load()
        return image.info.get(key)


def has_exif(path, source):
    with Pillow.open(path) as image:
        exif = image.getexif()
        inner, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        if exif.get(0x0110) != "Model":
            return False
        if source.suffix == ".tif":  # into which Pillow writes no more
            return exif[0x010F] == "Maker"
        assert (exif[0x010F], inner[0x9003], inner[0x8827]) == ("Maker", "2024:05:06 07:08:09", 400)
        assert (inner[0xA002], inner[0xA003], place[1]) == (20, 24, "N")
    return True


def has_maker_note(path, source):
    with Pillow.open(path) as image:
        return image.getexif().get_ifd(0x8769).get(0x927C) == b"a maker's own, with offsets"


def has_xmp(path, source):
    if path.suffix == ".gif":  # which Pillow does not read
        return b"XMP DataXMP" + XMP.replace(b'"10"', b'"20"') + b"\1\xff" in path.read_bytes()
    with Pillow.open(path) as image:
        image.load()
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    found = found if isinstance(found, bytes) else found.encode()
    return found == XMP.replace(b'"10"', b'"20"')


def has_iptc(path, source):
    with Pillow.open(path) as image:
        return (IptcImagePlugin.getiptcinfo(image) or {}).get((2, 120)) == b"Hello"


def has_profile(path, source):
    return info_of(path, "icc_profile") == P3


def has_dpi(path, source):
    with Pillow.open(path) as image:
        exif = image.getexif()
        if exif.get(0x011A):
            found = (float(exif[0x011A]), float(exif[0x011B]))
            assert exif.get(0x0128, 2) == 2
        else:
            found = image.info.get("dpi", (0, 0))
    return found == pytest.approx((300, 150), abs=0.02)


def has_comment(path, source):
    found = info_of(path, "comment") or info_of(path, "Comment") or b""
    return (found if isinstance(found, bytes) else found.encode("latin-1")) == b"a w\xe9ird one"


def has_chunks(*kinds):
    def look(path, source):
        if path.suffix != ".png":
            return False
        wanted = [chunk for chunk in chunks(source) if chunk[0] in kinds]
        assert wanted
        return [chunk for chunk in chunks(path) if chunk[0] in kinds] == wanted

    return look


def has_frames(path, source):
    with Pillow.open(path) as image:
        return getattr(image, "n_frames", 1) == 3


def has_times(path, source):
    return has_frames(path, source) and times(path) == times(source)


def times(path):
    found = []
    with Pillow.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            found.append(image.info.get("duration"))
        plays = image.info.get("loop")
    if path.suffix == ".gif" and plays is not None:
        plays = plays and plays + 1  # it counts repetitions
    return found, plays


def has_pages(path, source):
    return path.suffix == ".tif" and len(tifffile.TiffFile(path).pages) == 3


def depth_of(path):
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            return str(file.pages[0].dtype)
    if path.suffix == ".png":
        return {8: "uint8", 16: "uint16"}[chunks(path)[0][1][8]]
    return "uint8"


def has_depth(path, source):
    return depth_of(path) == "uint16"


def has_floats(path, source):
    return depth_of(path) == "float32"


def has_alpha(path, source):
    with Pillow.open(path) as image:
        if path.suffix == ".avif":  # not without loss by default
            return image.mode == "RGBA"
        found = np.asarray(image.convert("RGBA"))[..., 3]
    wanted = np.asarray(Pillow.open(source))[..., 3].repeat(2, 0).repeat(2, 1)
    return np.array_equal(found, wanted)


def has_colors(path, source):
    return path.suffix != ".gif"


ALL = ["png", "jpg", "webp", "tif", "avif"]
CICP = struct.pack("BBBB", 9, 16, 0, 1)
PROPERTIES = {
    "EXIF": (with_exif, ALL, has_exif, "EXIF"),
    "maker note": (with_maker_note, ["png", "jpg", "webp", "avif"], has_maker_note, "EXIF"),
    "XMP": (with_xmp, [*ALL, "gif"], has_xmp, "XMP"),
    "IPTC": (with_iptc, ["jpg", "tif"], has_iptc, "IPTC"),
    "profile": (lambda path: save(path, icc_profile=P3), ALL, has_profile, "ICC profile"),
    "dpi": (
        lambda path: save(path, dpi=(300, 150)),
        ["png", "jpg", "tif"],
        has_dpi,
        "DPI",
    ),
    "comment": (
        lambda path: save(path, comment=b"a w\xe9ird one"),
        ["jpg", "gif"],
        has_comment,
        "comment",
    ),
    "text": (
        with_text,
        ["png"],
        has_chunks(b"tEXt", b"iTXt", b"zTXt"),
        r"text \(Title, parameters and workflow\)",
    ),
    "gamma": (
        with_chunk(b"gAMA", struct.pack(">I", 100_000)),
        ["png"],
        has_chunks(b"gAMA"),
        "gamma",
    ),
    "HDR": (with_chunk(b"cICP", CICP), ["png"], has_chunks(b"cICP"), "transfer 16"),
    "time of change": (
        with_chunk(b"tIME", bytes([7, 232, 1, 2, 3, 4, 5])),
        ["png"],
        has_chunks(b"tIME"),
        "time of the last change",
    ),
    "background": (with_chunk(b"bKGD", bytes(6)), ["png"], has_chunks(b"bKGD"), "background"),
    "own chunk": (with_chunk(b"abCd", b"own"), ["png"], has_chunks(b"abCd"), "abCd"),
    "frames": (
        lambda path: save_frames(path, loop=0),
        ["png", "gif", "webp"],
        has_frames,
        "other 2 frames were left out",
    ),
    "times": (
        lambda path: save_frames(path, (100, 250, 1230), loop=3),
        ["png", "gif", "webp"],
        has_times,
        "times|frames were left out",
    ),
    "odd times": (
        lambda path: save_frames(path, (105, 333, 100), loop=3),
        ["png", "webp"],
        has_times,
        "times|frames were left out",
    ),
    "pages": (with_pages, ["tif"], has_pages, "pages"),
    "16 bits": (with_deep, ["png", "tif"], has_depth, "bits per sample|colors"),
    "floats": (with_floats, ["tif"], has_floats, "bits per sample|colors"),
    "alpha": (with_alpha, ["png", "tif", "webp"], has_alpha, "transparency"),
    "colors": (lambda path: save(path, NOISE), ["png", "tif"], has_colors, "256"),
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, row in PROPERTIES.items() for kind in row[1]]
)
def test_kept_or_noted(tmp_path, name, kind):
    make, _, look, words = PROPERTIES[name]
    source = tmp_path / f"source.{kind}"
    make(source)
    for suffix in TARGETS:
        target, notes = enlarge(source, suffix)
        noted = any(re.search(words, note) for note in notes)
        kept = look(target, source)
        assert kept != noted, (suffix, kept, notes)


def plain(path):
    flat = np.full((12, 10, 3), (200, 10, 30), np.uint8)
    if path.suffix == ".tif":
        tifffile.imwrite(path, flat, photometric="rgb", metadata=None, software=False)
    else:
        save(path, flat, **({"dpi": (0, 0)} if path.suffix == ".bmp" else {}))


@pytest.mark.parametrize("kind", [*ALL, "gif", "bmp"])
def test_a_plain_image_gets_no_metadata_and_no_notes(tmp_path, kind):
    source = tmp_path / f"source.{kind}"
    plain(source)
    for suffix in TARGETS:
        target, notes = enlarge(source, suffix)
        assert notes == []
        with Pillow.open(target) as image:
            image.load()
            if suffix == "tif":
                tags = [tag.code for tag in tifffile.TiffFile(target).pages[0].tags]
                assert tags == sorted(tags)
                assert not {282, 283, 296, 34665} & set(image.getexif())
            else:
                assert dict(image.getexif()) == {}
                assert not {"dpi", "exif", "comment", "icc_profile"} & set(image.info)
            assert image.info.get("jfif_unit", 0) == 0
        if suffix == "png":
            assert {kind for kind, _ in chunks(target)} == {b"IHDR", b"IDAT", b"IEND"}
        if suffix == "gif":
            assert b"NETSCAPE" not in target.read_bytes()


# --- What only the pixels show ------------------------------------------------------------------


def notes_of(tmp_path, image, suffix, source=".tif"):
    path = write_image(tmp_path / f"source{source}", image)
    return enlarge(path, suffix)[1]


@pytest.mark.parametrize("suffix", ["jpg", "gif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opaque_alpha_can_be_dropped_without_a_note(tmp_path, suffix, dtype):
    color = np.full((12, 10, 3), 3 * 257 if dtype == np.uint16 else 3, dtype)
    alpha = np.full((12, 10), np.iinfo(dtype).max, dtype)
    assert notes_of(tmp_path, Image(color, alpha), suffix) == []
    alpha[5, 5] = 0
    notes = notes_of(tmp_path, Image(color, alpha), suffix)
    assert [note.split(":")[0] for note in notes] == (
        ["JPEG holds no transparency"] if suffix == "jpg" else []
    )


def test_sixteen_bits_that_fit_into_eight_lose_nothing(tmp_path):
    image = Image(SAMPLE.astype(np.uint16) * 257)
    assert notes_of(tmp_path, image, "jpg") == []
    assert notes_of(tmp_path, Image(image.color + 1), "jpg") == [
        "JPEG holds 8 bits per sample: 16 were rounded"
    ]


@pytest.mark.parametrize(("number", "noted"), [(2, False), (200, False), (255, False), (300, True)])
def test_few_colors_are_exact_in_a_gif(tmp_path, number, noted):
    colors = np.unique(RNG.integers(0, 1 << 24, 2 * number, dtype=np.uint32))
    colors = RNG.permutation(colors)[:number]
    indices = np.concatenate([np.arange(number), RNG.integers(0, number, 400 - number)])
    color = colors[indices.reshape(20, 20)].view(np.uint8).reshape(20, 20, 4)[..., :3]
    source = write_image(tmp_path / "source.png", Image(np.ascontiguousarray(color)))
    target, notes = enlarge(source, "gif")
    found = np.asarray(Pillow.open(target).convert("RGB"))
    exact = np.array_equal(found, color.repeat(2, 0).repeat(2, 1))
    assert (exact, bool(notes)) == (not noted, noted)


def test_ten_bits_are_kept_in_the_twelve_of_avif(tmp_path):
    deep = (RNG.integers(0, 1024, (16, 16, 3)) << 6).astype(np.uint16)
    image = pyvips.Image.new_from_array(deep, interpretation="rgb16")
    image.heifsave(str(tmp_path / "source.avif"), compression="av1", bitdepth=10)
    assert enlarge(tmp_path / "source.avif", "avif")[1] == []
    assert enlarge(tmp_path / "source.avif", "png")[1] == []
    assert enlarge(tmp_path / "source.avif", "webp")[1] == [
        "WebP holds 8 bits per sample: 10 were rounded"
    ]


def test_colors_of_a_wide_gamut_look_the_same_in_a_gif(tmp_path):
    source = tmp_path / "source.png"
    save(source, np.full((8, 8, 3), (200, 60, 60), np.uint8), icc_profile=P3)
    target, notes = enlarge(source, "gif")
    profiles = [ImageCms.ImageCmsProfile(io.BytesIO(P3)), ImageCms.createProfile("sRGB")]
    wanted = ImageCms.profileToProfile(Pillow.open(source), *profiles).getpixel((4, 4))
    found = Pillow.open(target).convert("RGB").getpixel((4, 4))
    assert np.abs(np.subtract(found, wanted)).max() <= 2
    assert np.abs(np.subtract(found, (200, 60, 60))).max() > 10
    assert notes == ["GIF holds no ICC profile: the colors were converted to sRGB"]


def test_a_gray_profile_is_applied_or_kept(tmp_path):
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x100)
    head = struct.pack(">I4xI4s4s4s24x", 144 + len(curve), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head = (head[:36] + b"acsp" + head[40:]).ljust(68, b"\0")
    head += struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    profile = head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"kTRC", 144, len(curve)) + curve
    source = tmp_path / "source.jpg"
    save(source, np.full((8, 8), 55, np.uint8), icc_profile=profile)
    for suffix in TARGETS:
        target, notes = enlarge(source, suffix)
        kept = info_of(target, "icc_profile") == profile
        assert kept != any("gray ICC profile was applied" in note for note in notes)


# --- Other siblings -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webp", "avif", "bmp"])
def test_a_resolution_is_kept_wherever_it_is_stored(tmp_path, kind):
    source = tmp_path / f"source.{kind}"
    exif = Pillow.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 150.0, 2
    save(source, **({"dpi": (300, 150)} if kind == "bmp" else {"exif": exif}))
    for suffix in TARGETS:
        target, notes = enlarge(source, suffix)
        assert has_dpi(target, source) != any("DPI" in note for note in notes)


def test_other_tags_of_a_tiff_are_kept_or_noted(tmp_path):
    source = tmp_path / "source.tif"
    tags = [(269, 2, 0, "Document", True), (33550, 12, 3, (1.0, 2.0, 3.0), True)]
    options = {"photometric": "rgb", "metadata": None, "extratags": tags}
    tifffile.imwrite(source, SAMPLE, description="A tree", **options)
    target, notes = enlarge(source, "tif")
    assert len(notes) == 1
    assert notes[0].endswith("TIFF tag ModelPixelScaleTag")
    found = tifffile.TiffFile(target).pages[0].tags
    assert (found[270].value, found[269].value) == ("A tree", "Document")
    tifffile.imwrite(source, SAMPLE, photometric="rgb", description="<OME>10x12</OME>")
    target, notes = enlarge(source, "tif")
    assert "OME-XML" in notes[0]
    assert 270 not in tifffile.TiffFile(target).pages[0].tags


def test_reduced_copies_are_not_pages(tmp_path):
    source = tmp_path / "source.tif"
    image = pyvips.Image.new_from_array(np.tile(SAMPLE, (12, 12, 1)))
    image.tiffsave(str(source), pyramid=True, tile=True, tile_width=32, tile_height=32)
    assert not any("the other" in note for note in enlarge(source, "png")[1])


def test_cmyk_and_profiles_that_do_not_fit_are_noted(tmp_path):
    source = tmp_path / "source.jpg"
    Pillow.new("CMYK", (10, 10), (0, 255, 255, 0)).save(source)
    assert enlarge(source, "png")[1] == ["CMYK was converted to sRGB"]
    save(source, SAMPLE[..., 0], icc_profile=P3)
    notes = enlarge(source, "png")[1]
    assert notes == ["the ICC profile is for another color space and was left out"]


def test_content_credentials_are_left_out_and_noted(tmp_path):
    with_chunk(b"caBX", b"signed")(tmp_path / "source.png")
    target, notes = enlarge(tmp_path / "source.png", "png")
    assert "content credentials (C2PA)" in notes[0]
    assert b"caBX" not in target.read_bytes()


def test_the_colors_of_an_hdr_avif_are_stored_in_png_and_noted_otherwise(tmp_path):
    source = tmp_path / "source.avif"
    save(source)
    data = source.read_bytes()
    at = data.index(b"colrnclx") + 8
    source.write_bytes(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    for suffix in TARGETS:
        target, notes = enlarge(source, suffix)
        kept = suffix == "png" and (b"cICP", bytes([9, 16, 0, 1])) in chunks(target)
        assert kept != any("transfer 16" in note for note in notes)


def test_exif_that_image_magick_stores_as_text_is_exif(tmp_path):
    block = b"Exif\0\0" + exif_block().tobytes().removeprefix(b"Exif\0\0")
    info = PngImagePlugin.PngInfo()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    info.add_text("Raw profile type exif", text, zip=True)
    save(tmp_path / "source.png", pnginfo=info)
    target, notes = enlarge(tmp_path / "source.png", "jpg")
    assert notes == []
    assert has_exif(target, tmp_path / "source.png")


@pytest.mark.parametrize(("suffix", "noted"), [("jpg", True), ("png", False), ("webp", False)])
def test_blocks_too_large_for_a_format_are_noted(tmp_path, suffix, noted):
    exif = exif_block()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b"x" * 70_000
    save(tmp_path / "source.png", exif=exif)
    target, notes = enlarge(tmp_path / "source.png", suffix)
    assert has_exif(target, tmp_path / "source.png") != noted
    assert [note.split(" of ")[-1] for note in notes] == (["EXIF: left out"] if noted else [])


def test_lost_maker_notes_in_tiff_are_noted(tmp_path):
    with_maker_note(tmp_path / "source.jpg")
    assert enlarge(tmp_path / "source.jpg", "tif")[1] == [
        "TIFF cannot hold the maker note of EXIF: left out"
    ]


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.apng"])
def test_other_names_of_the_formats(tmp_path, name):
    with open_writer(tmp_path / name, Header(12, 10, 3, 8, False)) as writer:
        writer.write(SAMPLE)
    with Pillow.open(tmp_path / name) as image:
        assert image.format == ("PNG" if name == "a.apng" else "JPEG")


def test_a_webp_named_jpg_is_read_as_webp_and_written_by_the_suffix(tmp_path):
    save_frames(tmp_path / "real.webp")
    source = (tmp_path / "real.webp").rename(tmp_path / "source.jpg")
    target, notes = enlarge(source, "jpg")
    assert notes == ["JPEG holds one frame: the other 2 frames were left out"]
    assert Pillow.open(target).format == "JPEG"


def test_read_images_carry_what_writers_keep(tmp_path):
    with_text(tmp_path / "source.png")
    again = write_image(tmp_path / "again.png", read_image(tmp_path / "source.png"))
    assert has_chunks(b"tEXt", b"iTXt", b"zTXt")(again, tmp_path / "source.png")
    with ImageReader(tmp_path / "source.png") as reader:
        assert reader.notes == []


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
def test_metadata_of_heic_is_kept(tmp_path, suffix):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = pillow_heif.from_pillow(Pillow.fromarray(np.tile(SAMPLE, (8, 8, 1))))
    exif = exif_block()
    exif[0x0112] = 1
    image.save(tmp_path / "source.heic", exif=exif.tobytes(), xmp=XMP)
    target, notes = enlarge(tmp_path / "source.heic", suffix)
    assert notes == []
    with Pillow.open(target) as result:
        assert result.getexif()[0x0110] == "Model"
        assert result.getexif().get(0x0112, 1) == 1
        assert b'"160"' in (result.info.get("xmp") or b"")


def test_a_resampled_gif_has_the_colors_of_the_resampled_image(tmp_path):
    color = np.where(np.arange(40) // 8 % 2, 255, 0).astype(np.uint8)
    save(tmp_path / "source.png", np.dstack([np.tile(color, (40, 1))] * 3))
    target, notes = enlarge(tmp_path / "source.png", "gif", size=lambda height, width: (55, 57))
    assert notes == []
    assert Pillow.open(target).size == (57, 55)
