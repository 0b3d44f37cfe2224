"""A real RTMP server, nginx's, on loopback, to which a thread publishes a video: stopped, started again, made deaf."""

import io
import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import pytest

from tests.inputs.videos import Video, wait_for_frame
from tests.processes.server import ServerProcess

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
CONFIG = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/rtmp_server.log;
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; wait_key on; }} }} }}
"""


class RtmpServer(ServerProcess):
    """One server with one stream. It is the caller's to start and to end.

    Args:
        folder: For its configuration and log.
        video: What is published to it, from the start to `close`: frame `n` of `N` whenever the number of frames since
            1970 is `n` modulo `N`.

    Attributes:
        url: Address of the stream.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        super().__init__(folder / "output.log")
        self.url = f"rtmp://127.0.0.1:{self.port}/live/camera"
        self._folder = folder
        self._video = video
        self._closed = threading.Event()
        self._publisher = threading.Thread(target=self._publish, daemon=True)
        config = CONFIG.format(module=MODULE, folder=folder, port=self.port)
        (folder / "nginx.conf").write_text(config)

    def start(self) -> None:
        command = ["nginx", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"]
        self.launch(command, {"PATH": PATH})
        if not self._publisher.is_alive():
            self._publisher.start()

    def close(self) -> None:
        """End the server and what is published to it."""
        self._closed.set()
        self.stop()
        if self._publisher.is_alive():
            self._publisher.join(20)

    def _publish(self) -> None:
        """Publish whenever the server takes it."""
        while not self._closed.is_set():
            with suppress(OSError):
                self._publish_once()
            self._closed.wait(0.1)

    def _publish_once(self) -> None:
        import av

        video = self._video
        source = av.open(io.BytesIO(video.packets[0].data), format=video.codec)
        with av.open(
            self.url, "w", format="flv", options={"flvflags": "no_duration_filesize"}, timeout=10
        ) as container:
            stream = container.add_stream_from_template(source.streams.video[0])
            first = video.next_key(int(time.time() * video.rate) + 1)
            for number in itertools.count(first):
                wait_for_frame(video, number)
                if self._closed.is_set():
                    return
                encoded = video.packets[number % len(video.packets)]
                packet = av.Packet(encoded.data)
                packet.stream = stream
                packet.time_base = Fraction(1, video.rate)
                packet.pts = packet.dts = number - first
                packet.is_keyframe = encoded.key
                container.mux(packet)


@contextmanager
def run_rtmp_server(folder: Path, video: Video) -> Iterator[RtmpServer]:
    """A server that runs in the block; the test is skipped where nginx's module isn't installed, except in CI."""
    if (shutil.which("nginx", path=PATH) is None or not MODULE.exists()) and not os.environ.get("CI"):
        pytest.skip("nginx's RTMP module is not installed (Debian: apt install libnginx-mod-rtmp)")
    server = RtmpServer(folder, video)
    server.start()
    try:
        yield server
    finally:
        server.close()
