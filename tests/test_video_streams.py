"""Other streams are copied, or a note says that they were left out."""

from __future__ import annotations

import errno
from fractions import Fraction

import numpy as np
import pytest
from video_kit import CONSTANT, frames_of, make_video, packets_of, twice

from torch_sr.errors import ImageError
from torch_sr.inference.video.upscaling import read_video_info, upscale_video

av = pytest.importorskip("av")

ATTACHED_PICTURE = 1 << 10  # ffmpeg's disposition of covers
FORCED, HEARING_IMPAIRED = 1 << 6, 1 << 7
TIMES = CONSTANT[:6]


def upscaled(source, target, **settings):
    notes = []
    upscale_video(twice, 2, source, target, on_note=notes.append, **settings)
    return notes


def jpeg():
    """A JPEG file of 16x16 pixels."""
    context = av.CodecContext.create("mjpeg", "w")
    context.height = context.width = 16
    context.pix_fmt, context.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), "rgb24")
    packets = context.encode(frame.reformat(format="yuvj420p")) + context.encode(None)
    return b"".join(map(bytes, packets))


def sound(out, number, codec="aac"):
    audio = out.add_stream(codec, rate=48000)
    audio.codec_context.layout = "mono"
    audio.metadata["language"] = ("eng", "fra")[number]
    audio.metadata["title"] = f"track {number}"
    return audio


def wave(audio):
    for number in range(12):
        samples = np.sin(np.arange(1024) * 0.05)[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.rate, frame.pts = 48000, number * 1024
        yield from audio.encode(frame)
    yield from audio.encode(None)


def copied(path, plain, *, add=lambda out: (), metadata=None):
    """A video with more streams: ``add`` adds them and returns what makes their packets."""
    with av.open(str(plain)) as container, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(container.streams.video[0])
        video.metadata.update(metadata or {})
        video.codec_context.framerate = 24
        more = list(add(out))
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
        for packets in more:
            out.mux(packets)
    return path


def with_all(tmp_path):
    """Two languages, subtitles, a font, a cover and chapters."""
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,200\nGood morning\n")

    def add(out):
        first, second = sound(out, 0), sound(out, 1, "flac")
        second.disposition = HEARING_IMPAIRED
        with av.open(str(tmp_path / "a.srt")) as text:
            subtitles = out.add_stream_from_template(text.streams[0])
            subtitles.disposition = FORCED
            lines = [packet for packet in text.demux() if packet.size]
        out.add_attachment("f.ttf", "application/x-truetype-font", b"font" * 9)
        out.add_attachment("cover.jpg", "image/jpeg", jpeg())
        unit = Fraction(1, 1000)
        chapter = {"id": 1, "start": 0, "end": 100, "time_base": unit, "metadata": {"title": "one"}}
        out.set_chapters([chapter])
        for line in lines:
            line.stream = subtitles
        yield wave(first)
        yield wave(second)
        yield lines

    return copied(tmp_path / "a.mkv", make_video(tmp_path / "plain.mp4", TIMES), add=add)


def test_matroska_keeps_everything(tmp_path):
    source = with_all(tmp_path)
    target = tmp_path / "b.mkv"
    assert upscaled(source, target) == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert [s.type for s in after.streams] == [s.type for s in before.streams]
        for old, new in zip(before.streams, after.streams, strict=True):
            assert new.disposition == old.disposition
            for key in ("language", "title", "filename", "mimetype"):
                assert new.metadata.get(key) == old.metadata.get(key)
        assert after.streams.attachments[0].data == b"font" * 9
        assert after.chapters() == before.chapters()
        (cover,) = (s for s in after.streams.video if s.disposition & ATTACHED_PICTURE)
        assert bytes(next(after.demux(cover))) == jpeg()
    assert len(frames_of(target)) == len(TIMES)


def test_what_mp4_cannot_hold_is_noted_one_by_one(tmp_path):
    notes = upscaled(with_all(tmp_path), tmp_path / "b.mp4")
    assert [note.split(" does")[0] for note in notes] == [
        "a subtitle stream (subrip)",
        "the attached file f.ttf",
    ]
    with av.open(str(tmp_path / "b.mp4")) as container:
        languages = [stream.language for stream in container.streams.audio]
        assert languages == ["eng", "fra"]
        assert container.streams.audio[1].disposition & HEARING_IMPAIRED
        assert any(stream.disposition & ATTACHED_PICTURE for stream in container.streams.video)
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one"]


def test_sound_that_is_encoded_again_is_noted(tmp_path):
    notes = upscaled(with_all(tmp_path), tmp_path / "b.webm")
    assert notes[:2] == [
        "sound (aac, eng) does not fit into .webm: it was encoded as Opus",
        "sound (flac, fra) does not fit into .webm: it was encoded as Opus",
    ]


def test_a_cover_is_not_the_video_even_if_it_comes_first(tmp_path):
    plain = make_video(tmp_path / "plain.mp4", TIMES)
    source = tmp_path / "a.mp4"
    with av.open(str(plain)) as container, av.open(str(source), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.height = cover.width = 16
        cover.pix_fmt, cover.disposition = "yuvj420p", ATTACHED_PICTURE
        video = out.add_stream_from_template(container.streams.video[0])
        packet = av.Packet(jpeg())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1)
        out.mux(packet)
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
    assert (read_video_info(source).height, read_video_info(source).width) == (48, 64)
    for name in ("b.mp4", "b.mkv"):
        assert upscaled(source, tmp_path / name) == []
        with av.open(str(tmp_path / name)) as container:
            (cover,) = (s for s in container.streams.video if s.disposition & ATTACHED_PICTURE)
            assert bytes(next(container.demux(cover))) == jpeg()
    assert "the cover image" in upscaled(source, tmp_path / "b.mov")[0]


@pytest.mark.parametrize("cover", [False, True])
def test_sound_with_a_cover_is_not_a_video(tmp_path, cover):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as out:
        audio = sound(out, 0)
        if cover:
            image = out.add_stream("mjpeg", rate=1)
            image.height = image.width = 16
            image.pix_fmt, image.disposition = "yuvj420p", ATTACHED_PICTURE
            packet = av.Packet(jpeg())
            packet.stream, packet.pts, packet.dts, packet.time_base = image, 0, 0, Fraction(1)
            out.mux(packet)
        out.mux(wave(audio))
    words = "contains no video stream" + (" but a cover" if cover else "; name")
    with pytest.raises(ImageError, match=words):
        upscaled(source, tmp_path / "b.mp4")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_other_videos_are_copied_and_noted(tmp_path, suffix):
    other = make_video(tmp_path / "other.mp4", TIMES, (32, 32))
    with av.open(str(other)) as container:

        def add(out):
            stream = out.add_stream_from_template(container.streams.video[0])
            packets = [packet for packet in container.demux(video=0) if packet.size]
            for packet in packets:
                packet.stream = stream
            yield packets

        source = copied(tmp_path / "a.mkv", make_video(tmp_path / "plain.mp4", TIMES), add=add)
    notes = upscaled(source, tmp_path / f"b{suffix}")
    assert notes == [
        "only the first video stream was super-resolved: a video stream (h264) was copied"
    ]
    with av.open(str(tmp_path / f"b{suffix}")) as container, av.open(str(source)) as before:
        assert [stream.width for stream in container.streams.video] == [128, 32]
        wanted = [frame.to_ndarray() for frame in before.decode(video=1)]
        container.seek(0)
        for found, old in zip(container.decode(video=1), wanted, strict=True):
            np.testing.assert_array_equal(found.to_ndarray(), old)


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_the_time_code_is_kept(tmp_path, suffix):
    plain = make_video(tmp_path / "plain.mp4", range(0, 6 * 512, 512))
    source = copied(tmp_path / "a.mov", plain, metadata={"timecode": "01:02:03:04"})
    with av.open(str(source)) as container:
        assert [stream.type for stream in container.streams] == ["video", "data"]
    target = tmp_path / f"b{suffix}"
    assert upscaled(source, target) == []
    with av.open(str(target)) as container:
        tags = {k.lower(): v for k, v in container.streams.video[0].metadata.items()}
        assert tags["timecode"] == "01:02:03:04"


def test_data_that_cannot_be_copied_is_noted(tmp_path):
    plain = make_video(tmp_path / "plain.mp4", TIMES)

    def add(out):
        stream = out.add_data_stream("klv")
        packet = av.Packet(b"data" * 9)
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 90000)
        yield [packet]

    source = copied(tmp_path / "a.ts", plain, add=add)
    assert upscaled(source, tmp_path / "b.mkv") == ["a data stream (klv) was left out"]


def test_metadata_about_the_old_file_itself_is_not_copied(tmp_path):
    source = make_video(tmp_path / "a.mp4", TIMES)
    upscaled(source, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        keys = {key.lower() for key in container.metadata}
        assert not keys & {"major_brand", "minor_version", "compatible_brands"}


def test_damaged_sound_that_is_encoded_again_does_not_stop_the_video(tmp_path):
    source = make_video(tmp_path / "a.mkv", TIMES, sound="aac")
    data = bytearray(source.read_bytes())
    for packet in packets_of(source, "audio")[3:5]:
        at = data.find(packet)
        data[at : at + len(packet)] = b"\xff" * len(packet)
    source.write_bytes(data)
    upscaled(source, tmp_path / "b.webm")
    assert len(frames_of(tmp_path / "b.webm")) == len(TIMES)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "make room on the disk and run the command again: it resumes"),
        (errno.EINVAL, "choose another container, such as .mkv"),
    ],
)
def test_only_a_full_disk_is_reported_as_one(tmp_path, monkeypatch, number, words):
    source = make_video(tmp_path / "a.mp4", TIMES)

    def fail(*_):
        raise av.error.FFmpegError(number, "it failed")

    monkeypatch.setattr("torch_sr.inference.video.joining._add_video", fail)
    with pytest.raises(ImageError, match=rf"b.mp4: cannot be written \(it failed\); {words}"):
        upscaled(source, tmp_path / "b.mp4")
    monkeypatch.undo()
    calls = []
    upscale_video(lambda frame: calls.append(0) or twice(frame), 2, source, tmp_path / "b.mp4")
    assert calls == []  # nothing was lost


def test_every_video_suffix_is_found_in_a_folder(tmp_path):
    from torch_sr.inference.files.jobs import find_jobs

    names = ["a.m2ts", "b.mts", "c.flv", "d.3gp", "e.vob", "f.mpeg", "g.ogv", "h.y4m"]
    for name in names:
        (tmp_path / name).touch()
    jobs = find_jobs([str(tmp_path)]).jobs
    assert [(job.source.name, job.is_video, job.target.suffix) for job in jobs] == [
        (name, True, ".mp4") for name in names
    ]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.m2ts", "libx264", "yuv420p"),
        ("a.flv", "flv", "yuv420p"),
        ("a.3gp", "libx264", "yuv420p"),
        ("a.vob", "mpeg2video", "yuv420p"),
        ("a.mpeg", "mpeg1video", "yuv420p"),
        ("a.ogv", "libvpx", "yuv420p"),
        ("a.y4m", "wrapped_avframe", "yuv420p"),
    ],
)
def test_eight_more_kinds_of_files_are_read(tmp_path, name, codec, pix_fmt):
    source = make_video(
        tmp_path / name, range(6), codec=codec, pix_fmt=pix_fmt, rate=25, unit=Fraction(1, 25),
        options={"g": "3"}, describe=lambda context: setattr(context, "max_b_frames", 0),
    )  # fmt: skip
    target = tmp_path / "b.mp4"
    assert upscaled(source, target) == []
    steps = np.diff([float(time) for time, _ in frames_of(target)])
    np.testing.assert_allclose(steps, [0.04] * 5, atol=0.001)


def cut(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def test_missing_frames_of_a_cut_mp4_are_reported(tmp_path):
    source = make_video(tmp_path / "whole.mp4")
    with (
        av.open(str(source)) as container,
        av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "+faststart"}) as out,
    ):  # the list of frames comes first
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    cut(tmp_path / "a.mp4", 0.85)
    with av.open(str(tmp_path / "a.mp4")) as container:
        there = sum(bool(packet.size) for packet in container.demux(container.streams.video[0]))
    assert 0 < there < 20
    notes = []
    upscale_video(twice, 2, tmp_path / "a.mp4", tmp_path / "b.mp4", on_note=notes.append)
    assert notes == [f"the file is cut short: its last {20 - there} frames are missing"]


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])
def test_the_missing_end_of_a_cut_file_is_reported(tmp_path, suffix):
    codec = {".mkv": "mpeg4", ".flv": "flv"}[suffix]
    source = make_video(
        tmp_path / f"a{suffix}", range(0, 60 * 512, 512), codec=codec, options={"qscale": "2"}
    )
    cut(source, 0.5)
    notes = []
    upscale_video(twice, 2, source, tmp_path / "b.mkv", on_note=notes.append)
    assert any(text.startswith("the file is cut short: its last 1.") for text in notes)


def test_sound_whose_end_has_no_times_is_carried_over(tmp_path):
    source = make_video(tmp_path / "a.wmv", sound="wmav2", codec="wmv2", options={"qscale": "2"})
    with av.open(str(source)) as container:
        times = [frame.pts for frame in container.decode(audio=0)]
    assert times[-1] is None
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4", on_note=lambda text: None)
    with av.open(str(target)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples >= len(times) * 2048


def test_chapters_of_mp4_are_not_reported_as_left_out(tmp_path):
    chapter = {"id": 0, "start": 0, "end": 500, "time_base": Fraction(1, 1000)}
    with (
        av.open(str(make_video(tmp_path / "plain.mp4"))) as container,
        av.open(str(tmp_path / "a.mp4"), "w") as out,
    ):
        out.set_chapters([{**chapter, "metadata": {"title": "One"}}])
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    notes = []
    target = upscale_video(twice, 2, tmp_path / "a.mp4", tmp_path / "b.mp4", on_note=notes.append)
    assert notes == []
    with av.open(str(target)) as container:
        assert [one["metadata"]["title"] for one in container.chapters()] == ["One"]
