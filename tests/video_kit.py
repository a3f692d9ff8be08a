"""Makes small videos with PyAV, and takes videos apart."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")
reformatter = pytest.importorskip("av.video.reformatter").Interpolation
ACCURATE = reformatter.BICUBIC | reformatter.ACCURATE_RND | reformatter.FULL_CHR_H_INT

CONSTANT = tuple(range(0, 20 * 512, 512))
VARIABLE = (0, 500, 900, 2100, 2300, 5000, 5100, 7000)


def twice(frame):
    return frame.repeat(2, 0).repeat(2, 1)


def moving_gradient(number, height, width, dtype=np.uint8):
    """A gradient that moves, its colors far from gray."""
    y, x = np.mgrid[0:height, 0:width]
    layers = [40 + 5 * number + 0 * x, 200 - 2 * x, 60 + 2 * y]
    frame = np.stack(layers, axis=2).clip(0, 255)
    return (frame * (257 if dtype == np.uint16 else 1)).astype(dtype)


def mux_tone(container, stream, count):
    """Write so many frames of 1024 samples of a tone, mono at 48 kHz, and end the stream."""
    for number in range(count):
        wave = np.sin(np.arange(1024) * 0.05)[None].astype(np.float32)
        sample = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        sample.rate, sample.pts = 48000, number * 1024
        container.mux(stream.encode(sample))
    container.mux(stream.encode(None))


def make_video(
    path,
    times=CONSTANT,
    size=(48, 64),
    *,
    sound=None,
    subtitles=None,
    rotation=0,
    pix_fmt="yuv420p",
    matrix=5,
    full=False,
    codec="libx264",
    rate=24,
    unit=Fraction(1, 12288),
    options=None,
    describe=lambda context: None,
):
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width, video.pix_fmt = *size, pix_fmt
        video.time_base = video.codec_context.time_base = unit
        video.codec_context.options = options or {"crf": "2", "g": "6"}
        video.codec_context.colorspace, video.codec_context.color_range = matrix, 2 if full else 1
        describe(video.codec_context)
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=48000) if sound else None
        if audio:
            audio.codec_context.layout = "mono"
            if sound == "wmav2":  # knows no bit rate of its own
                audio.bit_rate = 64_000
            audio.metadata["language"] = "eng"
        deep = "10" in pix_fmt
        for number, time in enumerate(times):
            pixels = moving_gradient(number, *size, np.uint16 if deep else np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb48le" if deep else "rgb24")
            frame = frame.reformat(
                format=pix_fmt,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=2 if full else 1,
                interpolation=ACCURATE,
            )
            frame.pts, frame.time_base = time, unit
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            mux_tone(container, audio, 12)
    return path


def frames_of(path, kind="rgb24"):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(f.pts * f.time_base, f.to_ndarray(format=kind)) for f in container.decode(stream)]


def packets_of(path, kind):
    with av.open(str(path)) as container:
        (stream,) = (s for s in container.streams if s.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
