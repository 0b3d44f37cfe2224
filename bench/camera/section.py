"""Measures the camera source beside ffmpeg and the floor, and compares the results with the required limits."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.camera import cost, latency, outages, reconnects, size, starts
from bench.camera.cameras import CameraServer, serving
from bench.camera.cost import Load
from bench.camera.latency import Journey
from bench.camera.outages import Outage
from bench.camera.stored import load
from bench.camera.video import prepare_video
from bench.material import Setup
from bench.report.section import Figure, Section, Table, build_table

CAMERAS = 4
CORE_PERCENT, OWN_MB, PREDICTION_MS = 15.0, 25.0, 1_500.0
NOTICED_S, SHORT_BACK_S, LONG_BACK_S = 20.0, 5.0, 65.0
GROWN_MB = 1.0
"""Memory that may be added over many reconnects, MB: less counts as constant."""
OURS, THEIRS = "Eaves", "ffmpeg as the child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One quantity of both kinds of children.

    Attributes:
        quantity: What was measured.
        ours: Value with PyAV in a child of Eaves.
        theirs: Value with Debian's ffmpeg as the child.
        ratio: Ours of theirs.
    """

    quantity: str
    ours: float
    theirs: float
    ratio: float


def measure(setup: Setup) -> Section:
    """Measure all parts, and return the section; outages and reconnects are those that were stored last."""
    artifact, is_quick = setup.need_material().int8, setup.is_quick
    with serving(prepare_video(), [f"cam{number}" for number in range(CAMERAS)]) as server:
        loads = cost.measure(server, 5 if is_quick else 8, 1 if is_quick else 2)
        parents = cost.measure_parents(server, (0, CAMERAS))
        journeys = latency.measure(server, artifact, 10 if is_quick else 20)
        beside, arrived, decoded = _compare(server, loads, 3 if is_quick else 5)
    tables = [
        Table(heads=("", *_HEADS), rows=tuple(_render(name, one) for name, one in loads.items())),
        build_table(beside, "PyAV in a child of Eaves, and Debian's ffmpeg as the child:"),
        _list_parts(journeys, arrived, decoded),
    ]
    found = [*_judge_cost(loads, parents), *_judge_latency(journeys)]
    if stored := load(Outage, outages.STORE):
        found += _judge_outages(stored)
    for name in (reconnects.CHEAP, reconnects.REAL):
        if held := load(reconnects.Held, name):
            found.append(judge_reconnects(name, held))
    for figure in found:
        print(f"{figure.name}: {figure.render_value()} ({figure.measured})", file=sys.stderr, flush=True)
    rows = tuple((one.name, one.render_value(), one.render_bar(), one.measured) for one in found)
    return Section(
        figures=tuple(found), tables=(Table(heads=("", "measured", "bar", "beside"), rows=rows), *tables), notes=_NOTES
    )


_HEADS = ("children, % of a core", "agent, % of a core", "frames/s", "PSS of a child MB", "PSS of the agent MB")
_NOTES = (
    "`PyAV alone` and the floor are scripts without an agent.",
    (
        "Outages (`python -m bench camera_outages`, 7 minutes) and reconnects (`python -m bench camera_reconnects`, an "
        "hour) are measured by programs of their own, and this section has their last results."
    ),
)


def _render(name: str, one: Load) -> tuple[str, ...]:
    agent = (f"{one.parent_percent:.1f}", f"{one.parent_mb:.1f}") if one.parent_mb else ("", "")
    frames = f"{one.frames_per_second:.1f}" if one.frames_per_second else ""
    return name, f"{one.core_percent:.1f}", agent[0], frames, f"{one.child_mb:.1f}", agent[1]


def _compare(
    server: CameraServer, loads: dict[str, Load], rounds: int
) -> tuple[list[Beside], Sequence[float], Sequence[float]]:
    start = starts.measure_starts(server, rounds)
    arrived, decoded = starts.measure_stages(server, 5 + rounds)
    recovery = [statistics.median(values) for values in starts.measure_recovery(server, max(1, rounds // 3))]
    ours, theirs = loads[OURS], loads[THEIRS]
    rows: list[tuple[str, float, float]] = [
        ("CPU time of the children, % of a core", ours.core_percent, theirs.core_percent),
        ("memory of a child (PSS), MB", ours.child_mb, theirs.child_mb),
        ("start to the first image, s", *start),
        (f"end of a cut of {starts.CUT_S:g} s to the next image, s", recovery[0], recovery[1]),
    ]
    if debian := size.measure_debian():
        rows.append(("installed size, MB", size.measure_pyav_mb(), debian.installed_mb))
    return [Beside(quantity=name, ours=a, theirs=b, ratio=a / b) for name, a, b in rows], arrived, decoded


def _judge_cost(loads: dict[str, Load], parents: Sequence[float]) -> Iterator[Figure]:
    ours, floor = loads[OURS], loads["PyAV, nothing decoded (floor)"]
    yield Figure(
        name="4 cameras, 1080p H.264, 1 frame/s each: CPU time of children and agent, of a core",
        value=ours.core_percent + ours.parent_percent,
        unit="%",
        bar=CORE_PERCENT,
        measured=f"children {ours.core_percent:.1f} %, agent {ours.parent_percent:.1f} %; "
        f"the streams read and not decoded {floor.core_percent:.1f} %",
    )
    idle_pss, idle_rss = starts.measure_idle_mb()
    yield Figure(
        name="memory of a child without PyAV (RSS)",
        value=idle_rss,
        unit="MB",
        bar=OWN_MB,
        measured=f"PSS {idle_pss:.1f} MB; with PyAV and a 1080p stream PSS {ours.child_mb:.1f} MB",
    )
    yield Figure(
        name="memory that a camera adds to the agent (PSS)",
        value=(parents[1] - parents[0]) / CAMERAS,
        unit="MB",
        measured=f"{parents[0]:.1f} MB with a folder, {parents[1]:.1f} MB with {CAMERAS} cameras",
    )


def _judge_latency(journeys: Sequence[Journey]) -> Iterator[Figure]:
    totals = sorted(one.total for one in journeys)
    yield Figure(
        name="from the camera's sending of a frame to its prediction at a subscriber, p95",
        value=totals[int(len(totals) * 0.95)],
        unit="ms",
        bar=PREDICTION_MS,
        measured=f"p50 {statistics.median(totals):.0f} ms, {len(totals)} frames, int8",
    )
    yield Figure(
        name="difference of a frame's `time` from the time at which it was sent, largest",
        value=max(abs(one.arrived) for one in journeys),
        unit="ms",
    )


def _list_parts(journeys: Sequence[Journey], arrived: Sequence[float], decoded: Sequence[float]) -> Table:
    network, decoding = statistics.median(arrived), statistics.median(decoded)
    stored = statistics.median(one.arrived + one.stored for one in journeys)
    rows = [
        ("server, network, demultiplexing", network),
        ("decoding, JPEG, pipe", decoding),
        ("slot, event, spool", max(0.0, stored - network - decoding)),
        ("function: decode, resize, inference", latency.median(journeys, "function")),
        ("deliveries: agent, broker, activator, reply", latency.median(journeys, "rest")),
        ("in all", latency.median(journeys, "total")),
    ]
    cells = tuple((name, f"{value:.0f}") for name, value in rows)
    return Table(title="From the sending of a frame to its prediction, p50:", heads=("part", "ms"), rows=cells)


def _judge_outages(found: Sequence[Outage]) -> Iterator[Figure]:
    noticed = [one.noticed_s for one in found if one.kind == "silent" and one.length_s > NOTICED_S]
    yield Figure(
        name="a silent camera is noticed, slowest",
        value=max((value if value is not None else 999.0) for value in noticed),
        unit="s",
        bar=NOTICED_S,
        measured=f"{len(noticed)} outages of more than {NOTICED_S:g} s",
    )
    for text, bar, is_long in (("2-100 s", SHORT_BACK_S, False), ("3-5 minutes", LONG_BACK_S, True)):
        back = [one.back_s or 999.0 for one in found if (one.length_s > outages.BETWEEN_S[1] + 5) is is_long]
        yield Figure(
            name=f"a camera is back after its return, outages of {text}, slowest",
            value=max(back),
            unit="s",
            bar=bar,
            measured=f"{sum(value <= bar for value in back)} of {len(back)} within the bar; "
            f"median {statistics.median(back):.1f} s",
        )


def judge_reconnects(name: str, held: Sequence[reconnects.Held]) -> Figure:
    first, last = held[0], held[-1]
    what = "real decoders, servers that hang up" if name == reconnects.REAL else "decoders that send one frame and end"
    return Figure(
        name=f"memory that {last.reconnects - first.reconnects:,} reconnects add to the agent: {what}",
        value=last.resident_mb - first.resident_mb,
        unit="MB",
        bar=GROWN_MB,
        measured=f"{last.resident_mb:.1f} MB (RSS) after {last.reconnects:,}; descriptors {last.descriptors}, "
        f"{first.descriptors} before; threads {last.threads}, {first.threads} before",
    )
