"""Interlaced videos are deinterlaced, or keep their fields."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from video_kit import ACCURATE, CONSTANT, frames_of, make_video, twice

from torch_sr.errors import ImageError
from torch_sr.inference.video.upscaling import upscale_video

av = pytest.importorskip("av")

SIZE = 64, 96
INTERLACED = 1 << 18
TOP, BOTTOM = 2, 3  # ffmpeg's numbers of orders


def moment(time):
    """A soft bar that moves to the right, by two pixels per field."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    bar = 40 + 160 * np.exp(-(((x - 20 - 2 * time) / 6) ** 2)) + 0 * y
    return np.repeat(bar[..., None], 3, axis=2).round().astype(np.uint8)


def woven(number, order):
    """Two fields of different times."""
    frame = moment(2 * number).copy()
    second = 1 if order == TOP else 0
    frame[second::2] = moment(2 * number + 1)[second::2]
    return frame


def marked(frames, order):
    """Mark frames as interlaced with a filter of ffmpeg."""
    graph = av.filter.Graph()
    source = f"video_size={SIZE[1]}x{SIZE[0]}:pix_fmt=yuv420p:time_base=1/25:pixel_aspect=1/1"
    mode = "tff" if order == TOP else "bff"
    nodes = graph.add("buffer", source), graph.add("setfield", mode), graph.add("buffersink")
    graph.link_nodes(*nodes).configure()
    for frame in frames:
        graph.push(frame)
        yield graph.pull()


def make_interlaced(path, order=TOP, *, codec="libx264", flagged=True, ordered=True, count=10):
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        context = video.codec_context
        context.height, context.width, context.pix_fmt = *SIZE, "yuv420p"
        context.time_base = video.time_base = Fraction(1, 25)
        context.max_b_frames = 0
        context.options = {"crf": "4"} if codec == "libx264" else {"qscale": "2"}
        if flagged:
            context.flags |= INTERLACED
        if ordered:
            context.field_order = order
        frames = []
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(woven(number, order), "rgb24")
            frame = frame.reformat(format="yuv420p", interpolation=ACCURATE)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frames.append(frame)
        for frame in marked(frames, order) if flagged else frames:
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def combs(frame):
    """How much neighboring lines differ, compared to lines two apart."""
    gray = frame.astype(float).mean(2)
    return np.abs(np.diff(gray, axis=0)).mean() / (np.abs(gray[2:] - gray[:-2]).mean() + 0.1)


def marks_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        order = int(stream.codec_context.field_order)
        return order, {frame.interlaced_frame for frame in container.decode(stream)}


def first_fields(path):
    """The fields of each frame that ffmpeg shows first."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=stream, time_base=stream.time_base)]
        nodes += [graph.add("separatefields"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        frames = list(container.decode(stream))
        for frame in [*frames, None]:
            graph.push(frame)
        fields = [graph.pull().to_ndarray(format="rgb24") for _ in range(2 * len(frames))]
        return fields[::2]


@pytest.mark.parametrize("order", [TOP, BOTTOM])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_interlaced_videos_are_deinterlaced(tmp_path, order, suffix):
    source = make_interlaced(tmp_path / f"a{suffix}", order)
    assert min(combs(frame) for _, frame in frames_of(source)) > 3
    notes = []
    target = upscale_video(
        twice, 2, source, tmp_path / f"b{suffix}", on_note=notes.append, segment_frames=4
    )
    assert notes == ["interlaced frames were deinterlaced; --no-deinterlace keeps their fields"]
    assert marks_of(target) == (1, {False})
    before, after = frames_of(source), frames_of(target)
    assert [time for time, _ in after] == [time for time, _ in before]
    for number, (_, frame) in enumerate(after[1:-1], 1):
        assert np.abs(frame[::2, ::2].astype(int) - moment(2 * number)).mean() < 3
        assert combs(frame[::2, ::2]) < 1


def test_frames_that_only_the_stream_marks_are_deinterlaced(tmp_path):
    source = make_interlaced(tmp_path / "a.ts", codec="mpeg2video", ordered=False)
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert all(combs(frame[::2, ::2]) < 1 for _, frame in frames_of(target)[1:-1])


def test_frames_that_only_the_container_marks_are_examined(tmp_path):
    source = make_interlaced(tmp_path / "a.mkv", flagged=False)
    assert marks_of(source) == (TOP, {False})
    notes = []
    target = upscale_video(twice, 2, source, tmp_path / "b.mkv", on_note=notes.append)
    assert notes == ["the container marks frames as interlaced: those with combs were deinterlaced"]
    assert marks_of(target) == (1, {False})
    assert all(combs(frame[::2, ::2]) < 1 for _, frame in frames_of(target))


def test_progressive_frames_that_the_container_marks_are_unchanged(tmp_path):
    # Both sides are lossless: x264 rarely, under load, encodes the same frame differently.
    made = partial(make_video, codec="ffv1", options={"level": "3"})
    plain = made(tmp_path / "a.mkv")
    wrong = made(tmp_path / "b.mkv", describe=lambda c: setattr(c, "field_order", TOP))
    assert marks_of(wrong) == (TOP, {False})
    frames = [
        frames_of(upscale_video(twice, 2, source, source.with_suffix(".sr.mkv"), codec="ffv1"))
        for source in (plain, wrong)
    ]
    assert len(frames[0]) == len(frames[1]) == len(CONSTANT)
    for (_, a), (_, b) in zip(*frames, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("order", [TOP, BOTTOM])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_fields_are_kept_separately(tmp_path, order, suffix):
    source = make_interlaced(tmp_path / f"a{suffix}", order)
    heights = set()

    def engine(frame):
        heights.add(len(frame))
        return twice(frame)

    target = upscale_video(engine, 2, source, tmp_path / f"b{suffix}", crf=4, deinterlace=False)
    assert heights == {SIZE[0] // 2}
    assert marks_of(target)[1] == {True}
    if suffix == ".mkv":
        assert marks_of(target)[0] == order
    for number, field in enumerate(first_fields(target)):
        assert np.abs(field[::2, ::2].astype(int) - moment(2 * number)[::2]).mean() < 3


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", ".mkv"), ("prores", ".mov")])
def test_other_codecs_keep_fields_too(tmp_path, codec, suffix):
    source = make_interlaced(tmp_path / "a.mkv", BOTTOM, count=3)
    target = tmp_path / f"b{suffix}"
    upscale_video(twice, 2, source, target, codec=codec, deinterlace=False)
    assert marks_of(target) == (BOTTOM, {True})


def test_a_codec_without_fields_is_refused(tmp_path):
    source = make_interlaced(tmp_path / "a.mkv", count=2)
    with pytest.raises(ImageError, match="use --codec h264, ffv1 or prores, or omit --no-deint"):
        upscale_video(
            lambda frame: 1 / 0, 2, source, tmp_path / "b.mkv", codec="hevc", deinterlace=False
        )


@pytest.mark.parametrize("deinterlace", [True, False])
def test_progressive_videos_are_unchanged(tmp_path, deinterlace):
    source = make_video(tmp_path / "a.mp4")
    notes = []
    targets = [tmp_path / "b.mp4", tmp_path / "c.mp4"]
    for target, choice in zip(targets, (deinterlace, True), strict=True):
        upscale_video(twice, 2, source, target, deinterlace=choice, on_note=notes.append)
    assert notes == []
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_an_interrupted_run_gives_the_same_deinterlaced_frames(tmp_path):
    source = make_interlaced(tmp_path / "a.mp4")
    whole = upscale_video(twice, 2, source, tmp_path / "whole.mp4", segment_frames=3)
    calls = []

    def breaking(frame):
        calls.append(0)
        if len(calls) > 7:
            raise KeyboardInterrupt
        return twice(frame)

    with pytest.raises(KeyboardInterrupt):
        upscale_video(breaking, 2, source, tmp_path / "b.mp4", segment_frames=3)
    calls.clear()
    resumed = upscale_video(
        lambda frame: calls.append(0) or twice(frame),
        2, source, tmp_path / "b.mp4", segment_frames=3,
    )  # fmt: skip
    assert len(calls) == 10 - 6
    assert resumed.read_bytes() == whole.read_bytes()


def test_fields_are_encoded_identically_each_time(tmp_path):
    source = make_interlaced(tmp_path / "a.mp4")
    results = {
        upscale_video(
            twice, 2, source, tmp_path / "b.mp4", deinterlace=False, overwrite=True
        ).read_bytes()
        for _ in range(8)
    }
    assert len(results) == 1


@pytest.mark.parametrize("other", [{"codec": "hevc"}, {"deinterlace": False}])
def test_segments_of_another_codec_or_setting_are_not_used(tmp_path, other):
    source, target = make_interlaced(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    calls = []

    def breaking(frame):
        calls.append(0)
        if len(calls) > 7:
            raise KeyboardInterrupt
        return twice(frame)

    with pytest.raises(KeyboardInterrupt):
        upscale_video(breaking, 2, source, target, segment_frames=3)
    calls.clear()
    whole = upscale_video(twice, 2, source, tmp_path / "whole.mp4", segment_frames=3, **other)
    upscale_video(
        lambda frame: calls.append(0) or twice(frame), 2, source, target, segment_frames=3, **other
    )
    assert len(calls) == (10 if "codec" in other else 20)
    for (_, a), (_, b) in zip(frames_of(target), frames_of(whole), strict=True):
        np.testing.assert_array_equal(a, b)
