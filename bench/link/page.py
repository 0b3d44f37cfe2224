"""Draws the figures of the experiment, and writes its tables between the markers in docs/benchmarks.md."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import charts
from bench.link import conditions
from bench.link.summary import (
    DISTURB,
    WITHIN_S,
    Image,
    compare_states,
    find_outages,
    find_undisturbed,
    percentile,
    summarise,
)
from bench.report import DOCS, Table, replace_blocks

PAGE = DOCS / "benchmarks.md"
COURSE = "down"
"""Name of the link for which the waiting time of each photo is drawn over the time of the measurement."""
ARMS = {"edge": "predicted at the edge", "cloud": "cloud-only"}
COLOURS = {"edge": charts.OURS, "cloud": charts.OTHER}

Result = Mapping[str, Any]


def write_page(here: Path, page: Path = PAGE) -> list[Path]:
    """Draw the figures and write the tables of the results in a folder; return the paths of the written files."""
    paths = (here / f"link-{one.name}.json" for one in conditions.CONDITIONS)
    results = [json.loads(path.read_text()) for path in paths if path.exists()]
    if not results:
        return []
    written = [page.with_name("link-latency.svg"), page]
    draw_links(written[0], results)
    for result in results:
        if result["link"] == COURSE:
            written.append(page.with_name("link-course.svg"))
            draw_course(written[-1], result)
    replace_blocks(page, {name: table.render() for name, table in build_tables(results).items()})
    return written


def draw_links(path: Path, results: Sequence[Result]) -> None:
    """Draw, for each link and setup, within which time 50, 95 and 99 % of the photos got their prediction."""
    rows = {one["link"]: {arm: summarise(one["arms"][arm]) for arm in ARMS} for one in results}
    edge, cloud = (max(arms[arm].p50_s for arms in rows.values()) for arm in ARMS)
    title = f"Half of the photos: within {_span(edge)} at the edge on every link, up to {_span(cloud)} cloud-only"
    with charts.figure(path, title, height=1.2 + 0.6 * len(rows)) as axes:
        for place, arm in enumerate(ARMS):
            at = [number + 0.3 * place for number in range(len(rows))]
            times = [(arms[arm].p50_s, arms[arm].p95_s, arms[arm].p99_s) for arms in rows.values()]
            axes.hlines(at, [one[0] for one in times], [one[2] for one in times], COLOURS[arm], linewidth=5, alpha=0.5)
            axes.scatter([one[0] for one in times], at, color=COLOURS[arm], zorder=3, label=f"{ARMS[arm]}, median")
            axes.scatter([one[1] for one in times], at, facecolor="white", edgecolor=COLOURS[arm], zorder=3)
        axes.set_xscale("log")
        axes.set_yticks([number + 0.15 for number in range(len(rows))], list(rows))
        axes.invert_yaxis()
        axes.set_xlabel("seconds from capture to a durable prediction at the edge; ring: 95 of 100, end of the bar: 99")
        axes.legend()


def draw_course(path: Path, result: Result) -> None:
    """Draw how long each photo waited for its prediction, over the time of the measurement on one link."""
    states = compare_states(_images(result, "edge"))
    title = "Cloud-only waits for the link"
    if states is not None:
        up, down = _span(states.up_s), _span(states.away_s)
        title = f"Edge median: {up} with the link up, {down} with it down; cloud-only waits for the link"
    phases = [*result["phases"], [result["seconds"], "up"]]
    with charts.figure(path, title) as axes:
        for (start, state), (end, _) in itertools.pairwise(phases):
            if state != "up":
                axes.axvspan(start / 60, end / 60, color="#fecaca", label="the link is down")
        for arm in reversed(ARMS):
            seen = [one for one in _images(result, arm) if one.predicted_s is not None]
            points = [one.at_s / 60 for one in seen], [one.predicted_s for one in seen]
            axes.scatter(*points, s=3, color=COLOURS[arm], label=ARMS[arm])
        for at, _ in result["kills"]:
            axes.axvline(at / 60, ymax=0.02, color=charts.GREY)
        axes.set_yscale("log")
        axes.set_xlabel("minutes since the first photo; a mark on the axis is a killed process")
        axes.set_ylabel("seconds from capture to prediction")
        axes.legend()


def build_tables(results: Sequence[Result]) -> dict[str, Table]:
    """Return the tables of the page by the names of their markers."""
    return {
        "links": _links(results),
        "runs": _runs(results),
        "kills": _kills(results),
        "undisturbed": _undisturbed(results),
        "ratio": _ratio(results),
    }


def _links(results: Sequence[Result]) -> Table:
    rows = []
    for result in results:
        for arm, name in ARMS.items():
            row = summarise(result["arms"][arm])
            spans = [_span(value) for value in (row.p50_s, row.p95_s, row.p99_s)]
            counts = [f"{row.within:.1%}", f"{row.bytes_per_1000 / 1e6:.1f}", str(row.lost), str(row.repeated)]
            link = f"{result['link']}, {result['text']}" if arm == "edge" else ""
            rows.append((link, name, str(row.images), *spans, *counts, _span(row.drain_s)))
    heads = ("link", "arm", "images", "p50", "p95", "p99", "within 1 s", "MB per 1,000 images", "lost", "repeated")
    return Table(heads=(*heads, "drained"), rows=tuple(rows))


def _kills(results: Sequence[Result]) -> Table:
    """Return the delays in the edge setup after a process was killed, by the role of the process."""
    found = [one for result in results for one in find_outages(_images(result, "edge"), result["kills"])]
    rows = []
    for role in sorted({one.role for one in found}):
        own = [one for one in found if one.role == role]
        backs = [one.back_s for one in own if one.back_s is not None]
        late = [one.late for one in own]
        spans = (_span(percentile(backs, 0.5)), _span(max(backs, default=math.nan)))
        rows.append((role, str(len(own)), *spans, f"{sum(late) / len(late):.1f}", str(max(late))))
    heads = ("killed", "times", "next prediction after, median", "longest", "photos above 1 s, mean", "most")
    return Table(heads=heads, rows=tuple(rows))


def _undisturbed(results: Sequence[Result]) -> Table:
    """Return the times in the edge setup, without the photos that a killed process could delay."""
    rows = []
    for result in results:
        images = _images(result, "edge")
        times = sorted(one.predicted_s or math.inf for one in find_undisturbed(images, result["kills"]))
        disturbing = sum(role in DISTURB for _, role in result["kills"])
        spans = (_span(percentile(times, share)) for share in (0.5, 0.95, 1.0))
        over = sum(time > WITHIN_S for time in times)
        rows.append((result["link"], str(disturbing), f"{len(times)} of {len(images)}", *spans, str(over)))
    heads = ("link", "kills of agent or function", "photos not held up", "p50", "p95", "longest", "above 1 s")
    return Table(heads=heads, rows=tuple(rows))


def _ratio(results: Sequence[Result]) -> Table:
    """Return how the link's absence changes the times at the edge, without photos that a kill could delay."""
    rows = []
    for result in results:
        found = compare_states(find_undisturbed(_images(result, "edge"), result["kills"]))
        if found is not None:
            spans = f"{_span(found.up_s)} ({found.up})", f"{_span(found.away_s)} ({found.away})"
            interval = f"{found.low - 1:+.1%} to {found.high - 1:+.1%}"
            rows.append((result["link"], *spans, f"{found.ratio - 1:+.1%}", interval))
    heads = ("link", "p50, link up (images)", "p50, link down (images)", "difference", "95 % interval")
    return Table(heads=heads, rows=tuple(rows))


def _runs(results: Sequence[Result]) -> Table:
    rows = []
    for result in results:
        kills = [role for _, role in result["kills"]]
        counted = ", ".join(f"{role} {kills.count(role)}" for role in sorted(set(kills)))
        load = ", ".join(f"{one:g}" for one in result["load"])
        minutes, audit = f"{result['seconds'] / 60:g}", result["arms"]["edge"]["audit"]
        rows.append((result["link"], result["at"], result["model"], minutes, load, counted, str(audit["exit_code"])))
    heads = (
        "run",
        "begun",
        "model",
        "minutes",
        "load after it (1, 5, 15 min)",
        "killed (SIGKILL)",
        "exit code of audit",
    )
    return Table(heads=heads, rows=tuple(rows))


def _images(result: Result, arm: str) -> list[Image]:
    return [Image(**one) for one in result["arms"][arm]["images"]]


def _span(seconds: float | None) -> str:
    if seconds is None or math.isnan(seconds) or math.isinf(seconds):
        return "never"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
