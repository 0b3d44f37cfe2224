"""Reads a stream until it ends: which packets are decoded, which frames are sent, and when they were captured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from eaves.sources.camera.decoder.images import JpegEncoder, JpegError, check_jpeg
from eaves.sources.camera.decoder.opening import MAX_PIXELS, OpenStream, StreamError, explain_read_error, open_stream
from eaves.sources.camera.decoder.process import Output, StopSignal
from eaves.sources.camera.decoder.timing import CaptureClock, FrameSelection
from eaves.sources.camera.wire import Alive, Ended, Opened, StreamFrame, StreamRequest

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
        self._clock = CaptureClock()
        self._encoder = JpegEncoder()
        self._opened: Opened | None = None
        self._number = -1
        self._alive_at = 0.0
        self._previous: float | None = None
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
        arrived = time.monotonic()
        stream_time = self._seconds(packet.dts if packet.pts is None else packet.pts)
        if self._stream.is_file:
            time_s = self._wait_for(stream_time)
            arrived = time.monotonic()
        else:
            begin = self._find_begin(arrived)
            if self._stream.has_times:
                self._clock.observe(stream_time, begin)
            time_s = self._clock.find(stream_time, begin)
        self._show_life(arrived)
        if self._stream.passes_on:
            self._pass_on(packet, time_s)
        else:
            self._decode(packet, time_s, arrived)

    def _find_begin(self, arrived: float) -> float:
        """Return when the first byte of a frame arrived. FFmpeg's parser returns a frame when the next one begins."""
        if not self._stream.is_parsed or self._stream.passes_on:
            return arrived
        begin = self._previous or arrived - (1 / self._rate if self._rate else 0.0)
        self._previous = arrived
        return begin

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

    def _decode(self, packet: Packet[VideoStream], time_s: float, arrived: float) -> None:
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
                self._take(frame, time_s if alone else self._find_time(frame, time_s, arrived))
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

    def _find_time(self, frame: VideoFrame, time_s: float, arrived: float) -> float:
        stream_time = self._seconds(frame.pts)
        if stream_time is None:
            return time_s
        if self._stream.is_file:
            return stream_time - (self._first_pts_s or 0.0)
        return self._clock.find(stream_time, arrived)

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
