"""Frame times: close jumps, fill in missing times, undo rounding.

In concatenated MPEG-TS, VOB or FLV files, times restart or jump. :class:`Timeline` then shifts all
streams by one offset, as ffmpeg does, so that the parts follow one another and sound and image stay
in sync. It needs the packets in the order of the file; a second pass over the same streams gives
the same offsets.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

_MAY_JUMP = 0x200  # ffmpeg's AVFMT_TS_DISCONT
_BACK = Fraction(1, 10)  # seconds; as in ffmpeg
_BACK_OTHERWISE = Fraction(1, 2)  # in formats whose decoding times may be guessed
_AHEAD = 10
_REORDERED = Fraction(1, 2)  # that frames may be decoded before they are shown, at most
_MAX_TIMELESS = 32
_NO_TIMES = 0x80  # ffmpeg's AVFMT_NOTIMESTAMPS
_COARSE, _FINEST = Fraction(1, 2000), Fraction(1, 1_000_000)
_RATES_DIFFER = Fraction(1, 200)  # more than rounded times cause in a short clip


class Timeline:
    """Shifts the times of packets to those in the result.

    Args:
        container: of the source. If its format allows jumps in time (MPEG-TS and others), gaps of
            more than 10 seconds in all streams are closed, and the first packet is at 0.
    """

    def __init__(self, container: Any) -> None:
        self._jumpy = bool(container.format.flags & _MAY_JUMP)
        begin = Fraction(container.start_time or 0, 1_000_000) if self._jumpy else Fraction(0)
        self._offset = self._previous = -begin
        self.start = begin
        self.jumps = 0
        self._last: dict[int, Fraction] = {}  # decoding time of each stream's last packet
        self._next: dict[int, Fraction] = {}  # and the end of it
        self._latest: Fraction | None = None  # the latest of these
        self._shown: Fraction | None = None  # the end of the frames, and nearly that of the sound
        self._settled: set[int] = set()  # streams that are past the last jump

    def place(self, packet: Any) -> None:
        """Shift a packet's times in place."""
        if packet.dts is None and packet.pts is None:
            return
        unit = packet.time_base
        shown = None if packet.pts is None else packet.pts * unit
        decoded = None if packet.dts is None else packet.dts * unit
        duration = (packet.duration or 0) * unit
        if packet.stream.type in ("audio", "video"):
            offset = self._follow(packet.stream.index, decoded, shown, duration)
            self._note_end(packet.stream.type, shown, offset + duration)
        else:
            offset = self._nearest(shown if shown is not None else decoded or Fraction(0))
        ticks = round(offset / unit)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks

    def _follow(
        self, stream: int, decoded: Fraction | None, shown: Fraction | None, duration: Fraction
    ) -> Fraction:
        """The offset of a packet, at its decoding time or, without one, at its time."""
        time = decoded if decoded is not None else shown or Fraction(0)
        if stream not in self._last:
            offset = self._nearest(time) if self._jumpy else self._offset
        else:
            offset = self._offset_after(stream, time, shown)
        if offset == self._offset:
            self._settled.add(stream)
        if decoded is not None:
            self._last[stream] = decoded + offset
            self._next[stream] = decoded + offset + duration
            self._latest = max(self._latest or self._next[stream], self._next[stream])
        return offset

    def _note_end(self, kind: str, shown: Fraction | None, more: Fraction) -> None:
        """Note where a packet ends; at a jump, a little sound may be cut to keep images even."""
        if shown is not None:
            end = shown + more - (0 if kind == "video" else _BACK)
            self._shown = end if self._shown is None else max(self._shown, end)

    def _offset_after(self, stream: int, time: Fraction, shown: Fraction | None) -> Fraction:
        """The offset with which a packet follows the one before it in its stream."""
        expected = self._next[stream]
        candidates = [self._offset]
        if stream not in self._settled:  # its last packets from before the jump may come late
            candidates.append(self._previous)
        fitting = [offset for offset in candidates if self._fits(stream, time + offset)]
        if fitting:
            return min(fitting, key=lambda offset: abs(time + offset - expected))
        self._previous, self._offset = self._offset, expected - time
        if shown is not None and self._shown is not None:
            self._offset = max(self._offset, self._shown - shown)
        self._last[stream] = time + self._offset - _REORDERED
        self._settled = {stream}
        self.jumps += 1
        return self._offset

    def _fits(self, stream: int, time: Fraction) -> bool:
        back = _BACK if self._jumpy else _BACK_OTHERWISE
        if time < self._last[stream] - back:
            return False
        return not self._jumpy or self._latest is None or time <= self._latest + _AHEAD

    def _nearest(self, time: Fraction) -> Fraction:
        """The offset nearest to the other streams, for sparse streams such as subtitles."""
        if self._latest is None:
            return self._offset
        latest = self._latest
        return min((self._offset, self._previous), key=lambda o: abs(time + o - latest))


class FrameTimes:
    """Gives each frame its time, later than the one before, in units of ``time_base``.

    A frame without a time gets the next one of the decoding times, which are in the same order
    (AVI stores no others), or else one frame's duration after the last. Where the source counts in
    milliseconds and its rate is constant (Matroska, FLV), frames are put back on the grid of that
    rate.
    """

    def __init__(self, stream: Any) -> None:
        self._unit: Fraction = stream.time_base
        self._rate = frame_rate(stream)
        finer = _finer(self._unit, self._rate)
        self._grid = _is_constant(stream) and self._unit > _COARSE and finer >= _FINEST
        self.time_base = finer if self._grid else self._unit
        self._decoding_alone = stream.container.format.name == "avi"
        self._waiting: deque[int] = deque()  # decoding times of packets without another
        self._timeless: list[Any] = []  # frames before the first with a time
        self._first: Fraction | None = None
        self._last: int | None = None
        self._end = (stream.start_time or 0) + (stream.duration or 0)
        self._step = max(1, round(1 / ((self._rate or 25) * self.time_base)))

    def packet(self, packet: Any) -> None:
        """Note a packet before it is decoded."""
        known = packet.pts is not None and not self._decoding_alone
        if packet.size and packet.dts is not None and not known:
            self._waiting.append(packet.dts)

    def timed(self, frames: list[Any], last: bool = False) -> Iterator[Any]:
        """Set ``pts`` and ``duration`` of decoded frames; frames without a time may come later.

        Args:
            frames: in the order in which they are shown.
            last: whether no more will come.
        """
        for frame in frames:
            stamp = self._stamp(frame)
            if stamp is None and self._last is None and len(self._timeless) < _MAX_TIMELESS:
                self._timeless.append(frame)
                continue
            time = None if stamp is None else self._convert(stamp * self._unit)
            yield from self._released(time)
            yield self._set(frame, time)
        if last:
            yield from self._released(None)

    def _released(self, time: int | None) -> Iterator[Any]:
        """Frames without a time before the first with one."""
        frames, self._timeless = self._timeless, []
        for count, frame in enumerate(frames):
            before = None if time is None else time - self._step * (len(frames) - count)
            yield self._set(frame, before)

    def _stamp(self, frame: Any) -> int | None:
        stamp: int | None = None if self._decoding_alone else frame.pts
        if stamp is None and self._waiting:
            stamp = self._waiting.popleft()
        return stamp

    def _set(self, frame: Any, time: int | None) -> Any:
        if time is None:
            time = 0 if self._last is None else self._last + self._step
        self._last = time if self._last is None else max(time, self._last + 1)
        frame.duration = self._duration(frame, self._last)  # in the stream's units before
        frame.pts, frame.time_base = self._last, self.time_base
        return frame

    def _duration(self, frame: Any, time: int) -> int:
        """A frame's duration, within the rest of the stream: decoders mix up those of B-frames."""
        if self._grid:
            return self._step
        duration = round((frame.duration or 0) * self._unit / self.time_base) or self._step
        left = self._end - time
        return min(duration, left if left > 0 else self._step)

    def _convert(self, seconds: Fraction) -> int:
        if self._grid and self._rate:
            if self._first is None:
                self._first = Fraction(round(seconds / self.time_base)) * self.time_base
            near = self._first + round((seconds - self._first) * self._rate) / self._rate
            if abs(near - seconds) <= self._unit:
                seconds = near
        return round(seconds / self.time_base)


def frame_rate(stream: Any) -> Fraction | None:
    """Frames per second, if known: the nominal rate, or the mean of a varying one."""
    if stream.container.format.flags & _NO_TIMES:  # only the stream knows it
        return stream.guessed_rate or None
    if _is_constant(stream):
        return Fraction(stream.base_rate)
    return stream.average_rate or stream.guessed_rate or None


def _is_constant(stream: Any) -> bool:
    average, base = stream.average_rate, stream.base_rate
    return bool(average and base) and abs(average / base - 1) < _RATES_DIFFER


def _finer(unit: Fraction, rate: Fraction | None) -> Fraction:
    """A unit of time that holds both a source's times and the frames of a constant rate."""
    return Fraction(1, math.lcm(unit.denominator, rate.numerator if rate else 1))
