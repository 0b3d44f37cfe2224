"""Benchmark of a function with eight connections, beside other servers and the best loop without HTTP."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from bench.function.floor import Floor, open_floor
from bench.material import Material, Setup, measure_each
from bench.measure import Load, take_turns
from bench.report import Chart, Figure, Section, Table, bold
from bench.servers.catalogue import build_ours, install_peers
from bench.servers.running import require_ours, run_servers

ROUNDS, CONNECTIONS, TURN_S = 4, 8, 1.5
"""Number of rounds, of connections, and seconds of load in each turn."""
BAR = 0.97


def measure(setup: Setup) -> Section:
    """Measure the loops, Eaves and all other servers that can be installed, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    peers, missing = install_peers(setup, material)
    turn_s, cpus = 0.5 if setup.is_quick else TURN_S, len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        running, failed = stack.enter_context(run_servers([*build_ours(material), *peers], material.image.read_bytes()))
        subjects = {one.server.name: fill_turn(partial(one.send, connections=CONNECTIONS), turn_s) for one in running}
        for precision, artifact in material.precisions.items():
            floor = stack.enter_context(open_floor(artifact, material.image))
            for threads, callers in ((1, cpus), (1, cpus + 1), (cpus, 1), (cpus, 2)):
                name = f"loop, {precision}, {callers} callers, {threads} threads each"
                subjects[name] = fill_turn(partial(_loop, floor, threads, callers), turn_s)
        # Uncounted: a function opens its second session when requests first overlap, and turns learn their length.
        found, broken = take_turns(subjects, setup.rounds(ROUNDS), warm_up=True)
    require_ours({**failed, **broken})
    return build_section(found, {**missing, **failed, **broken})


def fill_turn(send: Callable[[int], Load], turn_s: float) -> Callable[[], Load]:
    """Return a function that sends for about `turn_s` seconds, by the rate of its last turn; its first one is short."""
    last = [0.0]

    def turn() -> Load:
        load = send(max(2 * CONNECTIONS, int(last[0] * turn_s)))
        last[0] = load.per_second
        return load

    return turn


def _loop(floor: Floor, threads: int, callers: int, count: int) -> Load:
    return floor.ask(threads=threads, callers=callers, count=count)


def rate(turns: Sequence[Load]) -> float:
    """Return the median of the images per second."""
    return statistics.median(turn.per_second for turn in turns)


def build_section(found: Mapping[str, Sequence[Load]], missing: Mapping[str, str]) -> Section:
    """Return the section of all turns by name; a loop's name begins with `loop, PRECISION`, and the best counts."""
    best = {
        precision: max((name for name in found if name.startswith(f"loop, {precision}")), key=lambda n: rate(found[n]))
        for precision in ("fp32", "int8")
    }
    figures = []
    for precision, name in best.items():
        ours, loop = rate(found[f"Eaves, {precision}"]), rate(found[name])
        what, text = f"{precision}, images/s of the best loop", f"{ours:.1f}/s of {loop:.1f}/s ({name})"
        figures.append(Figure(name=what, value=ours / loop, bar=BAR, is_minimum=True, measured=text))
    fastest = max((rate(turns) for name, turns in found.items() if not name.startswith(("Eaves", "loop"))), default=0.0)
    names = sorted(
        (name for name in found if not name.startswith("loop") or name in best.values()),
        key=lambda name: "int8" in name,
    )
    rows = []
    for name in names:
        turns, fastest_loop = found[name], found[best["int8" if "int8" in name else "fp32"]]
        cells = [name, bold(f"{rate(turns):.1f}", when=name == "Eaves, fp32" and rate(turns) < fastest)]
        cells += [f"{rate(turns) / rate(fastest_loop):.2f}", f"{statistics.median(turn.cpu_ms for turn in turns):.1f}"]
        cells += [f"{statistics.median(statistics.quantiles(turn.latencies_ms, n=20)[-1] for turn in turns):.0f}"]
        rows.append((*cells, ""))
    rows += [(name, "", "", "", "", reason) for name, reason in missing.items()]
    heads = ("", "images/s", "of the best loop", "CPU ms an image", "p95 ms", "")
    title = f"Images per second with {CONNECTIONS} connections (longer is better)"
    chart = Chart(name="many-connections", title=title, values={name: rate(found[name]) for name in names})
    return Section(figures=tuple(figures), tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,))
