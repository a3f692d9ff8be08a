"""Codecs: that of the source if it fits, or a requested one, and what each keeps."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from video_kit import CONSTANT, frames_of, make_video, twice

from torch_sr.errors import ImageError
from torch_sr.inference.video.hdr import Display, SideData, template_with
from torch_sr.inference.video.upscaling import check_target, read_video_info, upscale_video

av = pytest.importorskip("av")

SHORT = CONSTANT[:4]
QUIET = "log-level=none:info=0"
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
PQ, BT2020 = 16, 9  # ffmpeg's numbers


def codec_of(path):
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.codec.canonical_name, context.pix_fmt


def make_hdr(path, codec="libx265"):
    def describe(context):
        context.color_trc, context.color_primaries = PQ, BT2020

    params = f"{QUIET}:hdr10=1:master-display={DISPLAY}:max-cll=1000,400"
    return make_video(
        path, SHORT, pix_fmt="yuv420p10le", matrix=BT2020, codec=codec,
        options={"x265-params": params}, describe=describe,
    )  # fmt: skip


def upscaled(source, target, **settings):
    notes = []
    upscale_video(twice, 2, source, target, on_note=notes.append, **settings)
    return notes


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "kind", "suffix", "codec"),
    [
        ("libx264", "yuv420p", ".mp4", ".mkv", "h264"),
        ("libx265", "yuv420p10le", ".mp4", ".mp4", "hevc"),
        ("libsvtav1", "yuv420p", ".mp4", ".mkv", "av1"),
        ("libsvtav1", "yuv420p", ".mp4", ".webm", "av1"),
        ("libsvtav1", "yuv420p", ".mp4", ".mov", "h264"),
        ("ffv1", "yuv422p", ".mkv", ".mkv", "ffv1"),
        ("prores_ks", "yuv422p10le", ".mov", ".mov", "prores"),
        ("prores_ks", "yuv422p10le", ".mov", ".mp4", "h264"),
        ("libvpx-vp9", "yuv420p", ".webm", ".webm", "vp9"),
        ("mpeg4", "yuv420p", ".avi", ".mp4", "h264"),
    ],
)
def test_the_codec_is_that_of_the_source_if_it_fits(
    tmp_path, monkeypatch, encoder, pix_fmt, kind, suffix, codec
):
    monkeypatch.setenv("SVT_LOG", "1")
    options = {"x265-params": QUIET} if encoder == "libx265" else {"crf": "9"}
    if encoder in ("ffv1", "prores_ks", "mpeg4"):
        options = {"g": "6"}
    source = make_video(
        tmp_path / f"a{kind}", range(4), (64, 64), codec=encoder, pix_fmt=pix_fmt,
        options=options, unit=Fraction(1, 24),
    )  # fmt: skip
    notes = upscaled(source, tmp_path / f"b{suffix}", segment_frames=3)
    assert codec_of(tmp_path / f"b{suffix}") == (codec, pix_fmt)
    assert len(frames_of(tmp_path / f"b{suffix}")) == 4
    assert notes == []


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt"),
    [
        ("hevc", ".mp4", "yuv420p"),
        ("hevc", ".mov", "yuv420p"),
        ("av1", ".mp4", "yuv420p"),
        ("av1", ".webm", "yuv420p"),
        ("ffv1", ".mkv", "yuv420p"),
        ("prores", ".mov", "yuv422p10le"),
        ("prores", ".mkv", "yuv422p10le"),
        ("vp9", ".mkv", "yuv420p"),
    ],
)
def test_a_requested_codec(tmp_path, codec, suffix, pix_fmt, capfd):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:7])
    target = tmp_path / f"b{suffix}"
    upscaled(source, target, codec=codec, segment_frames=3, crf=2)
    assert codec_of(target) == (codec, pix_fmt)
    found, wanted = frames_of(target), frames_of(source)
    assert [float(t) for t, _ in found] == pytest.approx([float(t) for t, _ in wanted], abs=0.0006)
    for (_, after), (_, before) in zip(found, wanted, strict=True):
        assert np.abs(after.astype(int) - twice(before)).mean() < 4
    assert capfd.readouterr().err == ""  # encoders print a lot


def test_the_quality_affects_every_codec_that_has_one(tmp_path):
    def noisy(frame):
        return np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)

    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], (64, 64))
    for codec, suffix in (("h264", ".mp4"), ("hevc", ".mp4"), ("av1", ".mp4"), ("vp9", ".webm")):
        sizes = []
        for crf in (0, 16, 45):
            target = tmp_path / f"{codec}{crf}{suffix}"
            upscale_video(noisy, 2, source, target, crf=crf, codec=codec)
            sizes.append(target.stat().st_size)
        assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_quality_0_is_lossless(tmp_path, codec, pix_fmt):
    if (codec, pix_fmt) == ("vp9", "yuv420p10le"):
        pytest.skip("libvpx is built for 8 bits")
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], (64, 64), pix_fmt=pix_fmt)
    exact = tmp_path / "exact.mkv"
    found = tmp_path / ("b.webm" if codec == "vp9" else "b.mp4")
    upscaled(source, exact, codec="ffv1")
    upscaled(source, found, codec=codec, crf=0)
    for (_, a), (_, b) in zip(frames_of(exact, pix_fmt), frames_of(found, pix_fmt), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "codec", "words"),
    [
        ("b.mp4", "ffv1", r"use \.mkv, or --codec h264, hevc, av1 or vp9: '.mp4' cannot hold FFV1"),
        ("b.mp4", "prores", r"use \.mov or \.mkv"),
        ("b.webm", "hevc", r"--codec av1 or vp9: '.webm' cannot hold HEVC"),
        ("b.mov", "av1", r"cannot hold AV1"),
        ("b.mp4", "divx", r"use one of h264, hevc, av1, ffv1, prores, vp9"),
        ("b.avi", None, r"write \.mp4, \.mkv, \.mov or \.webm"),
    ],
)
def test_codecs_that_a_container_cannot_hold_are_refused_before_the_work(
    tmp_path, name, codec, words
):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2])
    with pytest.raises(ImageError, match=words) as caught:
        upscale_video(lambda frame: 1 / 0, 2, source, tmp_path / name, codec=codec)
    assert str(caught.value).startswith(str(tmp_path / name))
    with pytest.raises(ImageError, match=words):
        check_target(tmp_path / name, codec)


def test_sizes_that_a_codec_cannot_hold_are_refused_before_the_work(tmp_path):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], (4, 4))
    with pytest.raises(ImageError, match=r"b\.mp4: use another --codec or size: HEVC .* 8x8"):
        upscale_video(lambda frame: 1 / 0, 2, source, tmp_path / "b.mp4", codec="hevc")


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p"])
def test_full_color_resolution_stays_in_webm(tmp_path, pix_fmt):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:3], pix_fmt=pix_fmt)
    assert upscaled(source, tmp_path / "b.webm") == []
    assert codec_of(tmp_path / "b.webm") == ("vp9", pix_fmt)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", [None, "av1", "h264"])
def test_hdr10_is_kept_in_the_stream_and_in_the_header(tmp_path, codec, suffix):
    source = make_hdr(tmp_path / "a.mp4")
    target = tmp_path / f"b{suffix}"
    assert upscaled(source, target, codec=codec) == []
    for path in (source, target):
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.color_trc, context.color_primaries) == (PQ, BT2020)
            assert context.pix_fmt == "yuv420p10le"
            side_data = SideData.of(next(container.decode(video=0)))
        assert side_data.display.integers() == DISPLAY
        assert side_data.light_level == (1000, 400)
    mark = b"mdcv" if suffix == ".mp4" else b"\x55\xd0"  # Matroska's MasteringMetadata
    assert mark in target.read_bytes()


def test_ten_bits_in_webm_are_av1_since_vp9_holds_eight(tmp_path):
    source = make_video(tmp_path / "a.mp4", SHORT, pix_fmt="yuv420p10le")
    assert upscaled(source, tmp_path / "b.webm") == []
    assert codec_of(tmp_path / "b.webm") == ("av1", "yuv420p10le")


def test_what_a_codec_cannot_hold_is_noted(tmp_path):
    deep = make_video(
        tmp_path / "a.mp4", SHORT, pix_fmt="yuv444p12le", codec="libx265",
        options={"x265-params": QUIET},
    )  # fmt: skip
    assert upscaled(deep, tmp_path / "b.mp4", codec="h264") == [
        "12 bits a sample were rounded to the 10 of H.264"
    ]
    assert "AV1 is written with color at half" in upscaled(
        deep, tmp_path / "c.mp4", codec="av1"
    )[-1]  # fmt: skip
    assert upscaled(deep, tmp_path / "d.mkv", codec="ffv1") == []
    assert codec_of(tmp_path / "d.mkv") == ("ffv1", "yuv444p12le")


def test_lost_transparency_and_losslessness_are_noted(tmp_path):
    source = tmp_path / "a.mov"
    with av.open(str(source), "w") as container:
        video = container.add_stream("png", rate=24)
        video.height, video.width, video.pix_fmt = 48, 64, "rgba"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 4), 90, np.uint8), "rgba")
        container.mux([*video.encode(frame), *video.encode(None)])
    notes = upscaled(source, tmp_path / "b.mp4")
    assert notes == [
        "the source is lossless, H.264 in .mp4 is not; .mkv gets FFV1",
        "the transparency of the frames was left out",
    ]


@pytest.mark.parametrize(
    ("codec", "suffix", "shape"),
    [
        (None, ".mp4", (128, Fraction(8, 9))),
        (None, ".mkv", (128, Fraction(8, 9))),
        ("hevc", ".mkv", (128, Fraction(8, 9))),
        ("av1", ".mp4", (128, Fraction(8, 9))),
        (None, ".webm", (114, None)),
        ("ffv1", ".mkv", (114, None)),
    ],
)
def test_wide_or_narrow_pixels_are_kept_or_become_square(tmp_path, codec, suffix, shape):
    def describe(context):
        context.sample_aspect_ratio = Fraction(8, 9)

    source = make_video(tmp_path / "a.mp4", SHORT, describe=describe)
    notes = upscaled(source, tmp_path / f"b{suffix}", codec=codec)
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        video = container.streams.video[0]
        aspect = video.sample_aspect_ratio
        assert (video.width, None if aspect in (None, 0, 1) else aspect) == shape
    assert bool(notes) == (shape[1] is None)


def test_layouts_of_stereo_and_spherical_videos_are_kept(tmp_path):
    plain = make_video(tmp_path / "a.mp4", SHORT)
    stereo = struct.pack("=i8i", 2, *[0] * 8)  # top and bottom
    sphere = struct.pack("=4i5I", 0, 1 << 16, 2 << 16, 3 << 16, 0, 0, 0, 0, 0)
    source = tmp_path / "b.mkv"
    with av.open(str(plain)) as container, av.open(str(source), "w") as out:
        stream = template_with(
            container.streams.video[0], SideData(stereo=stereo, spherical=sphere)
        )
        video = out.add_stream_from_template(stream, opaque=True)
        container.seek(0)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
    for name in ("c.mkv", "c.mp4"):
        assert upscaled(source, tmp_path / name) == []
        with av.open(str(tmp_path / name)) as container:
            found = SideData.of(next(container.decode(video=0)))
        assert found.stereo[:4] == stereo[:4]
        assert found.spherical == sphere
    assert "write .mp4 to keep it" in upscaled(source, tmp_path / "c.mov")[0]


def test_the_mastering_display_in_the_units_of_each_encoder():
    pairs = [(34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450)]
    numbers = [n for x, y in pairs for n in (x, 50_000, y, 50_000)]
    record = struct.pack("=22i", *numbers, 50, 10_000, 10_000_000, 10_000, 1, 1)
    display = Display.parse(record)
    assert display.integers() == DISPLAY
    assert display.decimals().startswith("G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)")
    assert Display.parse(struct.pack("=22i", *[0] * 22)) is None


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_mirrored_videos_come_out_as_players_show_them(tmp_path, rotation, hflip):
    source = tmp_path / "a.mp4"
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([x * 4, y * 5, 0 * x + 60], axis=2).astype(np.uint8)
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "1"})
        video.height, video.width, video.pix_fmt = 48, 64, "yuv444p"
        video.set_display_rotation(rotation, hflip=hflip)
        container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode(None))
    wanted = np.rot90(pixels, rotation // 90)
    wanted = wanted[:, ::-1] if hflip else wanted
    info = read_video_info(source)
    assert (info.height, info.width) == wanted.shape[:2]
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4", crf=1)
    assert np.abs(frames_of(target)[0][1][::2, ::2].astype(int) - wanted).mean() < 2
