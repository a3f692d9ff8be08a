"""Frame rates are kept; times that jump, are missing or rounded are corrected."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from video_kit import VARIABLE, frames_of, make_video, mux_tone, packets_of, twice

from torch_sr.inference.video.timing import FrameTimes, Timeline
from torch_sr.inference.video.upscaling import upscale_video

av = pytest.importorskip("av")


def rates_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.average_rate, stream.base_rate


def end_of(path, kind):
    """When the last packet of a stream ends, in seconds from the start of the file."""
    with av.open(str(path)) as container:
        (stream,) = (s for s in container.streams if s.type == kind)
        ends = [(p.pts + p.duration) * p.time_base for p in container.demux(stream) if p.size]
        return float(max(ends))


def steps_of(path):
    times = [float(time) for time, _ in frames_of(path)]
    return np.diff(times)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("kind", [".mkv", ".mp4"])
@pytest.mark.parametrize("rate", [Fraction(10), Fraction(24000, 1001)])
def test_the_frame_rate_is_that_of_the_source(tmp_path, rate, kind, suffix):
    times = range(0, 12 * rate.denominator, rate.denominator)
    unit = Fraction(1, rate.numerator)
    source = make_video(tmp_path / f"a{kind}", times, (32, 32), rate=rate, unit=unit)
    target = upscale_video(twice, 2, source, tmp_path / f"b{suffix}", segment_frames=5)
    assert rates_of(source) == rates_of(target) == (rate, rate)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_varying_rate_stays_varying(tmp_path, suffix):
    source = make_video(tmp_path / "a.mp4", VARIABLE, describe=no_b_frames)
    target = upscale_video(twice, 2, source, tmp_path / f"b{suffix}", segment_frames=3)
    np.testing.assert_allclose(steps_of(target), np.diff(VARIABLE) / 12288, atol=0.0011)
    assert float(rates_of(target)[0]) == pytest.approx(float(rates_of(source)[0]), rel=0.01)


def test_milliseconds_of_matroska_become_exact_times_again(tmp_path):
    times, unit = range(0, 30 * 1001, 1001), Fraction(1, 24000)
    source = make_video(tmp_path / "a.mkv", times, (32, 32), rate=Fraction(24000, 1001), unit=unit)
    assert frames_of(source)[1][0] == Fraction(42, 1000)
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4")
    assert [time for time, _ in frames_of(target)] == [time * unit for time in times]


def test_a_long_pause_stays(tmp_path):
    times = [0, 1000, 2000, 400_000, 401_000]
    for kind in (".mp4", ".mkv"):
        source = make_video(tmp_path / f"a{kind}", times)
        target = upscale_video(twice, 2, source, tmp_path / f"b{kind}")
        assert steps_of(target)[2] == pytest.approx(398_000 / 12288, abs=0.002)


def no_b_frames(context):
    context.max_b_frames = 0


def transport_stream(path, *, codec="mpeg2video", sound="aac", size=(48, 64)):
    """A second of frames, and of sound."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream(sound, rate=48000) if sound else None
        if audio:
            audio.codec_context.layout = "mono"
        for number in range(25):
            pixels = np.full((*size, 3), 10 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode(None))
        if audio:
            mux_tone(container, audio, 47)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("sound", ["aac", None])
def test_concatenated_recordings_play_one_after_the_other(tmp_path, sound, suffix):
    one = transport_stream(tmp_path / "one.ts", sound=sound)
    source = tmp_path / "two.ts"
    source.write_bytes(one.read_bytes() * 2)
    notes = []
    target = upscale_video(
        twice, 2, source, tmp_path / f"b{suffix}", on_note=notes.append, segment_frames=20
    )
    assert len(frames_of(target)) == 50
    longer = 0.03 if sound else 0  # the sound of the first part is longer than its frames
    np.testing.assert_allclose(steps_of(target), 0.04, atol=0.0011 + longer)
    assert any("start again" in note for note in notes)
    if sound:
        assert end_of(target, "video") == pytest.approx(2, abs=0.06)
        assert end_of(target, "audio") == pytest.approx(2, abs=0.06)
        assert len(packets_of(target, "audio")) == len(packets_of(source, "audio"))


def test_a_change_of_size_is_brought_to_the_first_size(tmp_path):
    one = transport_stream(tmp_path / "one.ts", codec="libx264", sound=None)
    two = transport_stream(tmp_path / "two.ts", codec="libx264", sound=None, size=(64, 96))
    source = tmp_path / "both.ts"
    source.write_bytes(one.read_bytes() + two.read_bytes())
    notes = []
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4", on_note=notes.append)
    frames = frames_of(target)
    assert {frame.shape for _, frame in frames} == {(96, 128, 3)}
    np.testing.assert_allclose(steps_of(target), 0.04, atol=1e-4)
    assert any("64x48 to 96x64" in note for note in notes)


def test_frames_of_avi_without_times_follow_one_another(tmp_path):
    source = make_video(
        tmp_path / "a.avi", range(20), rate=24, unit=Fraction(1, 24),
        options={"crf": "2"}, describe=lambda context: setattr(context, "max_b_frames", 2),
    )  # fmt: skip
    target = upscale_video(twice, 2, source, tmp_path / "b.mp4")
    np.testing.assert_allclose(steps_of(target), 1 / 24, atol=1e-4)
    assert rates_of(target)[0] == 24


# One packet of each stream a second, in units of a second.


def stream(index, kind="video"):
    return SimpleNamespace(index=index, type=kind)


def packet(stream, dts, *, pts=None, duration=1):
    pts = dts if pts is None else pts
    return SimpleNamespace(
        stream=stream, dts=dts, pts=pts, duration=duration, time_base=Fraction(1), size=1
    )


def placed(packets, flags=0x200, start=0):
    container = SimpleNamespace(format=SimpleNamespace(flags=flags), start_time=start)
    timeline = Timeline(container)
    for one in packets:
        timeline.place(one)
    return [one.dts for one in packets], timeline.jumps


VIDEO, AUDIO = stream(0), stream(1, "audio")


def test_one_offset_holds_for_all_streams():
    times = [(VIDEO, 5), (AUDIO, 5), (VIDEO, 6), (AUDIO, 6), (VIDEO, 0), (AUDIO, 0), (VIDEO, 1)]
    assert placed([packet(*one) for one in times]) == ([5, 5, 6, 6, 7, 7, 8], 1)


def test_a_packet_from_before_the_jump_may_come_after_it():
    times = [(VIDEO, 5), (AUDIO, 5), (VIDEO, 6), (VIDEO, 0), (AUDIO, 6), (AUDIO, 0), (VIDEO, 1)]
    assert placed([packet(*one) for one in times]) == ([5, 5, 6, 7, 6, 7, 8], 1)


def test_a_jump_is_found_without_decoding_times():
    first = [packet(VIDEO, time) for time in (5, 6)]
    late = packet(VIDEO, 0)
    late.dts = None
    placed([*first, late, packet(VIDEO, 1)])
    assert late.pts == 7


def test_a_new_part_begins_after_all_streams_of_the_last():
    times = [(VIDEO, 5), (AUDIO, 5), (VIDEO, 6), (VIDEO, 7), (VIDEO, 8), (AUDIO, 0), (VIDEO, 0)]
    assert placed([packet(*one) for one in times]) == ([5, 5, 6, 7, 8, 9, 9], 1)


def test_a_gap_of_all_streams_is_closed_where_formats_know_jumps():
    times = [(VIDEO, 0), (AUDIO, 0), (VIDEO, 1), (AUDIO, 1), (VIDEO, 50), (AUDIO, 50)]
    assert placed([packet(*one) for one in times]) == ([0, 0, 1, 1, 2, 2], 1)
    assert placed([packet(*one) for one in times], flags=0) == ([0, 0, 1, 1, 50, 50], 0)


def test_a_pause_of_one_stream_is_not_a_gap():
    sound = [packet(AUDIO, time) for time in range(30)]
    assert placed([packet(VIDEO, 0), *sound, packet(VIDEO, 29)])[1] == 0


def test_subtitles_go_with_the_streams_around_them():
    text = stream(2, "subtitle")
    times = [(VIDEO, 5), (text, 5), (VIDEO, 6), (VIDEO, 0), (text, 0), (VIDEO, 1)]
    assert placed([packet(*one) for one in times]) == ([5, 5, 6, 7, 7, 8], 1)


def test_the_first_packet_of_a_transport_stream_is_at_0():
    assert placed([packet(VIDEO, 7), packet(VIDEO, 8)], start=7_000_000)[0] == [0, 1]


def frame(pts):
    return SimpleNamespace(pts=pts, duration=0, time_base=Fraction(1, 100))


def frame_times(rate=Fraction(10)):
    container = SimpleNamespace(format=SimpleNamespace(name="other", flags=0))
    rates = dict.fromkeys(("average_rate", "base_rate", "guessed_rate"), rate)
    unit = Fraction(1, 3000)
    return FrameTimes(
        SimpleNamespace(time_base=unit, start_time=0, duration=0, container=container, **rates)
    )


def test_frames_without_a_time_are_put_between_the_others():
    times = frame_times()
    frames = [frame(pts) for pts in (None, None, 900, None, 1500, 1500)]
    done = list(times.timed(frames)) + list(times.timed([], last=True))
    assert [one.pts for one in done] == [300, 600, 900, 1200, 1500, 1501]


def test_frames_without_any_time_follow_the_rate():
    times = frame_times()
    done = list(times.timed([frame(None)] * 1 + [frame(None), frame(None)]))
    done += list(times.timed([], last=True))
    assert [one.pts for one in done] == [0, 300, 600]
