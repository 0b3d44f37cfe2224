"""Compares this checkout with another one by interleaved pairs: `python -m bench compare BASE [--pairs 20]`.

Each arm runs its own checkout's code with its own virtual environment, by commands that stay (`python -P -m functions`,
`eaves deploy`, `eaves up`), and measures an artifact that it has trained and converted itself, because files of another
version needn't be readable. In each pair the arms take turns, the first one being the other each time. The table has
the median of the pairs' ratios, this checkout by the base, with its 95 % interval; a rate's ratio is inverted, so that
above 1 is always worse.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.function.start import measure_function
from bench.local_platform import IMAGE_BYTES, SETTLE_S, Platform, build_image, put_event, run_platform
from bench.material import FOLDER, SOURCES, run_module, write_images
from bench.measure import Sink, accept_events, build_request, find_median_interval, send_all
from bench.processes import (
    ROOT,
    Message,
    environment,
    function_command,
    function_environment,
    memory_mb,
    python,
    started,
    tree,
    wait_for_answer,
    wait_until,
)
from bench.report import Table, bold
from tests.ports import find_port

LIMIT = 1.03
"""Upper end of a ratio's 95 % interval above which the table shows it in bold."""
REQUESTS, CONNECTIONS = 30, 8
"""Requests of one turn at one connection and, four times as many, at eight."""
EVENTS, STARTS = 20, 3
"""Events and starts of one turn, of which the median counts."""
IDLE_S = 0.5


@dataclass(slots=True, kw_only=True)
class Arm:
    """One checkout: its folder, its artifact, its JPEG, and its processes that run during the whole comparison.

    Attributes:
        root: Folder of the checkout.
        artifact: Artifact that the checkout has made.
        image: JPEG that is predicted.
        port: Port of its function.
        function: Id of its function's process.
        agent: Id of the process of a plain agent, which watches an empty folder.
        platform: Its local platform, whose replica stops after `IDLE_S` seconds.
        resting: Number of the platform's processes while it has no replica.
        sent: Number of events so far.
    """

    root: Path
    artifact: Path
    image: Path
    port: int = 0
    function: int = 0
    agent: int = 0
    platform: Platform = field(default_factory=lambda: Platform(pid=0, port=0, folder=Path()))
    resting: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What is compared: its name with the unit, the function that measures an arm once, and whether more is better."""

    name: str
    once: Callable[[Arm, Sink], float]
    is_rate: bool = False


def measure_starts(arm: Arm, _: Sink) -> float:
    """Return the median time from exec to the first prediction, ms."""
    starts = [measure_function(arm.artifact, arm.image, arm.root, settle_s=0) for _ in range(STARTS)]
    return statistics.median(start.wall_ms for start in starts)


def measure_one_at_a_time(arm: Arm, _: Sink) -> float:
    """Return the median time of one image, ms."""
    return statistics.median(send_all(arm.port, [_request(arm)] * REQUESTS).latencies_ms[1:])


def measure_many(arm: Arm, _: Sink) -> float:
    """Return the images per second over eight connections."""
    return send_all(arm.port, [_request(arm)] * REQUESTS * 4, connections=CONNECTIONS).per_second


def measure_broker(arm: Arm, sink: Sink) -> float:
    """Return the median time from an event's first byte to the broker's 202, ms."""
    found = []
    for _ in range(EVENTS):
        arm.sent += 1
        found.append(put_event(arm.platform.port, sink, f"{arm.root.name}-{arm.sent}", os.urandom(IMAGE_BYTES))[0])
        time.sleep(0.02)
    return statistics.median(found)


def measure_activator(arm: Arm, _sink: Sink) -> float:
    """Return the median time from a request to a function without a replica to its answer, ms."""
    found = []
    for _ in range(STARTS):
        rest(arm)
        begun_at = time.monotonic()
        arm.platform.predict(arm.image.read_bytes())
        found.append((time.monotonic() - begun_at) * 1000)
    return statistics.median(found)


def measure_warm(arm: Arm, _sink: Sink) -> float:
    """Return the median time of a request through the activator to a replica that runs, ms."""
    found = []
    arm.platform.predict(arm.image.read_bytes())
    for _ in range(EVENTS):
        begun_at = time.monotonic()
        arm.platform.predict(arm.image.read_bytes())
        found.append((time.monotonic() - begun_at) * 1000)
    return statistics.median(found)


def rest(arm: Arm) -> None:
    """Wait until the replica of the arm's platform has stopped."""
    wait_until(lambda: len(list(tree(arm.platform.pid))) <= arm.resting, pause_s=0.1)
    time.sleep(0.3)


def measure_rest(arm: Arm, _: Sink) -> float:
    """Return the memory (PSS) of a platform without a replica, MB."""
    rest(arm)
    return memory_mb(arm.platform.pid)


MEASURES = (
    Measure(name="start of a function, ms", once=measure_starts),
    Measure(name="one at a time, ms", once=measure_one_at_a_time),
    Measure(name="eight connections, images/s", once=measure_many, is_rate=True),
    Measure(name="PSS of a function, MB", once=lambda arm, _: memory_mb(arm.function)),
    Measure(name="PSS of a plain agent, MB", once=lambda arm, _: memory_mb(arm.agent)),
    Measure(name="activator from zero, ms", once=measure_activator),
    Measure(name="warm activator, ms", once=measure_warm),
    Measure(name="broker put, ms", once=measure_broker),
    Measure(name="PSS of the idle platform, MB", once=measure_rest),
)
"""In the order of a pair; the platform rests before its memory is read."""


def main(words: Sequence[str]) -> int:
    """Compare, print the table, and return 1 when a ratio's upper limit is above `LIMIT`."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description="Compare two checkouts of Eaves.")
    parser.add_argument("base", type=Path, help="folder of the other checkout, with a .venv")
    parser.add_argument("--pairs", type=int, default=20, help="number of pairs, of which a further one isn't counted")
    parser.add_argument(
        "--only", default="", help="names of some measurements, separated by commas, or their beginnings"
    )
    given = parser.parse_args(words)
    chosen = [one for one in MEASURES if one.name.startswith(tuple(given.only.split(",")))]
    with ExitStack() as stack:
        sink = stack.enter_context(accept_events())
        arms = [stack.enter_context(run_arm(root.resolve(), sink)) for root in (given.base, ROOT)]
        time.sleep(SETTLE_S)
        for arm in arms:
            arm.resting = len(list(tree(arm.platform.pid)))
        found = take_pairs(chosen, arms, sink, given.pairs)
    table, is_met = build_table(chosen, found)
    print(f"{describe(arms[1].root)} beside {describe(arms[0].root)}, {given.pairs} pairs:\n\n{table.render()}")
    return 0 if is_met else 1


def take_pairs(
    measures: Sequence[Measure], arms: Sequence[Arm], sink: Sink, pairs: int
) -> Mapping[str, Sequence[tuple[float, float]]]:
    """Return the values of base and this checkout in each pair, by the name of the measure; the first isn't counted."""
    found: dict[str, list[tuple[float, float]]] = {one.name: [] for one in measures}
    for number in range(pairs + 1):
        print(f"pair {number} of {pairs}", file=sys.stderr, flush=True)
        for one in measures:
            values = {place: one.once(arms[place], sink) for place in ((0, 1) if number % 2 else (1, 0))}
            found[one.name] += [(values[0], values[1])] if number else []
    return found


def build_table(measures: Sequence[Measure], found: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[Table, bool]:
    """Return the table, and whether every ratio's upper limit is at most `LIMIT`."""
    rows, is_met = [], True
    for one in measures:
        pairs = found[one.name]
        ratios = [base / ours if one.is_rate else ours / base for base, ours in pairs]
        low, high = find_median_interval(ratios)
        medians = [statistics.median(values) for values in zip(*pairs, strict=True)]
        is_met = is_met and round(high, 3) <= LIMIT
        cells = (f"{statistics.median(ratios):.3f}", f"{low:.3f}", bold(f"{high:.3f}", when=round(high, 3) > LIMIT))
        rows.append((one.name, *(f"{value:.2f}" for value in medians), *cells))
    heads = ("", "base", "this checkout", "ratio", "lower 95 % limit", "upper 95 % limit")
    return Table(heads=heads, rows=tuple(rows)), is_met


@contextmanager
def run_arm(root: Path, sink: Sink) -> Iterator[Arm]:
    """Make a checkout's artifact if needed, and run its function, its agent and its platform."""
    artifact, image = make_artifact(root)
    arm = Arm(root=root, artifact=artifact, image=image, port=find_port())
    inbox = FOLDER / "compare/inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        environ = function_environment(artifact, arm.port, root)
        function = stack.enter_context(started(function_command(root), environ))
        wait_for_answer(function.poll, arm.port, Message(body=image.read_bytes()))
        send_all(arm.port, [_request(arm)] * 40, connections=CONNECTIONS)  # it opens its second session
        agent = stack.enter_context(
            started([python(root), "-P", "-m", "eaves.sources"], _build_agent(root, inbox, sink))
        )
        arm.function, arm.agent = function.pid, agent.pid
        arm.platform = stack.enter_context(run_platform(artifact, sink=sink.url, root=root, idle_s=IDLE_S))
        yield arm


def _build_agent(root: Path, inbox: Path, sink: Sink) -> dict[str, str]:
    source = {"name": "inbox", "kind": "folder", "path": str(inbox)}
    spool = FOLDER / "compare" / f"{root.name}-agent.db"
    spool.unlink(missing_ok=True)
    return environment(
        root,
        EAVES_SOURCES=json.dumps([source]),
        EAVES_SITE="bench",
        EAVES_SPOOL=str(spool),
        EAVES_PORT=str(find_port()),
        K_SINK=sink.url,
    )


def make_artifact(root: Path) -> tuple[Path, Path]:
    """Return an artifact and a JPEG that a checkout has made; it makes them unless its code has done it before."""
    found = hashlib.sha256(str(root).encode())
    for path in (path for source in (*SOURCES, "trainer") for path in sorted((root / source).rglob("*.py"))):
        found.update(path.read_bytes())
    folder = FOLDER / "compare" / found.hexdigest()[:16]
    images = write_images(folder / "images")
    if not (folder / "artifact/manifest.json").is_file():
        words = ("--path", str(images), "--arch", "efficientnet_lite0", "--output", str(folder / "run"))
        if not (folder / "run/run.json").is_file():
            run_module(f"training in {root}", "trainer", *words, root=root)
        given = (str(folder / "run"), "--output", str(folder / "artifact"), "--precision", "fp32")
        run_module(f"converting in {root}", "converters", *given, root=root)
    image = folder / "image.jpg"
    image.write_bytes(build_image(IMAGE_BYTES))
    return folder / "artifact", image


def describe(root: Path) -> str:
    """Return the commit of a checkout, with `-dirty` when files differ from it."""
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or root.name


def _request(arm: Arm) -> bytes:
    return build_request(arm.image.read_bytes())
