"""Animated PNG, read and written, as Pillow and FFmpeg see it."""

import io
import itertools
import struct
import zlib
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image as Pillow

from torch_sr.errors import ImageError
from torch_sr.images import Header, ImageReader, Metadata, open_writer, read_header
from torch_sr.images.formats.png.chunks import SIGNATURE, pack

av = pytest.importorskip("av")
RNG = np.random.default_rng(5)
SIZE = (9, 13)  # height, width
COLORS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def frame_data(pixels):
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(len(pixels), -1)
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))


def write_apng(path, color_type, boxes, *, depth=8, still=False, plays=2, extra=()):
    """Frames of noise: ``(left, top, width, height, dispose, blend)`` of each."""
    height, width = SIZE
    dtype = np.uint8 if depth == 8 else np.uint16
    top = 5 if color_type == 3 else np.iinfo(dtype).max

    def noise(h, w):
        return RNG.integers(0, top, (h, w, COLORS[color_type]), dtype=dtype, endpoint=True)

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [SIGNATURE, pack(b"IHDR", header), pack(b"acTL", struct.pack(">II", len(boxes), plays))]
    if color_type == 3:
        parts.append(pack(b"PLTE", RNG.integers(0, 256, 18, dtype=np.uint8).tobytes()))
    parts += [pack(*chunk) for chunk in extra]
    number = itertools.count()
    if still:
        parts.append(pack(b"IDAT", frame_data(noise(height, width))))
    for index, (left, upper, w, h, dispose, blend) in enumerate(boxes):
        control = struct.pack(">5IHHBB", next(number), w, h, left, upper, 1, 10, dispose, blend)
        parts.append(pack(b"fcTL", control))
        data = frame_data(noise(h, w))
        if index == 0 and not still:
            parts.append(pack(b"IDAT", data))
        else:
            parts += [
                pack(b"fdAT", struct.pack(">I", next(number)) + part)
                for part in (data[: len(data) // 2], data[len(data) // 2 :])
            ]
    path.write_bytes(b"".join([*parts, pack(b"IEND", b"")]))


def read_frames(path):
    with ImageReader(path, pages="frames") as reader:
        header = reader.header
        frames = [reader.read(header.height) for _ in range(header.pages)]
        return np.stack(frames), reader


def pillow_frames(path):
    with Pillow.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGBA")))
    return np.stack(found)


def ffmpeg_frames(path):
    """Of FFmpeg, which follows the standard where Pillow does not: "previous", "over", clearing."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgba") for f in container.decode(video=0)])


def assert_seen_alike(found, wanted, most=3):
    """Compare visible pixels, with a tolerance: FFmpeg blends in integers."""
    assert found.shape == wanted.shape
    seen = wanted[..., 3] > 0
    np.testing.assert_array_equal(found[..., 3] > 0, seen)
    assert np.abs(found.astype(int) - wanted)[seen].max() <= most


def as_rgba(frames):
    color = frames[..., :1].repeat(3, 3) if frames.shape[3] < 3 else frames[..., :3]
    opaque = np.full((*frames.shape[:3], 1), 255, np.uint8)
    alpha = frames[..., -1:] if frames.shape[3] % 2 == 0 else opaque
    return np.concatenate([color, alpha], axis=3)


WHOLE = (0, 0, 13, 9)


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("color_type", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_frames_are_composed_as_ffmpeg_composes_them(tmp_path, color_type, still, seed):
    rng = np.random.default_rng(seed)
    ways = [0, 1, 2] if color_type in (4, 6) else [0, 2]
    boxes = [(*WHOLE, ways[seed] if color_type in (4, 6) else 0, 0)]
    for _ in range(4):
        left, top = int(rng.integers(0, 12)), int(rng.integers(0, 8))
        size = int(rng.integers(1, 14 - left)), int(rng.integers(1, 10 - top))
        boxes.append((left, top, *size, int(rng.choice(ways)), int(rng.integers(0, 2))))
    path = tmp_path / "a.png"
    write_apng(path, color_type, boxes, still=still)
    frames, reader = read_frames(path)
    assert_seen_alike(as_rgba(frames), ffmpeg_frames(path))
    assert reader.metadata.delays == (100,) * 5
    assert reader.metadata.loop == 2
    assert any("still image" in note for note in reader.notes) == still
    assert read_header(path, pages="frames") == reader.header


def test_a_transparent_palette_color_stays_transparent(tmp_path):
    path = tmp_path / "a.png"
    boxes = [(*WHOLE, 0, 0), (2, 3, 6, 4, 0, 1), (0, 0, 5, 5, 1, 1)]
    write_apng(path, 3, boxes, extra=[(b"tRNS", bytes([0, 255, 128]))])
    assert_seen_alike(as_rgba(read_frames(path)[0]), ffmpeg_frames(path))


def test_sixteen_bits_are_kept(tmp_path):
    path = tmp_path / "a.png"
    write_apng(path, 6, [(*WHOLE, 0, 0), (1, 1, 4, 4, 0, 1)], depth=16)
    frames, reader = read_frames(path)
    assert frames.dtype == np.uint16
    assert len(np.unique(frames)) > 500
    with open_writer(tmp_path / "b.apng", reader.header, reader.metadata) as writer:
        for frame in frames:
            writer.write(frame)
    assert writer.notes == []
    np.testing.assert_array_equal(read_frames(tmp_path / "b.apng")[0], frames)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_written_frames_are_those_that_pillow_and_ffmpeg_read(tmp_path, layers):
    frames = RNG.integers(0, 256, (5, *SIZE, layers), dtype=np.uint8)
    frames[2] = frames[1]  # nothing changes
    frames[3] = frames[1]
    frames[3, 4:6, 7:9] = 0  # a part does
    delays = (100, Fraction(1000, 30), 5, 70_000, 40)
    header = Header(*SIZE, 1 if layers < 3 else 3, 8, layers in (2, 4), pages=5)
    path = tmp_path / "a.png"
    with open_writer(path, header, Metadata(delays=delays, loop=7)) as writer:
        for row in frames.reshape(-1, 3, SIZE[1], layers):  # of one page after the other
            writer.write(row)
    assert writer.notes == []
    np.testing.assert_array_equal(pillow_frames(path), as_rgba(frames))
    with Pillow.open(path) as image:
        assert image.info["loop"] == 7
        for number, delay in enumerate(delays):
            image.seek(number)
            assert image.info["duration"] == pytest.approx(float(delay))
    np.testing.assert_array_equal(ffmpeg_frames(path)[:2], as_rgba(frames)[:2])
    found, reader = read_frames(path)
    assert reader.metadata.delays == delays
    np.testing.assert_array_equal(found, frames)


def test_each_frame_is_resized_separately(tmp_path):
    frames = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 240)])
    header = Header(8, 8, 3, 8, False, pages=2)
    path = tmp_path / "a.png"
    with open_writer(path, header, Metadata(delays=(50, 60), loop=0), size=(4, 6)) as writer:
        for frame in frames:
            writer.write(frame)
    with Pillow.open(path) as image:
        assert image.size == (6, 4)
    assert [int(frame[..., 0].mean()) for frame in pillow_frames(path)] == [10, 240]


def test_profile_and_text_are_stated_once(tmp_path):
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    text = [(b"tEXt", b"Title\0A tree"), (b"pHYs", struct.pack(">IIB", 11811, 11811, 1))]
    write_apng(path, 2, [(*WHOLE, 0, 0), (*WHOLE, 0, 0)], extra=text)
    frames, reader = read_frames(path)
    with open_writer(other, reader.header, reader.metadata) as writer:
        for frame in frames:
            writer.write(frame)
    data = other.read_bytes()
    assert (data.count(b"tEXt"), data.count(b"pHYs"), data.count(b"IEND")) == (1, 1, 1)
    with Pillow.open(other) as image:
        image.load()
        assert image.info["Title"] == "A tree"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize(
    "box", [(5, 0, 13, 9, 0, 0), (0, 5, 13, 9, 0, 0), (0, 0, 0, 9, 0, 0), (4, 4, 1 << 31, 1, 0, 0)]
)
def test_frames_outside_the_image_are_refused(tmp_path, box):
    path = tmp_path / "a.png"
    write_apng(path, 2, [(*WHOLE, 0, 0), (*WHOLE, 0, 0)])
    data = path.read_bytes()
    at = data.rindex(b"fcTL")
    control = bytearray(data[at + 4 : at + 30])
    struct.pack_into(">4I", control, 4, box[2], box[3], box[0], box[1])
    path.write_bytes(data[: at - 4] + pack(b"fcTL", bytes(control)) + data[at + 34 :])
    with pytest.raises(ImageError, match=r"a\.png: .*frame 2 is outside"):
        read_frames(path)


def test_cleared_regions_are_transparent_where_the_frames_are_not(tmp_path):
    path = tmp_path / "a.png"
    write_apng(path, 2, [(*WHOLE, 0, 0), (2, 3, 4, 5, 1, 0), (0, 0, 1, 1, 0, 0)])
    frames, reader = read_frames(path)
    assert reader.header.alpha
    wanted = np.full(SIZE, 255)
    wanted[3:8, 2:6] = 0
    np.testing.assert_array_equal(frames[2, ..., 3], wanted)
    assert (frames[:2, ..., 3] == 255).all()


def test_truncated_and_damaged_files_are_refused_or_read(tmp_path):
    path = tmp_path / "a.png"
    write_apng(path, 3, [(*WHOLE, 0, 0), (1, 1, 5, 5, 1, 1), (*WHOLE, 2, 1)])
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for length in range(40, len(whole), 7):
        data = bytearray(whole[:length])
        data[int(rng.integers(8, length))] = int(rng.integers(0, 256))
        path.write_bytes(data)
        with suppress(ImageError):  # never another error
            read_frames(path)


def test_one_frame_after_a_still_image_is_noted(tmp_path):
    path = tmp_path / "a.png"
    write_apng(path, 2, [(*WHOLE, 0, 0)], still=True)
    with ImageReader(path, pages="frames") as reader:
        assert reader.header.pages == 1
        assert reader.metadata.left_out == "1 frame"
    buffer = io.BytesIO()
    Pillow.new("RGB", (3, 3)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    with ImageReader(path, pages="frames") as reader:
        assert reader.metadata.left_out is None


def write_frames(path, frames, delays):
    header = Header(*SIZE, 3, 8, False, pages=len(frames))
    with open_writer(path, header, Metadata(delays=delays, loop=2)) as writer:
        writer.write(np.concatenate(frames))
    return writer.notes


def times_by_pillow(path):
    times = []
    with Pillow.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            times.append(image.info["duration"])
    return times


def test_short_times_of_webp_are_kept(tmp_path):
    frames = RNG.integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)
    delays = (0, 10, 7, 250, 1)
    assert write_frames(tmp_path / "a.webp", frames, delays) == []
    assert times_by_pillow(tmp_path / "a.webp") == list(delays)


def test_times_of_equal_frames_add_up_in_webp(tmp_path):
    frames = np.repeat(RNG.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8), 2, axis=0)
    write_frames(tmp_path / "a.webp", frames, (5, 6, 20, 0))
    assert times_by_pillow(tmp_path / "a.webp") == [11, 20]


@pytest.mark.parametrize(("suffix", "longest"), [("gif", 655_350), ("webp", 16_777_215)])
def test_times_too_long_for_a_format_are_cut_and_reported(tmp_path, suffix, longest):
    frames = RNG.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    notes = write_frames(tmp_path / f"a.{suffix}", frames, (20_000_000, 50))
    assert any("seconds at most" in note for note in notes)
    assert times_by_pillow(tmp_path / f"a.{suffix}") == [longest, 50]
