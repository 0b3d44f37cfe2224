"""A camera's web server that shows a video live by HLS, for `tests.fakes.http.camera.open_camera`.

A segment is what lies between two key frames. Segments are numbered from the server's start, and the playlist has the
last few of them, by the wall clock (RFC 8216, section 6.2.2).
"""

from __future__ import annotations

import io
import time
from fractions import Fraction

from tests.fakes.http.camera import Asked, respond
from tests.inputs.videos import Video

LISTED = 3
"""Segments in the playlist."""


class HlsCamera:
    """Answers to requests for the playlist, `/live.m3u8`, and its segments.

    Args:
        video: What it shows, with key frames at equal distances.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        keys = [number for number, packet in enumerate(video.packets) if packet.key]
        self._frames = keys[1] if len(keys) > 1 else len(video.packets)
        self._first = int(time.time() * video.rate) // self._frames - LISTED

    def answer(self, asked: Asked) -> bytes:
        """Answer one request."""
        name = asked.target.partition("?")[0].rpartition("/")[2]
        if name == "live.m3u8":
            return respond(body=self._playlist().encode(), Content_Type="application/vnd.apple.mpegurl")
        number = name.removesuffix(".ts")
        if not number.isdigit() or int(number) not in self._listed():
            return respond(404)
        return respond(body=self._segment(int(number)), Content_Type="video/mp2t")

    def _listed(self) -> range:
        finished = int(time.time() * self._video.rate) // self._frames - self._first
        return range(max(0, finished - LISTED), finished)

    def _playlist(self) -> str:
        listed = self._listed()
        seconds = self._frames / self._video.rate
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{max(1, round(seconds))}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{listed.start}")
        for number in listed:
            lines += [f"#EXTINF:{seconds:.3f},", f"{number}.ts"]
        return "\n".join([*lines, ""])

    def _segment(self, number: int) -> bytes:
        """The frames of a segment as an MPEG transport stream."""
        import av

        written = io.BytesIO()
        source = av.open(io.BytesIO(self._video.packets[0].data), format=self._video.codec)
        options = {"mpegts_copyts": "1"}
        with av.open(written, "w", format="mpegts", options=options) as container:
            stream = container.add_stream_from_template(source.streams.video[0])
            for index in range(number * self._frames, (number + 1) * self._frames):
                encoded = self._video.packets[(self._first * self._frames + index) % len(self._video.packets)]
                packet = av.Packet(encoded.data)
                packet.stream = stream
                packet.time_base = Fraction(1, self._video.rate)
                packet.pts = packet.dts = index
                packet.is_keyframe = encoded.key
                container.mux(packet)
        source.close()
        return written.getvalue()
