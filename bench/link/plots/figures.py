"""Draws the figures of docs/18-link-experiment.md from the results; each figure has one message."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bench.link.summary import Row, compare_states, load_images, summarise
from bench.link.transfer import transfer_s
from bench.plots.svg import CLOUD, DARK, EDGE, GREY, Axis, Chart, figure, legend, text_at

Result = Mapping[str, Any]
ARMS = (("edge", "predicted at the edge", EDGE), ("cloud", "cloud-only", CLOUD))
SECONDS = (
    *((0.01, "10 ms"), (0.03, "30 ms"), (0.1, "0.1 s"), (0.3, "0.3 s"), (1.0, "1 s"), (3.0, "3 s"), (10.0, "10 s")),
    *((30.0, "30 s"), (60.0, "1 min"), (300.0, "5 min"), (1200.0, "20 min"), (3600.0, "1 h")),
)
AWAY = {"down": "#fecaca", "silent": "#ddd6fe"}


def seconds_axis(title: str, low: float, high: float) -> Axis:
    """Return a logarithmic axis for times from `low` to `high` seconds."""
    ticks = [tick for tick in SECONDS if low <= tick[0] <= high]
    return Axis(title=title, low=low, high=high, ticks=ticks, log=True)


def draw_links(results: Sequence[Result]) -> str:
    """Draw the times within which 50, 95 and 99 % of the photos got their prediction, for each link and setup.

    Return the figure as SVG.
    """
    rows = {result["link"]: {arm: summarise(result["arms"][arm]) for arm, _, _ in ARMS} for result in results}
    worst = max((row.p99_s for arms in rows.values() for row in arms.values() if row.p99_s < 1e9), default=10.0)
    high = next(value for value, _ in (*SECONDS, (1e9, "")) if value > worst * 1.05)
    step, top, left, width = 62, 84, 312, 538
    chart = Chart(
        x=seconds_axis("from capture to a durable prediction at the edge (logarithmic)", 0.1, min(high, 3600.0)),
        y=Axis(title="", low=0, high=1, ticks=()),
        left=left,
        top=top,
        width=width,
        height=step * len(rows),
    )
    chart.axes()
    entries = [(text, colour, "line") for _, text, colour in ARMS]
    parts = [legend(20, 56, [*entries, ("median", GREY, "dot"), ("95 of 100", GREY, "ring")])]
    parts.append(text_at(585, 56, "the bar ends at 99 of 100, kills included", size=12.5, colour=GREY))
    for number, result in enumerate(results):
        middle = top + step * (number + 0.5)
        parts.append(text_at(18, middle - 4, result["link"], size=14, weight=600))
        parts.append(text_at(18, middle + 13, result["text"], size=11, colour=GREY))
        for place, (arm, _, colour) in enumerate(ARMS):
            _bar(chart, rows[result["link"]][arm], middle - 9 + 18 * place, colour)
    height = top + step * len(rows) + 60
    return figure(
        880,
        int(height),
        _title(rows),
        _describe(rows),
        [*chart.parts, *parts],
    )


def _title(rows: Mapping[str, Mapping[str, Row]]) -> str:
    edge, cloud = (max(arms[arm].p50_s for arms in rows.values()) for arm, _, _ in ARMS)
    return f"Half of the photos: within {_wait(edge)} at the edge on every link, up to {_wait(cloud)} cloud-only"


def _wait(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _bar(chart: Chart, row: Row, y: float, colour: str) -> None:
    left, median, most, end = (chart.at(value, 0)[0] for value in (chart.x.low, row.p50_s, row.p95_s, row.p99_s))
    del left
    chart.parts.append(
        f'<line x1="{median:.1f}" y1="{y}" x2="{max(end, median + 1):.1f}" y2="{y}" stroke="{colour}"'
        ' stroke-width="6" stroke-opacity="0.55" stroke-linecap="round"/>'
    )
    chart.parts.append(f'<circle cx="{median:.1f}" cy="{y}" r="5.5" fill="{colour}"/>')
    chart.parts.append(
        f'<circle cx="{most:.1f}" cy="{y}" r="4.5" fill="#ffffff" stroke="{colour}" stroke-width="1.8"/>'
    )


def _describe(rows: Mapping[str, Mapping[str, Row]]) -> str:
    sentences = (
        f"{link}: edge {arms['edge'].p50_s:.2f} s, cloud-only {arms['cloud'].p50_s:.2f} s"
        for link, arms in rows.items()
    )
    return f"Median seconds from capture to prediction. {'; '.join(sentences)}."


def draw_course(result: Result) -> str:
    """Draw how long each photo waited for its prediction, over the time of the measurement on one link; return SVG."""
    minutes = result["seconds"] / 60
    step = next(one for one in (0.5, 1, 2, 5, 10) if minutes / one <= 9)
    ticks = [(one * step, f"{one * step:g}") for one in range(int(minutes / step) + 1)]
    times = [image.predicted_s or 0.0 for arm, _, _ in ARMS for image in load_images(result["arms"][arm]["images"])]
    high = next(value for value, _ in (*SECONDS, (1e9, "")) if value > max(times) * 1.05)
    chart = Chart(
        x=Axis(title="minutes since the first photo", low=0, high=minutes, ticks=ticks),
        y=seconds_axis("from capture to prediction", 0.1, high),
        left=92,
        top=74,
        width=760,
        height=300,
    )
    away = sorted({state for _, state in result["phases"] if state != "up"})
    phases = [*result["phases"], [result["seconds"], "up"]]
    for (start, state), (end, _) in itertools.pairwise(phases):
        if state != "up":
            chart.band(start / 60, end / 60, AWAY[state])
    chart.axes()
    for arm, _, colour in reversed(ARMS):
        for image in load_images(result["arms"][arm]["images"]):
            if image.predicted_s is not None:
                chart.dot(image.at_s / 60, image.predicted_s, colour, radius=1.7)
    for at, _ in result["kills"]:
        chart.mark(at / 60)
    entries = [(text, colour, "dot") for _, text, colour in ARMS]
    entries.append(("a process is killed", GREY, "mark"))
    entries += [(f"the link is {state}", AWAY[state], "band") for state in away]
    edge, cloud = (summarise(result["arms"][arm]) for arm, _, _ in ARMS)
    states = compare_states(load_images(result["arms"]["edge"]["images"]))
    title = "Cloud-only waits for the link"
    if states is not None:
        up, down = _wait(states.up_s), _wait(states.away_s)
        title = f"Edge median: {up} with the link up, {down} with it down; cloud-only waits for the link"
    described = (
        f"Each photo's wait: at the edge {_wait(edge.p50_s)} in the median and {_wait(edge.p99_s)} for 99 of 100,"
        f" cloud-only {_wait(cloud.p50_s)} and {_wait(cloud.p99_s)}."
    )
    return figure(880, 440, title, described, [legend(92, 56, entries), *chart.parts])


SIZE_COLOURS = ("#f0a04b", "#dd6b20", "#a83a0c", "#5c1d06")


def draw_crossover(result: Result, slow_over_s: float | None) -> str:
    """Draw the seconds that the link adds to a prediction in the cloud, over the bandwidth; return SVG.

    The cloud-only setup is faster where the cloud predicts faster than the edge by more than these seconds.

    Args:
        result: Result of the comparison in `bench.link.crossover`.
        slow_over_s: Seconds by which a slow edge device predicts slower than the cloud, drawn as a horizontal line;
            None: no line.
    """
    points = [point for point in result["points"] if point["edge_s"] and point["cloud_s"]]
    sizes = sorted({point["size_bytes"] for point in points})
    round_trip_s = 2 * result["delay_ms"] / 1000
    ticks = [(0.2, "0.2"), (0.5, "0.5"), (1, "1"), (2, "2"), (5, "5"), (10, "10"), (20, "20"), (50, "50"), (100, "100")]
    chart = Chart(
        x=Axis(title="bandwidth of the link, Mbit/s", low=0.2, high=200, ticks=[*ticks, (200, "200")], log=True),
        y=seconds_axis("added by the link: cloud-only less edge", 0.1, 60),
        left=92,
        top=96,
        width=640,
        height=360,
    )
    chart.axes()
    entries = [("what the link adds, computed", CLOUD, "line"), ("measured", CLOUD, "dot")]
    if slow_over_s is not None:  # first, so that no label hides a point
        chart.line([(0.2, slow_over_s), (200, slow_over_s)], EDGE, dash="6 5", width=1.8)
        chart.note(3.7, slow_over_s, f"E - C = {slow_over_s:.1f} s", EDGE, dx=0, dy=-6)
        entries.append(("an edge with a tenth of a CPU", EDGE, "dash"))
    labels: list[tuple[float, str, str]] = []
    for size, colour in zip(sizes, SIZE_COLOURS, strict=False):
        grid = [0.2 * (1000 ** (number / 120)) for number in range(121)]
        curve = [(mbit_s, transfer_s(size, mbit_s, round_trip_s)) for mbit_s in grid]
        chart.line([point for point in curve if point[1] <= 60], colour)
        for point in (one for one in points if one["size_bytes"] == size):
            chart.dot(point["mbit_s"], point["cloud_s"] - point["edge_s"], colour)
        labels.append((chart.at(200, curve[-1][1])[1], _size(size), colour))
    lowest = float("inf")
    for y, text, colour in sorted(labels, reverse=True):
        lowest = min(y + 4, lowest - 15)
        chart.parts.append(text_at(chart.left + chart.width + 8, lowest, text, size=12, colour=colour, weight=600))
    sentence = (
        "Cloud-only is faster where your image's curve is below your E - C (edge's time less cloud's)."
        f" Round trip {round_trip_s * 1000:g} ms."
    )
    parts = [legend(92, 56, entries), text_at(92, 80, sentence, size=12.5, colour=GREY)]
    title = "Cloud-only is faster only where the cloud predicts faster by more than the link adds"
    described = "Seconds that the link adds to a prediction against bandwidth, by image size, computed and measured."
    return figure(880, 520, title, described, [*parts, *chart.parts])


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 950_000 else f"{size / 1000:.0f} KB"


def draw_update(results: Sequence[Result]) -> str:
    """Draw how much of each update has arrived over time, with the times when the link was cut; return SVG.

    A second chart below it has the response times of the function during the update.
    """
    parts: list[str] = []
    width, gap = 360, 96
    for number, result in enumerate(results):
        left = 92 + number * (width + gap)
        seconds, total = result["seconds"], max(1, result["layer_bytes"])
        unit, name = (1e6, "MB") if total >= 1e6 else (1e3, "KB")
        step = next(one for one in (1, 2, 5, 10, 30, 60, 120, 300, 600) if seconds / one <= 7)
        x_ticks = [(one * step, f"{one * step}") for one in range(int(seconds / step) + 1)]
        y_step = next(one * 10**power for power in range(5) for one in (1, 2, 5) if total / unit / one / 10**power <= 6)
        y_ticks = [(one * y_step, f"{one * y_step}") for one in range(int(total / unit / y_step) + 1)]
        x = Axis(title="seconds since the update began", low=0, high=seconds, ticks=x_ticks)
        arrived = Chart(
            x=x,
            y=Axis(title=f"arrived, {name}", low=0, high=total / unit * 1.06, ticks=y_ticks),
            left=left,
            top=96,
            width=width,
            height=190,
        )
        asked = Chart(x=x, y=seconds_axis("prediction took", 0.03, 3), left=left, top=306, width=width, height=100)
        for at, length in result["cuts"]:
            for chart in (arrived, asked):
                chart.band(at, min(seconds, at + length + 1), AWAY["down"])
        arrived.axes(x_texts=False)
        asked.axes()
        stairs = [(0.0, 0.0), *((at, count / unit) for at, count in result["progress"])]
        arrived.line(stairs, "#1d4ed8")
        for at, took in result["asked"]:
            if took is None:
                asked.dot(at, 3, CLOUD, radius=3)
            else:
                asked.dot(at, took, EDGE, radius=2)
        failed = sum(took is None for _, took in result["asked"])
        sentence = f"{result['text']}: {total / unit:.1f} {name} in {_span(seconds)}"
        parts.append(text_at(left, 84, sentence, size=13, weight=600, colour=DARK))
        parts += [*arrived.parts, *asked.parts]
        parts.append(
            text_at(left, 466, f"{len(result['asked'])} requests meanwhile, {failed} failed", size=12, colour=GREY)
        )
    entries = [("bytes of the update", "#1d4ed8", "line"), ("the link is cut", AWAY["down"], "band")]
    parts.append(legend(92, 56, [*entries, ("a request to the function", EDGE, "dot")]))
    described = "; ".join(f"{one['text']}: {one['layer_bytes']} bytes, {one['seconds']:.0f} s" for one in results)
    title = "An update over 1 Mbit/s with 5 % loss continues after each cut, and the function serves throughout"
    return figure(92 + len(results) * (width + gap), 480, title, described, parts)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
