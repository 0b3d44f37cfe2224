"""Serves a looped H.264 stream by RTSP: `/usr/bin/python3 server.py PORT VIDEO`, with GStreamer's RTSP server.

It runs with Debian's Python and imports nothing of the project. The frame that is sent depends on the time alone, as
with a camera: one that connects late doesn't see the beginning. Every path is a camera of its own.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=source is-live=true format=time do-timestamp=true block=false max-bytes=8000000 "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={rate}/1 "
    "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 aggregate-mode=zero-latency )"
)


def load(path: Path) -> tuple[int, list[bytes]]:
    """Return the rate, and the access units of the video."""
    index, data = json.loads(path.with_suffix(".json").read_text()), path.read_bytes()
    ends = itertools.accumulate(index["units"])
    return index["rate"], [data[end - size : end] for end, size in zip(ends, index["units"], strict=True)]


class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Makes one camera's media, which all of its clients share."""

    def __init__(self, rate: int, units: list[bytes]) -> None:
        super().__init__()
        self.rate, self.units = rate, units
        self.set_launch(LAUNCH.format(rate=rate))
        self.set_shared(True)
        self.connect("media-configure", self.start)

    def start(self, _: Any, media: Any) -> None:
        """Begin to push frames into a media that a first client has opened."""
        ended = threading.Event()
        media.connect("unprepared", lambda *_: ended.set())
        source = media.get_element().get_child_by_name("source")
        threading.Thread(target=self.push, args=(source, ended), daemon=True).start()

    def push(self, source: Any, ended: threading.Event) -> None:
        """Push the frame of the moment until the media ends."""
        number = int(time.monotonic() * self.rate) + 1
        while not ended.wait(max(0.0, number / self.rate - time.monotonic())):
            data = self.units[number % len(self.units)]
            if source.emit("push-buffer", Gst.Buffer.new_wrapped(data)) != Gst.FlowReturn.OK:
                return
            number = max(number + 1, int(time.monotonic() * self.rate))  # a camera that hung sends no backlog


def main() -> None:
    """Serve until a signal."""
    port, video, *names = sys.argv[1:]
    Gst.init(None)
    rate, units = load(Path(video))
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    server.get_thread_pool().set_max_threads(len(names))  # else a media that waits for a key frame delays all clients
    for name in names:
        server.get_mount_points().add_factory(f"/{name}", Factory(rate, units))
    if not server.attach(None):
        sys.exit("error: the port is in use")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
