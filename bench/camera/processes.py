"""Runs the RTSP server that stands for cameras, and what reads its streams: the real agent, ffmpeg, or PyAV alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.camera.video import prepare_video
from bench.material import FOLDER
from bench.measure import accept_events
from bench.processes import environment, python, started, tree, wait_until
from bench.report import UnavailableError
from tests.ports import find_port

PYTHON = "/usr/bin/python3"
"""Debian's Python, which has GStreamer's bindings."""
SCRIPT, BARE = Path(__file__).with_name("server.py"), Path(__file__).with_name("bare.py")
END = b"\xff\xd9"
FFMPEG = (
    "ffmpeg -v error -nostdin -threads 1 -rtsp_transport tcp -fflags nobuffer -flags low_delay -analyzeduration 0"
    " -fpsprobesize 0 -skip_frame nokey -i {url} -an -fps_mode passthrough -c:v mjpeg -threads 1 -q:v 3 -f image2pipe -"
)
"""Command with which Debian's ffmpeg writes the key frames as JPEG images, with the options that make it fastest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Processes that read streams: the agent's id (0 without one), those of its children, and the frames so far."""

    agent: int = 0
    children: Sequence[int] = ()
    count: Callable[[], int] = lambda: 0


@contextmanager
def serve_cameras(number: int) -> Iterator[list[str]]:
    """Run an RTSP server with so many cameras until the block ends; yield the addresses of their streams.

    Raises:
        UnavailableError: When PyAV, GStreamer's RTSP server or its bindings are not installed.
    """
    video, port, names = prepare_video(), find_port(), [f"cam{place}" for place in range(number)]
    with tempfile.TemporaryFile("w+") as errors:
        command = [PYTHON, str(SCRIPT), str(port), str(video), *names]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                errors.seek(0)
                raise UnavailableError(f"the RTSP server doesn't start: {errors.read()[-200:].strip()}")
            yield [f"rtsp://127.0.0.1:{port}/{name}" for name in names]
        finally:
            process.kill()
            process.communicate()


@contextmanager
def run_agent(urls: Sequence[str]) -> Iterator[Reader]:
    """Run an agent with a camera source for each address, or with a folder, until the block ends."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agent-", dir=FOLDER) as folder, accept_events() as sink:
        sources = [{"name": f"cam{place}", "kind": "camera", "url": url} for place, url in enumerate(urls)]
        environ = environment(
            EAVES_SOURCES=json.dumps(sources or [{"name": "idle", "kind": "folder", "path": folder}]),
            EAVES_SPOOL=f"{folder}/agent.db",
            EAVES_SITE="bench",
            EAVES_PORT=str(find_port()),
            K_SINK=sink.url,
        )
        with started([python(), "-P", "-m", "eaves.sources"], environ) as process:
            wait_until(lambda: len(list(tree(process.pid))) > len(urls) and len(sink.arrived_at) >= 2 * len(urls))
            children = list(tree(process.pid))[1:]
            yield Reader(agent=process.pid, children=children, count=lambda: len(sink.arrived_at))


@contextmanager
def run_children(commands: Sequence[Sequence[str]], *, has_images: bool = True) -> Iterator[Reader]:
    """Run commands that write JPEG images, or nothing, until the block ends."""
    images = [0] * len(commands)

    def read(place: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while chunk := process.stdout.read1(1 << 20):  # type: ignore[attr-defined]
            images[place] += chunk.endswith(END)  # they write one image after the other, and pause between them

    with ExitStack() as stack:
        processes = []
        for place, command in enumerate(commands):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.kill)
            threading.Thread(target=read, args=(place, process), daemon=True).start()
            processes.append(process)
        wait_until(lambda: all(images) or not has_images)
        yield Reader(children=[process.pid for process in processes], count=lambda: sum(images))


def read_bare(url: str, what: str) -> list[str]:
    """Return the command with which PyAV alone writes the key frames (`keys`) or decodes nothing (`copy`)."""
    return [sys.executable, "-P", str(BARE), url, what]
