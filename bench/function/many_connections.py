"""Benchmark of a function with eight connections, beside other servers and the best loop without HTTP."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.function.floor import Floor, open_floor
from bench.function.one_at_a_time import REST_S
from bench.material import Material, Setup, measure_each
from bench.measure.load import LoadError
from bench.report.section import Bar, Chart, Figure, Section, Table, bold
from bench.servers.catalogue import build_ours, install_peers
from bench.servers.running import Running, drop_failing, require_ours, run_servers

ROUNDS, CONNECTIONS, TURN_S = 4, 8, 1.5
"""Number of rounds, of connections, and seconds of load in each turn."""
WARM = 5
"""Number of uncounted requests of each connection, after which a function has all sessions that it opens."""
BAR = 0.97


@dataclass(slots=True, kw_only=True)
class Rates:
    """Measurements of one server, or of one kind of loop, in every round.

    Attributes:
        per_second: Images per second of each round.
        cpu_ms: CPU time per image of each round, ms.
        expected: Images per second that the first requests reached; 0 before.
        p95_ms: 95th percentile of a request's time of each round, ms; none for a loop.
    """

    expected: float = 0.0
    per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median of the images per second."""
        return statistics.median(self.per_second)


def measure(setup: Setup) -> Section:
    """Measure the loops, Eaves and all other servers that can be installed, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    peers, missing = install_peers(setup, material)
    with ExitStack() as stack:
        floors = {
            precision: stack.enter_context(open_floor(artifact, material.image))
            for precision, artifact in material.precisions.items()
        }
        servers = [*build_ours(material), *peers]
        running, failed = stack.enter_context(run_servers(servers, material.image.read_bytes()))
        running, silent = drop_failing(running, connections=CONNECTIONS, count=WARM * CONNECTIONS)
        require_ours({**failed, **silent})
        turn_s = 1.0 if setup.is_quick else TURN_S
        loops, rates, broken = take_turns(floors, running, setup.rounds(ROUNDS), turn_s)
        require_ours(broken)
    return build_section(loops, rates, {**missing, **failed, **silent, **broken})


def take_turns(
    floors: Mapping[str, Floor], running: Sequence[Running], rounds: int, turn_s: float
) -> tuple[Mapping[str, Mapping[str, Rates]], Mapping[str, Rates], Mapping[str, str]]:
    """Let loops and servers predict images in turn, for about `turn_s` seconds each, `rounds` times.

    Return the measurements of the loops by precision and by the loop's name, those of the servers by name, and the
    names of the servers that failed in one of their turns, with the reason.
    """
    cpus = len(os.sched_getaffinity(0))
    loops: dict[str, dict[str, Rates]] = {name: defaultdict(Rates) for name in floors}
    servers, failed = {one.server.name: Rates() for one in running}, dict[str, str]()
    for number in range(rounds):
        print(f"many connections: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, floor in floors.items():
            for threads, callers in ((1, cpus), (1, cpus + 1), (cpus, 1), (cpus, 2)):
                time.sleep(REST_S)
                text = f"{callers} callers, {threads} thread{'' if threads == 1 else 's'} each"
                _loop(floor, threads, callers, turn_s, loops[name][text])
        for one in [one for one in running if one.server.name in servers]:
            time.sleep(REST_S)
            try:
                _load(one, turn_s, servers[one.server.name])
            except (LoadError, OSError) as error:
                failed[one.server.name] = f"it failed in round {number + 1}: {error}"[:200]
                del servers[one.server.name]
    return loops, servers, failed


def _loop(floor: Floor, threads: int, callers: int, turn_s: float, rates: Rates) -> None:
    """Let a loop predict for about `turn_s` seconds, and add its rate; its first call also finds out how fast it is."""
    if not rates.expected:
        rates.expected = floor.ask(threads=threads, callers=callers, count=8).per_second
    looped = floor.ask(threads=threads, callers=callers, count=max(8, int(rates.expected * turn_s)))
    rates.per_second.append(looped.per_second)
    rates.cpu_ms.append(looped.cpu_ms)


def _load(one: Running, turn_s: float, rates: Rates) -> None:
    """Send to a server for about `turn_s` seconds, and add its rate; its first call also finds out how fast it is."""
    if not rates.expected:
        rates.expected = CONNECTIONS / one.send(connections=CONNECTIONS, count=CONNECTIONS).seconds
    count, before = max(2 * CONNECTIONS, int(rates.expected * turn_s)), one.cpu_ms()
    load = one.send(connections=CONNECTIONS, count=count)
    rates.per_second.append(count / load.seconds)
    rates.cpu_ms.append((one.cpu_ms() - before) / count)
    rates.p95_ms.append(statistics.quantiles(load.latencies_ms, n=20)[-1])


def build_section(
    loops: Mapping[str, Mapping[str, Rates]], servers: Mapping[str, Rates], missing: Mapping[str, str]
) -> Section:
    """Return the section with the best loop of each precision."""
    figures, bars = [], []
    rows: list[tuple[str, ...]] = []
    best = {precision: max(kinds.items(), key=lambda item: item[1].rate) for precision, kinds in loops.items()}
    for precision, (text, loop) in best.items():
        ours = servers[f"Eaves, {precision}"]
        measured = f"{ours.rate:.1f}/s of {loop.rate:.1f}/s ({text})"
        name = f"{precision}, images/s of the best loop"
        figures.append(Figure(name=name, value=ours.rate / loop.rate, bar=BAR, is_minimum=True, measured=measured))
        rows.append(
            (f"best loop, {precision}", f"{loop.rate:.1f}", "", f"{statistics.median(loop.cpu_ms):.1f}", "", text)
        )
        bars.append(Bar(label=f"best loop, {precision}", values=(loop.rate,), note=f"{loop.rate:.1f}/s"))
    fastest = max((one.rate for name, one in servers.items() if not name.startswith("Eaves")), default=0.0)
    for name, one in servers.items():
        _, loop = best["int8" if name.endswith("int8") else "fp32"]
        ratio, is_ours = one.rate / loop.rate, name.startswith("Eaves")
        loses = name == "Eaves, fp32" and one.rate < fastest
        cells = [name, bold(f"{one.rate:.1f}", when=loses), bold(f"{ratio:.2f}", when=is_ours and ratio < BAR - 0.005)]
        rows.append((*cells, f"{statistics.median(one.cpu_ms):.1f}", f"{statistics.median(one.p95_ms):.0f}", ""))
        bars.append(Bar(label=name, values=(one.rate,), is_ours=is_ours, note=f"{one.rate:.1f}/s"))
    rows.sort(key=lambda cells: cells[0].endswith("int8"))
    bars.sort(key=lambda bar: bar.label.endswith("int8"))
    rows += [(name, "", "", "", "", reason) for name, reason in missing.items()]
    heads = ("", "images/s", "of the best loop", "CPU ms an image", "p95 ms", "")
    title = f"Images per second with {CONNECTIONS} connections (longer is better)"
    chart = Chart(name="many-connections", title=title, bars=tuple(bars))
    return Section(figures=tuple(figures), tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,))
