"""Measures how long it takes until a silent camera is noticed, and until a camera is back after its return.

`python -m bench camera_outages` prints and stores the outages; they last up to 5 minutes. The agent's log is kept in
`build/bench/camera/outages.log`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.camera.agent import Agent, LogLine, build_source, running
from bench.camera.cameras import CameraServer, serving
from bench.camera.sink import accepting
from bench.camera.stored import save
from bench.camera.video import prepare_video
from bench.local.platform import wait_until
from bench.report.section import build_table

SILENT_S = 15.0
"""Setting `silent_s`: an outage that is shorter is not noticed when the connection survives it."""
SILENT = f" is waiting: no data from the camera for {SILENT_S:g} s"
"""Part of the log line that says that a camera is silent."""
STORE = "outages"
STEADY_S = 12.0
"""Seconds for which a stream runs before the next outage."""
BETWEEN_S = (2.0, 100.0)
LONG_S = (180.0, 290.0)
FRESH_S = 3.0
"""Maximum age of a camera's last frame when its outage begins, seconds. Each camera sends one a second. GStreamer's
server sometimes sends nothing to a client that has just connected; such a camera is silent before its outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One outage of one camera.

    Attributes:
        kind: `stopped`: the server is killed, and its port refuses connections. `silent`: its process is stopped, so
            that connections stay open and new ones are accepted, and nothing is sent.
        length_s: Length of the outage, seconds.
        noticed_s: Time from the camera's last sign of life to the report that it is silent, seconds; None when the
            outage was over before.
        back_s: Time from the camera's return to the next frame on disk, seconds; None when none came.
    """

    kind: str
    length_s: float
    noticed_s: float | None
    back_s: float | None


def measure(count: int, long_count: int, seed: int) -> list[Outage]:
    """Measure outages of random lengths, of many cameras of one agent at the same time.

    Args:
        count: Number of outages of 2 to 100 seconds; each camera has two.
        long_count: Number of outages of 3 to 5 minutes; each camera has one.
        seed: Seed of the lengths.
    """
    draw = random.Random(seed)
    lengths = [[draw.uniform(*BETWEEN_S) for _ in range(2)] for _ in range(count // 2)]
    lengths += [[draw.uniform(*LONG_S)] for _ in range(long_count)]
    video = prepare_video(640, 360, 400_000)
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(video, [f"cam{number}"])) for number in range(len(lengths))]
        sources = [build_source(one.names[0], one.url(one.names[0]), silent_s=SILENT_S) for one in servers]
        agent = stack.enter_context(running(sources, sink=stack.enter_context(accepting()).url))
        wait_until(lambda: len({line.source for line in agent.read_log() if line.is_capture}) == len(servers))
        cuts: list[list[tuple[str, float, float]]] = [[] for _ in servers]
        threads = [
            threading.Thread(target=_cut, args=(agent, server, one, number, found))
            for number, (server, one, found) in enumerate(zip(servers, lengths, cuts, strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(5 if not long_count else 70)  # a camera must be back within 65 s
        log = agent.read_log()
        agent.keep_log(STORE)
    return [
        judge([line for line in log if line.source == server.names[0]], *cut)
        for server, found in zip(servers, cuts, strict=True)
        for cut in found
    ]


def _cut(
    agent: Agent, server: CameraServer, lengths: Sequence[float], number: int, found: list[tuple[str, float, float]]
) -> None:
    """Make the outages of one camera, one after the other; kinds take turns."""
    for turn, length_s in enumerate(lengths):
        time.sleep(STEADY_S + number % 7 * 0.31)
        wait_until(lambda: has_frame(agent.read_log(), server.names[0], time.time() - FRESH_S), pause_s=0.5)
        kind = "silent" if (number + turn) % 2 else "stopped"
        began = time.time()
        (server.freeze if kind == "silent" else server.stop)()
        time.sleep(length_s)
        (server.thaw if kind == "silent" else server.start)()
        found.append((kind, began, time.time()))
        time.sleep(10 if length_s < LONG_S[0] else 0)


def has_frame(log: Sequence[LogLine], source: str, since: float) -> bool:
    """Return whether a frame of a source was stored since a time, Unix seconds."""
    return any(line.source == source and line.is_capture and line.at >= since for line in log)


def judge(log: Sequence[LogLine], kind: str, began: float, returned: float) -> Outage:
    """Return what the log lines of one camera say of its outage.

    Args:
        log: Lines of the camera.
        kind: Kind of the outage.
        began: Time at which the outage began, Unix seconds.
        returned: Time at which the camera returned, Unix seconds.
    """
    sign = SILENT if kind == "silent" else " is waiting"
    noticed = [line.at for line in log if began < line.at < returned and sign in line.message]
    back = [line.at for line in log if line.at > returned and line.is_capture]
    return Outage(
        kind=kind,
        length_s=returned - began,
        noticed_s=noticed[0] - began if noticed else None,
        back_s=back[0] - returned if back else None,
    )


def main() -> None:
    """Measure 20 outages of up to 100 seconds and 6 longer ones; print and store them."""
    found = measure(20, 6, time.time_ns())
    save(found, STORE)
    table = build_table(found)
    for row in (table.heads, *table.rows):
        print(*row, sep="\t", flush=True)
