"""Sections of the parts whose benchmarks return dataclasses of their own.

A benchmark is imported within its function, so that the list of parts can be read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.material import Setup
from bench.report.section import Bar, Chart, Figure, Section, Table, UnavailableError, build_table
from eaves.platform.cold_start import PHASES

KNATIVE_BAR_S = 0.25
"""Seconds that a cold start through Knative may take above the trivial server's."""


def training(setup: Setup) -> Section:
    """Measure how long the network of a training waits for its input, and how many images it computes."""
    from trainer.tensorflow_notices import native_stderr

    with native_stderr():
        import keras  # noqa: F401 - its messages are printed here
    from bench.model import training_input as benchmark

    cases = benchmark.CASES[:1] if setup.is_quick else benchmark.CASES
    return Section(tables=(build_table(benchmark.measure(cases), "Inception V3 with random weights:"),))


def knative(setup: Setup) -> Section:
    """Measure cold starts through Knative, if a cluster and container images are named."""
    environ, material = setup.environ, setup.need_material()
    named = environ.get("EAVES_BENCH_FUNCTIONS", "")
    if not environ.get("KUBECONFIG") or not named:
        raise UnavailableError(
            "it needs a cluster with Knative (KUBECONFIG) and container images that the cluster can pull"
            " (EAVES_BENCH_FUNCTIONS=fp32=IMAGE,int8=IMAGE, and EAVES_BENCH_FLOOR=IMAGE of a trivial server)"
        )
    from bench.knative.__main__ import ROUNDS, build_subject
    from bench.knative.services import deploy, open_namespace
    from eaves.platform.cold_start import summarize
    from knative.cold_start import measure_in_turn
    from knative.settings import KnativeSettings

    images = dict(one.split("=", 1) for one in named.split(","))
    with open_namespace(Path(environ["KUBECONFIG"]), "") as cluster:
        names = deploy(cluster, images, environ.get("EAVES_BENCH_FLOOR", ""), KnativeSettings())
        subjects = [build_subject(cluster, name, material.image) for name in names]
        starts = measure_in_turn(cluster, subjects, setup.rounds(ROUNDS), show=lambda *_: None)
    summaries = {name: summarize(found) for name, found in zip(names, starts, strict=True)}
    return build_knative(summaries, rounds=len(starts[0]))


def build_knative(found: Mapping[str, Sequence[Any]], *, rounds: int) -> Section:
    """Return the section of cold starts.

    Args:
        found: Summary of each phase by the function's name; `floor` is the trivial server.
        rounds: Number of cold starts of each function.
    """
    summaries = {name: {row.phase: row for row in rows} for name, rows in found.items()}
    phases = tuple(phase for phase in (*PHASES, "total", "warm") if any(phase in rows for rows in summaries.values()))
    floor, figures = summaries.get("floor"), []
    for name, rows in summaries.items():
        if floor is not None and name != "floor":
            above = (rows["total"].median_ms - floor["total"].median_ms) / 1000
            text = f"{rows['total'].median_ms / 1000:.2f} s, trivial server {floor['total'].median_ms / 1000:.2f} s"
            what = f"{name}, above the trivial server"
            figures.append(Figure(name=what, value=above, unit="s", bar=KNATIVE_BAR_S, measured=text))
    cells = [
        (phase, *(f"{rows[phase].median_ms:.0f}" if phase in rows else "" for rows in summaries.values()))
        for phase in phases
    ]
    table = Table(title=f"Medians of {rounds} rounds, ms:", heads=("phase", *summaries), rows=tuple(cells))
    stages = tuple(phase for phase in phases if phase not in {"total", "warm"})
    bars = tuple(
        Bar(
            label=name,
            values=tuple(rows[stage].median_ms if stage in rows else 0.0 for stage in stages),
            is_ours=name != "floor",
            note=f"{rows['total'].median_ms:.0f} ms",
        )
        for name, rows in summaries.items()
    )
    chart = Chart(name="knative", title="Cold start through Knative by phase, ms", bars=bars, stages=stages)
    return Section(figures=tuple(figures), tables=(table,), charts=(chart,))
