"""Reads a stream until it ends: which packets are decoded, which frames are sent, and when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from eaves.plugins.camera.decoder_images import JpegEncoder, JpegError, check_jpeg
from eaves.plugins.camera.decoder_opening import MAX_PIXELS, OpenStream, StreamError, explain_read_error, open_stream
from eaves.plugins.camera.messages import Alive, Ended, Opened, StreamFrame, StreamRequest

if TYPE_CHECKING:
    from eaves.plugins.camera.decoder import Output, StopSignal

ALIVE_S = 1.0
"""Seconds between two messages that data arrive."""
MAX_WAIT_S = 10.0
"""Maximum time between two frames of a file, seconds. Recordings of a camera that were put together have stream times
that jump by hours, and MPEG-TS takes a jump back for one of 26 hours ahead."""
JUMP_S = 1.0
"""Pause in place of a longer one, seconds: long enough that no frame of a time lapse takes another's place."""
MAX_BACK_S = 1.0
"""Maximum time by which a frame's time may precede that of the frame before it, seconds, as in streams whose frames are
stored in another order than they are shown in."""
MAX_NS = 2**63 - 1
"""Maximum capture time, nanoseconds since 1970. A file can claim any time and any length, and its time of the last
change is 1970 in reproducible archives and images."""


def read_stream(request: StreamRequest, output: Output, stop: StopSignal) -> Ended | None:
    """Read a stream and return the last message; None when a signal ended it."""
    try:
        stream = open_stream(request, output.put)
        ended = StreamReader(request, stream, output, stop).run()
    except Exception as error:  # noqa: BLE001
        return explain_read_error(error)
    stream.container.close()  # it says goodbye to the camera; no other thread uses it
    return None if stop.received else ended


class StreamReader:
    """Reads one stream.

    Args:
        request: What the parent asks for.
        stream: The open stream.
        output: Writes messages to the parent.
        stop: Says when reading must end.
    """

    def __init__(self, request: StreamRequest, stream: OpenStream, output: Output, stop: StopSignal) -> None:
        self._request, self._stream, self._output, self._stop = request, stream, output, stop
        # PyAV makes a fraction of each rate and time that is asked for; asked for once, they cost nothing.
        self._rate = float(stream.video.average_rate or 0)
        self._tick_s = float(stream.video.time_base or 0)
        self._selection = FrameSelection(request.every_s)
        self._encoder = JpegEncoder()
        self._opened: Opened | None = None
        self._number = -1
        self._alive_at = 0.0
        self._began = self._due = time.monotonic()
        self._file_start_s = 0.0
        if stream.is_file:  # the recording began at its file's last change less its length
            length_s = (stream.container.duration or 0) / av.time_base
            self._file_start_s = max(0.0, Path(request.url).stat().st_mtime - length_s)
        self._first_pts_s: float | None = None
        self._last_pts_s = 0.0

    def run(self) -> Ended:
        """Read the stream to its end.

        Raises:
            StreamError: When a live stream ends.
            av.error.FFmpegError: When it can't be read any more.
        """
        video = self._stream.video
        self._announce(video.codec_context.width, video.codec_context.height)
        for packet in self._stream.container.demux(video):
            if self._stop.received:
                break
            if packet.size == 0:
                continue  # the end, after which the decoder may still hold frames
            self._number += 1
            self._read(packet)
        if not self._stream.is_file and not self._stop.received:
            raise StreamError("broken")
        return Ended(code="finished")

    def _read(self, packet: Packet[VideoStream]) -> None:
        stream_time = self._seconds(packet.dts if packet.pts is None else packet.pts)
        time_s = self._wait_for(stream_time) if self._stream.is_file else time.monotonic()
        self._show_life(time.monotonic())
        if self._stream.passes_on:
            self._pass_on(packet, time_s)
        else:
            self._decode(packet, time_s)

    def _pass_on(self, packet: Packet[VideoStream], time_s: float) -> None:
        if not self._selection.is_due(time_s):
            return
        if packet.size > self._request.max_bytes:
            self._output.drop("too_large", f"the JPEG image has {packet.size} bytes")
            return
        try:
            data, width, height = check_jpeg(bytes(packet), self._stream.video)
        except JpegError as error:
            self._output.drop("unreadable", str(error))
            return
        if width * height > MAX_PIXELS:
            self._output.drop("too_large", f"the JPEG image has {width}x{height} pixels")
        elif self._selection.take(time_s):
            self._send(data, width, height, time_s)

    def _decode(self, packet: Packet[VideoStream], time_s: float) -> None:
        selection = self._selection
        before = selection.decoding
        if not selection.begin_packet(is_key=packet.is_keyframe, time_s=time_s):
            return
        if selection.decoding != before:
            self._stream.video.codec_context.flush_buffers()
        alone = selection.decoding == "key"
        if alone and not selection.is_due(time_s):
            return
        try:
            frames = self._decode_packet(packet, alone=alone)
            for frame in frames:
                self._take(frame, time_s if alone else self._find_time(frame, time_s))
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError as error:
            self._output.drop("unreadable", f"a frame can't be decoded: {error.strerror}")

    def _decode_packet(self, packet: Packet[VideoStream], *, alone: bool) -> list[VideoFrame]:
        """Decode a packet; one that is decoded alone gives its frame at once, though a decoder may hold frames back."""
        context = self._stream.video.codec_context
        if not alone:
            return context.decode(packet)
        try:
            return context.decode(packet) + context.decode(None)
        finally:
            context.flush_buffers()

    def _find_time(self, frame: VideoFrame, time_s: float) -> float:
        """Return the time of a frame of a file; frames of a live stream have the time at which they arrive."""
        stream_time = self._seconds(frame.pts) if self._stream.is_file else None
        return time_s if stream_time is None else stream_time - (self._first_pts_s or 0.0)

    def _take(self, frame: VideoFrame, time_s: float) -> None:
        if frame.is_corrupt:
            self._output.drop("unreadable", "a part of the frame is missing")
        elif self._selection.take(time_s):
            data = self._encoder.encode(frame)
            if len(data) > self._request.max_bytes:
                self._output.drop("too_large", f"the JPEG image has {len(data)} bytes")
            else:
                self._send(data, frame.width, frame.height, time_s)

    def _send(self, data: bytes, width: int, height: int, time_s: float) -> None:
        self._announce(width, height)
        # A live frame's time is on the monotonic clock until now, because the wall clock may be set at any time.
        start_s = self._file_start_s if self._stream.is_file else time.time() - time.monotonic()
        frame = StreamFrame(
            data=data,
            number=self._number,
            captured_at_ns=min(MAX_NS, max(0, int((start_s + time_s) * 1e9))),
        )
        self._output.put(frame)

    def _announce(self, width: int, height: int) -> None:
        """Say what the stream is, when that is new."""
        decoding: Literal["none", "key", "all"] = "none" if self._stream.passes_on else self._selection.decoding
        last = self._opened
        if last is not None and (last.width, last.height, last.decoding) == (width, height, decoding):
            return
        self._opened = Opened(
            codec=self._stream.video.codec_context.name,
            width=width,
            height=height,
            rate=self._rate,
            decoding=decoding,
        )
        self._output.put(self._opened)

    def _show_life(self, arrived: float) -> None:
        if arrived - self._alive_at >= ALIVE_S:
            self._alive_at = arrived
            self._output.put(Alive())

    def _seconds(self, value: int | None) -> float | None:
        return None if value is None or not self._tick_s else value * self._tick_s

    def _wait_for(self, stream_time: float | None) -> float:
        """Wait until a file's frame is due and return its time since the file's start."""
        if stream_time is None:
            return time.monotonic() - self._began
        if self._first_pts_s is None:
            self._first_pts_s = self._last_pts_s = stream_time
        step_s, self._last_pts_s = stream_time - self._last_pts_s, stream_time
        self._due += step_s if -MAX_BACK_S <= step_s <= MAX_WAIT_S else JUMP_S
        while self._request.paced and not self._stop.received and (pause := self._due - time.monotonic()) > 0:
            self._show_life(time.monotonic())
            time.sleep(min(pause, ALIVE_S))
        return stream_time - self._first_pts_s


_TOLERANCE, _MAX_TOLERANCE_S = 0.1, 0.2
"""Part of `every_s`, and seconds, by which a frame may come too early, because key frames never come at exactly equal
intervals."""
_JUMP = 3
"""A frame that is due in more than `every_s` times this factor shows that times jumped back."""
_ALL_ABOVE = 1.5
"""All frames are decoded when key frames are further apart than `every_s` times this factor."""
_KEY_BELOW = 1.25
"""Only key frames are decoded again when they are closer than `every_s` times this factor."""


class FrameSelection:
    """Decides from the times of frames, in seconds.

    Args:
        every_s: Minimum time between two frames; 0 for every key frame.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._tolerance_s = 0.0
        self._seen: float | None = None
        self._due: float | None = None
        self._last_key: float | None = None
        # Frames that follow a key frame can't be decoded later, so all are until the interval of key frames is known.
        self.decoding: Literal["key", "all"] = "all" if every_s > 0 else "key"
        self.key_interval_s = 0.0

    def begin_packet(self, *, is_key: bool, time_s: float) -> bool:
        """Note a packet and return whether it must be decoded."""
        if is_key:
            if self._last_key is not None and time_s > self._last_key:
                self.key_interval_s = time_s - self._last_key
            self._last_key = time_s
            if self.key_interval_s > _ALL_ABOVE * self._every_s > 0:
                self.decoding = "all"
            elif self._every_s <= 0 or 0 < self.key_interval_s <= _KEY_BELOW * self._every_s:
                self.decoding = "key"
        return is_key or self.decoding == "all"

    def is_due(self, time_s: float) -> bool:
        """Note a frame that could be sent, and return whether `take` would return True."""
        if self._seen is not None and time_s > self._seen:
            # When the next frame comes soon, this one needn't be taken too early.
            interval_s = time_s - self._seen
            self._tolerance_s = min(_TOLERANCE * self._every_s, _MAX_TOLERANCE_S, interval_s / 2)
        self._seen = time_s
        if self._every_s <= 0 or self._due is None:
            return True
        ahead = self._due - time_s
        return ahead <= self._tolerance_s or ahead > _JUMP * self._every_s

    def take(self, time_s: float) -> bool:
        """Return whether a frame of this time is sent, and count it as sent."""
        if not self.is_due(time_s):
            return False
        if self._due is None or self._due - time_s > self._tolerance_s:
            self._due = time_s
        # A frame that is a little late doesn't make all later ones late.
        self._due = max(self._due, time_s - self._tolerance_s) + self._every_s
        return True
