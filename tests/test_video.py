"""Videos: times, sound, subtitles, rotation and colors are kept; a break costs one segment."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_kit import (
    ACCURATE,
    CONSTANT,
    VARIABLE,
    frames_of,
    make_video,
    moving_gradient,
    packets_of,
    twice,
)

from torch_sr.errors import ImageError
from torch_sr.inference.video.upscaling import read_video_info, upscale_video

av = pytest.importorskip("av")

CLIP = Path(__file__).parents[2] / "shared" / "data" / "video" / "onepiece_demo.mp4"


@pytest.mark.parametrize("times", [CONSTANT, VARIABLE])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_each_frame_keeps_its_time(tmp_path, times, suffix):
    source = make_video(tmp_path / "a.mp4", times)
    reported = []
    target = upscale_video(
        twice, 2, source, tmp_path / f"b{suffix}", segment_frames=6,
        progress=lambda done, total: reported.append((done, total)),
    )  # fmt: skip
    before, after = frames_of(source), frames_of(target)
    assert [time for time, _ in before] == [time for time, _ in after]
    assert after[0][1].shape == (96, 128, 3)
    assert reported == [(done, len(times)) for done in range(1, len(times) + 1)]
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", f"b{suffix}"}


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colors_stay(tmp_path, matrix, full):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:3], matrix=matrix, full=full)
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4", crf=4)
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 2 if full else 1)
        for number, frame in enumerate(container.decode(video=0)):
            rgb = frame.reformat(
                format="rgb24",
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=2 if full else 1,
                dst_color_range=2,
                interpolation=ACCURATE,
            ).to_ndarray()
            wanted = moving_gradient(number, 48, 64).mean((0, 1))
            assert np.abs(rgb.mean((0, 1)) - wanted).max() < 1.5


def test_a_missing_matrix_is_written_because_players_guess_it_by_size(tmp_path):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], matrix=2)
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4")
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.colorspace == 5


def test_sound_is_copied_packet_by_packet(tmp_path):
    source = make_video(tmp_path / "a.mp4", sound="aac")
    target = upscale_video(twice, 2, source, tmp_path / "b.mkv")
    assert packets_of(target, "audio") == packets_of(source, "audio")
    with av.open(str(target)) as container:
        assert container.streams.audio[0].metadata["language"] == "eng"
        assert [s.type for s in container.streams] == ["video", "audio"]


def test_sound_that_does_not_fit_is_written_with_another_codec(tmp_path):
    source = make_video(tmp_path / "a.mp4", sound="aac")
    target = upscale_video(twice, 2, source, tmp_path / "b.webm", segment_frames=8)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")
        assert container.streams.audio[0].codec_context.name in ("opus", "libopus")
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 11 * 1024
    assert len(frames_of(target)) == 20


def test_subtitles_are_copied_or_left_out_with_a_warning(tmp_path, caplog):
    plain = make_video(tmp_path / "a.mp4")
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nGood morning\n")
    source = tmp_path / "a.mkv"
    with (
        av.open(str(plain)) as container,
        av.open(str(tmp_path / "a.srt")) as text,
        av.open(str(source), "w") as both,
    ):
        streams = {}
        for stream in (container.streams.video[0], text.streams.subtitles[0]):
            streams[stream] = both.add_stream_from_template(stream)
        for packet in [*container.demux(video=0), *text.demux(subtitles=0)]:
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                both.mux(packet)
    target = upscale_video(twice, 2, source, tmp_path / "b.mkv")
    assert packets_of(target, "subtitle") == packets_of(source, "subtitle") == [b"Good morning"]
    upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert "left out; write .mkv" in caplog.text


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_videos_become_upright(tmp_path, rotation):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], rotation=rotation)
    with av.open(str(source)) as container:
        first = next(container.decode(video=0))
        upright = np.rot90(first.to_ndarray(format="rgb24"), round(first.rotation / 90))
    info = read_video_info(source)
    assert (info.height, info.width) == upright.shape[:2]
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4", crf=4)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        found = frame.to_ndarray(format="rgb24")
    assert np.abs(found.astype(int) - twice(upright)).mean() < 3


@pytest.mark.parametrize(("size", "scale"), [((45, 63), 3), ((48, 64), 1)])
def test_odd_sizes(tmp_path, size, scale):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], size, pix_fmt="yuv444p")
    bigger = lambda f: f.repeat(scale, 0).repeat(scale, 1)  # noqa: E731
    target = upscale_video(bigger, scale, source, tmp_path / "b.mp4", size=lambda h, w: (135, 189))
    assert frames_of(target)[0][1].shape == (135, 189, 3)


def test_ten_bits_are_kept(tmp_path):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2], pix_fmt="yuv420p10le")
    seen = []

    def note(frame):
        seen.append(frame.dtype)
        return twice(frame)

    target = upscale_video(note, 2, source, tmp_path / "b.mp4", crf=4)
    assert set(seen) == {np.dtype(np.uint16)}
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"


KILLED = """
import os, signal, sys
from torch_sr.inference.video.upscaling import upscale_video
from pathlib import Path
calls = 0
def twice(frame):
    global calls
    calls += 1
    if calls > 14:
        os.kill(os.getpid(), signal.SIGKILL)
    return frame.repeat(2, 0).repeat(2, 1)
upscale_video(twice, 2, Path(sys.argv[1]), Path(sys.argv[2]), segment_frames=6)
"""


def test_a_killed_run_resumes_after_its_last_segment(tmp_path):
    source, target = make_video(tmp_path / "a.mp4", sound="aac"), tmp_path / "b.mp4"
    done = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert done.returncode == -9
    assert not target.exists()
    calls = []

    def count(frame):
        calls.append(0)
        return twice(frame)

    upscale_video(count, 2, source, target, segment_frames=6)
    assert len(calls) == 20 - 12
    whole = upscale_video(twice, 2, source, tmp_path / "c.mp4", segment_frames=6)
    resumed, plain = frames_of(target), frames_of(whole)
    assert [time for time, _ in resumed] == [time for time, _ in plain]
    for (_, a), (_, b) in zip(resumed, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4", "c.mp4"}


def test_segments_of_other_settings_are_deleted(tmp_path):
    source, target = make_video(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    calls = []

    def count(frame):
        calls.append(0)
        return twice(frame)

    upscale_video(count, 2, source, target, segment_frames=6, fingerprint="another model")
    assert len(calls) == 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"not a video at all" * 99, "cannot be decoded"),
        (b"\0\0\0\x20ftypisom" + b"\0" * 500, "cannot be decoded"),
    ],
)
def test_files_that_are_not_videos_are_refused_in_one_line(tmp_path, content, words):
    source = tmp_path / "a.mp4"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert str(caught.value).startswith(str(source))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.mp4").exists()


def test_a_file_with_only_sound_is_refused(tmp_path):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as container:
        audio = container.add_stream("aac", rate=48000)
        sample = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sample.rate, sample.pts = 48000, 0
        container.mux([*audio.encode(sample), *audio.encode(None)])
    with pytest.raises(ImageError, match="contains no video stream"):
        upscale_video(twice, 2, source, tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ["b.avi", "nowhere/b.mp4", "a.mp4"])
def test_impossible_targets_are_refused_before_the_work(tmp_path, name):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:2])
    with pytest.raises(ImageError, match=r"write|create|source"):
        upscale_video(lambda frame: 1 / 0, 2, source, tmp_path / name)


def test_the_readable_part_of_a_truncated_video_is_upscaled(tmp_path):
    source = make_video(tmp_path / "a.mkv")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert 2 <= len(frames_of(target)) < 20


@pytest.mark.skipif(not CLIP.exists(), reason="no real clip here")
def test_a_real_clip(tmp_path):
    target = upscale_video(
        lambda f: f[::4, ::4], 1, CLIP, tmp_path / "b.mp4", size=lambda h, w: (120, 160)
    )
    assert [t for t, _ in frames_of(target)] == [t for t, _ in frames_of(CLIP)]
    assert packets_of(target, "audio") == packets_of(CLIP, "audio")


def test_names_that_ffmpeg_would_misinterpret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "-i.mp4", "a%03d.mp4", "b\udcff.mp4"):
        source = make_video(tmp_path / "a.mp4", CONSTANT[:3]).rename(name)
        target = upscale_video(twice, 2, Path(name), source.with_stem(source.stem + ":sr"))
        assert target.stat().st_size > 0


def test_write_errors_do_not_name_the_source(tmp_path, monkeypatch):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:3])

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch_sr.inference.video.encoding.Encoder._to_frame", fail)
    with pytest.raises(ImageError, match=r"b.mp4: cannot be written \(No space left on device\)"):
        upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_errors_of_an_engine_do_not_name_a_file(tmp_path):
    source = make_video(tmp_path / "a.mp4", CONSTANT[:3])
    with pytest.raises(ZeroDivisionError):
        upscale_video(lambda frame: 1 / 0, 2, source, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
