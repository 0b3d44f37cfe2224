"""Measures what the console costs the platform, and how fast it shows, and compares the results with the limits."""

from __future__ import annotations

import http.client
import io
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from bench.console.browser import FirstScreen, open_first_screen
from bench.console.clients import watching
from bench.local.latency import warm_up
from bench.local.platform import Running, build_app, run_platform, wait_until
from bench.local.sender import SOURCE, Sender, Sent
from bench.material import Setup
from bench.measure.process import memory_bytes, tree
from bench.report.section import Figure, Section, Table
from eaves.events import IMAGE_CAPTURED, Event, encode_binary

FUNCTION = "bench.console.function"
STREAMS = 50
"""Number of open streams, one of them in a real browser."""
SETTLE_S = 3.0
"""Seconds after which a browser that was started has done the work of its start."""
PERIOD_S = 0.1
"""Seconds from one event to the next: ten cameras that send an image each second."""
NOISE, WITH_STREAMS, MEMORY_MB, PAGE_KB, SHOWN_MS = 1.05, 1.05, 30.0, 100.0, 1_000.0
MEMORY_OF_IMAGES_MB = 17.0
"""Limit of the memory that a platform with a console takes while nobody looks: its newest images take 16 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of the benchmark.

    Attributes:
        answered_ms: Times until the broker's 202, ms.
        delivered_ms: Times until the function has the event, ms.
        memory_mb: Memory of all processes of the platform together at the end of the phase (PSS), MB.
    """

    answered_ms: list[float]
    delivered_ms: list[float]
    memory_mb: float


@dataclass(slots=True, kw_only=True)
class Looking:
    """What was measured of a platform that people look at.

    Attributes:
        alone: Phases in which nobody looked.
        plain: Phases in which programs read the streams.
        looking: Phases in which a browser had one of the streams.
        before_mb: Memory of the platform before anybody looked, MB.
        started_ms: Time until the first screen was painted, which the console's process was started for, ms.
        paint_ms: Time until the first screen was painted while the other streams were open, ms.
        page_kb: Bytes of the first screen without images, KB.
        shown_ms: Times from the POST of an event to its row on the screen, ms.
    """

    alone: list[Phase] = field(default_factory=list)
    plain: list[Phase] = field(default_factory=list)
    looking: list[Phase] = field(default_factory=list)
    before_mb: float = 0.0
    started_ms: float = 0.0
    paint_ms: float = 0.0
    page_kb: float = 0.0
    shown_ms: list[float] = field(default_factory=list)


def measure(setup: Setup) -> Section:
    """Measure all parts, and return the section: the figures, and a table of them."""
    found = []
    for part in (measure_nobody, measure_looking):
        for figure in part(setup.is_quick):
            print(f"{figure.name}: {figure.render_value()} ({figure.measured})", file=sys.stderr, flush=True)
            found.append(figure)
    rows = tuple((one.name, one.render_value(), one.render_bar(), one.measured) for one in found)
    return Section(figures=tuple(found), tables=(Table(heads=("", "measured", "bar", "beside"), rows=rows),))


def measure_nobody(is_quick: bool) -> Iterator[Figure]:
    """Measure the platform with and without a console while nobody looks; both take turns with each event."""
    rounds, body = (100 if is_quick else 600), encode_photo()
    with ExitStack() as opened:
        platforms = [
            opened.enter_context(run_platform(build_app(), function=FUNCTION, has_console=has_console))
            for has_console in (False, True)
        ]
        for platform in platforms:
            warm_up(platform, body)
        phases = send_in_turns(platforms, body, rounds)
        without, having = phases
        yield build_ratio("nobody looks: the broker's 202, p50, of that without a console", without, having, NOISE)
        yield build_ratio(
            "nobody looks: until the function has the event, p50, of that without a console",
            without, having, NOISE, is_delivered=True,
        )  # fmt: skip
        yield Figure(
            name="nobody looks: memory that the console takes (PSS)",
            value=having.memory_mb - without.memory_mb,
            unit="MB",
            bar=MEMORY_OF_IMAGES_MB,
            measured=f"{having.memory_mb:.1f} MB, and {without.memory_mb:.1f} MB without a console",
        )
        yield Figure(
            name="nobody looks: processes of the console", value=float(bool(find_console(platforms[1]))), bar=0.0
        )


def measure_looking(is_quick: bool) -> Iterator[Figure]:
    """Measure one platform in turns with nobody looking, with many streams, and with a browser as one of them."""
    found = look(is_quick)
    nobody, looking = join(found.alone), join(found.looking)
    plain = (f"{STREAMS - 1} streams", join(found.plain))
    for what, phase in (plain, (f"{STREAMS} streams, one in Chromium", looking)):
        yield build_ratio(f"{what}: the broker's 202, p50, of that while nobody looks", nobody, phase, WITH_STREAMS)
        name = f"{what}: until the function has the event, p50, of that while nobody looks"
        yield build_ratio(name, nobody, phase, WITH_STREAMS, is_delivered=True)
    yield Figure(
        name=f"{STREAMS} streams: memory that they and the console's process add (PSS of all processes)",
        value=looking.memory_mb - found.before_mb,
        unit="MB",
        bar=MEMORY_MB,
        measured=f"{looking.memory_mb:.1f} MB, and {found.before_mb:.1f} MB before anybody looked",
    )
    yield Figure(
        name=f"{STREAMS} streams: memory that they add to a console that runs",
        value=looking.memory_mb - found.alone[0].memory_mb,
        unit="MB",
        measured=f"{found.alone[0].memory_mb:.1f} MB without a stream",
    )
    yield Figure(name="the first screen without images", value=found.page_kb, unit="KB", bar=PAGE_KB)
    name = f"{STREAMS} streams: the first screen, until its first content is painted"
    yield Figure(name=name, value=found.paint_ms, unit="ms", bar=SHOWN_MS)
    name = "nobody looked before: the first screen, until its first content is painted"
    text = "the first connection starts the console's process"
    yield Figure(name=name, value=found.started_ms, unit="ms", bar=SHOWN_MS, measured=text)
    text = f"the slowest of {len(found.shown_ms)}: {max(found.shown_ms):.0f} ms"
    name = f"{STREAMS} streams: from an event's POST to its row on the screen, p50"
    yield Figure(name=name, value=statistics.median(found.shown_ms), unit="ms", bar=SHOWN_MS, measured=text)


def look(is_quick: bool) -> Looking:
    """Open streams at a platform, in turns with phases in which nobody looks."""
    rounds, body = (60 if is_quick else 120), encode_photo()
    found = Looking()
    with run_platform(build_app(), function=FUNCTION, has_console=True) as platform:
        warm_up(platform, body)
        send_in_turns([platform], body, 200, period_s=0)  # the newest images are held, and the history is filled
        found.before_mb = send_in_turns([platform], body, 20)[0].memory_mb
        with open_first_screen(platform.console_port) as first:  # which starts the console's process
            found.started_ms = first.paint_ms
        for _ in range(1 if is_quick else 3):
            found.alone += send_in_turns([platform], body, rounds)
            with watching(platform.console_port, STREAMS - 1):
                found.plain += send_in_turns([platform], body, rounds)
                with open_first_screen(platform.console_port) as screen:
                    time.sleep(SETTLE_S)
                    found.looking += send_in_turns([platform], body, rounds)
                    found.page_kb, found.paint_ms = screen.transferred_bytes / 1e3, screen.paint_ms
                    found.shown_ms += measure_shown(platform, screen, 7)
            wait_until(lambda: not count_connections(platform.console_port))
    return found


def send_in_turns(platforms: list[Running], body: bytes, rounds: int, *, period_s: float = PERIOD_S) -> list[Phase]:
    """Send one event after the other, to each platform in turn, and return what was measured of each."""
    begun = time.time_ns()
    sent: list[list[Sent]] = [[] for _ in platforms]
    with ExitStack() as opened:
        senders = [opened.enter_context(closing(Sender(one.port, "/", body))) for one in platforms]
        for number in range(rounds):
            for sender, done in zip(senders, sent, strict=True):
                due_at = time.monotonic() + period_s
                done.extend(sender.send([f"{begun}-{number}"]))
                time.sleep(max(0.0, due_at - time.monotonic()))
    phases = []
    for platform, found in zip(platforms, sent, strict=True):
        wait_until(lambda platform=platform, found=found: found[-1].id in platform.collect())  # type: ignore[misc]
        phases.append(
            Phase(
                answered_ms=[(one.answered_at - one.began_at) * 1_000 for one in found],
                delivered_ms=[(platform.received[one.id] - one.began_at) * 1_000 for one in found],
                memory_mb=sum(memory_bytes(pid, "Pss") for pid in tree(platform.pid)) / 1e6,
            )
        )
    return phases


def measure_shown(platform: Running, screen: FirstScreen, count: int) -> list[float]:
    """Return the times from the POST of an event to its row on the screen, ms."""
    body = encode_photo()

    def send(name: str) -> None:
        event = Event(
            id=name, source=SOURCE, type=IMAGE_CAPTURED, subject=name, datacontenttype="image/jpeg", data=body
        )
        headers, data = encode_binary(event)
        connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=10)
        connection.request("POST", "/", data, headers)
        connection.getresponse().read()
        connection.close()

    return screen.measure_news_ms(send, [f"shown-{time.time_ns()}-{number}.jpg" for number in range(count)])


def encode_photo() -> bytes:
    """Return a JPEG of about 100 KB."""
    noise = Image.effect_noise((640, 480), 40).convert("RGB")
    output = io.BytesIO()
    noise.save(output, "JPEG", quality=70)
    return output.getvalue()


def find_console(platform: Running) -> int:
    """Return the process id of the console; 0 when none runs."""
    return platform.find("eaves.local.console")


def count_connections(port: int) -> int:
    """Return the number of established connections to a port of loopback. Source: proc(5), /proc/net/tcp."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01")


def join(phases: list[Phase]) -> Phase:
    """Return several phases as one; its memory is the largest."""
    return Phase(
        answered_ms=[one for phase in phases for one in phase.answered_ms],
        delivered_ms=[one for phase in phases for one in phase.delivered_ms],
        memory_mb=max(phase.memory_mb for phase in phases),
    )


def build_ratio(name: str, before: Phase, after: Phase, bar: float, *, is_delivered: bool = False) -> Figure:
    """Build the figure of the ratio of two medians."""
    first, second = (
        statistics.median(one.delivered_ms if is_delivered else one.answered_ms) for one in (before, after)
    )
    return Figure(name=name, value=second / first, bar=bar, measured=f"{second:.2f} ms, and {first:.2f} ms")
