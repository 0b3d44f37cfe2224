"""Writes the figures of the experiment, and its tables between the markers in docs/18-link-experiment.md."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.link import conditions
from bench.link.plots.figures import draw_course, draw_crossover, draw_links, draw_update
from bench.link.summary import (
    DISTURB,
    WITHIN_S,
    Image,
    compare_states,
    find_outages,
    find_undisturbed,
    load_images,
    percentile,
    summarise,
)
from bench.link.transfer import transfer_s

DOCS = Path("docs")
PAGE = DOCS / "18-link-experiment.md"
COURSE = "down"
"""Name of the link for which the waiting time of each photo is drawn over the time of the measurement."""
ARMS = {"edge": "edge", "cloud": "cloud-only"}


def write_page(here: Path) -> list[Path]:
    """Draw every figure and write every table for which there are results.

    Args:
        here: Directory of the results.

    Returns:
        Paths of the written files.
    """
    links = _load(here, [f"link-{one.name}" for one in conditions.CONDITIONS])
    updates = _load(here, ["update-head", "update-full"])
    alone, crossover = _load(here, ["link-alone"]), _load(here, ["crossover"])
    figures: dict[str, str] = {}
    tables: dict[str, str] = {}
    if links:
        figures["link-latency"] = draw_links(links)
        tables["links"], tables["runs"] = _links(links), _runs([*links, *alone, *crossover])
        tables["kills"], tables["undisturbed"] = _kills(links), _undisturbed(links)
    if alone:
        tables["ratio"] = _ratio(alone[0])
    for result in links:
        if result["link"] == COURSE:
            figures["link-course"] = draw_course(result)
    if crossover:
        figures["link-crossover"] = draw_crossover(crossover[0], _slow_over_s(crossover[0]))
        tables["crossover"], tables["break-even"] = _points(crossover[0]), _break_even(crossover[0])
    if updates:
        figures["link-update"] = draw_update(updates)
        tables["updates"] = _updates(updates)
    written = []
    for name, text in figures.items():
        written.append(DOCS / f"{name}.svg")
        written[-1].write_text(text)
    page = PAGE.read_text()
    for name, table in tables.items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
    PAGE.write_text(page)
    return [*written, PAGE]


def _load(here: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    paths = (here / f"{name}.json" for name in names)
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _links(results: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "link",
        "arm",
        "images",
        "p50",
        "p95",
        "p99",
        "within 1 s",
        "MB per 1,000 images",
        "lost",
        "repeated",
        "drained",
    )
    rows = []
    for result in results:
        for arm, name in ARMS.items():
            row = summarise(result["arms"][arm])
            times = [_span(value) for value in (row.p50_s, row.p95_s, row.p99_s)]
            rows.append(
                [
                    *(f"{result['link']}, {result['text']}" if arm == "edge" else "", name, str(row.images), *times),
                    *(f"{row.within:.1%}", f"{row.bytes_per_1000 / 1e6:.1f}", str(row.lost), str(row.repeated)),
                    "never" if row.drain_s is None else _span(row.drain_s),
                ]
            )
    return _table(head, rows)


def _kills(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of delays in the edge setup after a process was killed, by the role of the process."""
    found = [one for result in results for one in find_outages(_edge_images(result), result["kills"])]
    rows = []
    for role in sorted({one.role for one in found}):
        own = [one for one in found if one.role == role]
        backs = [one.back_s for one in own if one.back_s is not None]
        late = [one.late for one in own]
        spans = [_span(percentile(backs, 0.5)), _span(max(backs, default=math.nan))]
        rows.append([role, str(len(own)), *spans, f"{sum(late) / len(late):.1f}", str(max(late))])
    head = ("killed", "times", "next prediction after, median", "longest", "photos above 1 s, mean", "most")
    return _table(head, rows)


def _undisturbed(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of prediction times in the edge setup, without the photos that a killed process could delay."""
    rows = []
    for result in results:
        kills, images = result["kills"], _edge_images(result)
        times = sorted(one.predicted_s or math.inf for one in find_undisturbed(images, kills))
        over = sum(time > WITHIN_S for time in times)
        disturbing = sum(role in DISTURB for _, role in kills)
        spans = [_span(percentile(times, share)) for share in (0.5, 0.95, 1.0)]
        rows.append([result["link"], str(disturbing), f"{len(times)} of {len(images)}", *spans, str(over)])
    head = ("link", "kills of agent or function", "photos not held up", "p50", "p95", "longest", "above 1 s")
    return _table(head, rows)


def _edge_images(result: Mapping[str, Any]) -> list[Image]:
    return load_images(result["arms"]["edge"]["images"])


def _ratio(result: Mapping[str, Any]) -> str:
    found = compare_states(_edge_images(result))
    if found is None:
        return ""
    row = [
        *(f"{found.up_s * 1000:.0f} ms ({found.up})", f"{found.away_s * 1000:.0f} ms ({found.away})"),
        *(f"{found.ratio - 1:+.1%}", f"{found.low - 1:+.1%} to {found.high - 1:+.1%}"),
    ]
    return _table(("p50, link up (images)", "p50, link down (images)", "difference", "95 % interval"), [row])


def _runs(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        kills = [role for _, role in result.get("kills", ())]
        counted = ", ".join(f"{role} {kills.count(role)}" for role in sorted(set(kills))) or "none"
        minutes = f"{result['seconds'] / 60:g}" if "seconds" in result else "-"
        load = ", ".join(f"{one:g}" for one in result["load"]) if "load" in result else "-"
        name = result["link"] if "arms" in result else "crossover"
        audit = _audit(result["arms"]["edge"]["audit"]) if "arms" in result else "-"
        rows.append([name, result.get("at", "-"), minutes, load, counted, audit])
    head = (
        "run",
        "begun",
        "minutes",
        "load after it (1, 5, 15 min)",
        "killed (SIGKILL)",
        "audit: sent, received, missing",
    )
    return _table(head, rows)


def _audit(found: Mapping[str, Any] | None) -> str:
    if found is None or not isinstance(found["said"], Mapping):
        return "-"
    totals = found["said"]["totals"]
    return f"{totals['sent']}, {totals['received']}, {totals['missing']}; exit code {found['exit_code']}"


def _slow_over_s(result: Mapping[str, Any]) -> float | None:
    """Return by how many seconds a prediction takes longer on a slow edge device than on this machine.

    The slow device has a fraction of one CPU. The times are those of the smallest photos. Return None when the slow
    device was not measured.
    """
    if not result["slow"]:
        return None
    size, seconds = min(result["slow"])
    own = [point["edge_s"] for point in result["points"] if point["size_bytes"] == size and point["edge_s"]]
    return float(seconds - percentile(own, 0.5)) if own else None


def _points(result: Mapping[str, Any]) -> str:
    rows = []
    for point in result["points"]:
        known = point["edge_s"] is not None and point["cloud_s"] is not None
        rows.append(
            [
                *(f"{point['mbit_s']:g}", f"{point['size_bytes'] / 1000:.0f}", _span(point["edge_s"])),
                *(_span(point["cloud_s"]), _span(point["cloud_s"] - point["edge_s"] if known else None)),
                _span(point["expected_s"]),
            ]
        )
    head = ("Mbit/s", "image, KB", "edge, median", "cloud-only, median", "difference", "computed")
    return _table(head, rows)


def _break_even(result: Mapping[str, Any]) -> str:
    """Return the table of the seconds that the link adds to a prediction in the cloud, by bandwidth and image size.

    The cloud-only setup is faster only if the edge needs longer than the cloud by more than these seconds.
    """
    round_trip_s = 2 * result["delay_ms"] / 1000
    sizes = (20_000, 64_000, 250_000, 1_000_000, 4_000_000)
    rows = [
        [f"{mbit_s:g}", *(_span(transfer_s(size, mbit_s, round_trip_s)) for size in sizes)]
        for mbit_s in (0.5, 1, 2, 5, 20, 100)
    ]
    return _table(("Mbit/s", *(f"{size / 1000:g} KB" for size in sizes)), rows)


def _updates(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        failed = sum(took is None for _, took in result["asked"])
        rows.append(
            [
                *(result["text"], f"{result['layer_bytes']:,}", f"{result['wire_bytes']:,}", _span(result["seconds"])),
                *(str(len(result["cuts"])), str(len(result["failed"])), f"{len(result['asked'])}, {failed} failed"),
            ]
        )
    head = ("update", "bytes of layers", "bytes over the link", "time", "cuts", "pulls given up", "requests meanwhile")
    return _table(head, rows)


def _span(seconds: float | None) -> str:
    if seconds is None or math.isnan(seconds) or math.isinf(seconds):
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
