"""The cold starts of `eaves doctor --cold-start`: measured in turn with a floor, and printed as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.cli.output import Column, Columns, Kind, print_line, print_rows, print_value, say
from eaves.errors import NotFoundError

if TYPE_CHECKING:
    from eaves.platform.cold_start import ColdStart
    from knative.client.cluster import Cluster
    from knative.cold_start import ColdRequest, ColdTarget

COLUMNS: Columns = {
    "phase": "PHASE",
    "median_ms": Column("MS", Kind.NUMBER),
    "min_ms": Column("MIN", Kind.NUMBER, drop=2),
    "max_ms": Column("MAX", Kind.NUMBER, drop=2),
    "floor_ms": Column("FLOOR", Kind.NUMBER),
    "what": Column("WHAT", drop=1),
}
ENDS = {"total": "from request to answer", "warm": "same request, replica running"}
DEFAULT_PIXELS = 299


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStartOptions:
    """Values of the options that measure cold starts.

    Attributes:
        function: Name of the function; empty for that of eaves.yaml, or the only one.
        repeats: Number of cold starts.
        wait: Whether to wait until the function is at zero, rather than to refuse.
        floor: Name of a Knative Service whose cold starts are measured in turn; empty for none.
        image: File that is sent; None for a grey JPEG.
    """

    function: str
    repeats: int
    wait: bool
    floor: str
    image: Path | None


def choose_function(cluster: Cluster, options: ColdStartOptions, project_name: str) -> str:
    """Return the name of the function to measure.

    Raises:
        NotFoundError: When no function is named, and none or several are deployed.
    """
    if named := options.function or project_name:
        return named
    from knative.client.kinds import KSERVICE

    names = sorted(str(one["metadata"]["name"]) for one in cluster.list(KSERVICE))
    if len(names) == 1:
        return names[0]
    found = f"{len(names)} functions are deployed, so one must be named: {', '.join(names)}"
    hint = f"eaves doctor --cold-start {names[0]}" if names else "eaves deploy"
    raise NotFoundError(found if names else "no function is deployed", hint=hint)


def report_cold_starts(cluster: Cluster, name: str, options: ColdStartOptions, form: str) -> None:
    """Measure the cold starts of a function, and print the medians of their phases with hints.

    Raises:
        EavesError: When the function is not at zero, or a start can't be measured.
    """
    from eaves.platform.cold_start import PHASES, summarize
    from knative.cold_start import find_hints, read_target

    request = build_request(options.image)
    target = read_target(cluster, name)
    floor = read_target(cluster, options.floor) if options.floor else None
    starts, floors = _measure(cluster, target, floor, request, options)
    summaries = summarize(starts)
    beside = {one.phase: one.median_ms for one in summarize(floors)} if floors else {}
    rows: list[dict[str, Any]] = [
        {**asdict(one), "floor_ms": beside.get(one.phase), "what": PHASES.get(one.phase) or ENDS[one.phase]}
        for one in summaries
    ]
    hints = find_hints(target, starts, summaries)
    if form != "table":
        print_value(_document(target, starts, floors, rows, hints), form)
        return
    rows = [{key: round(value) if isinstance(value, float) else value for key, value in row.items()} for row in rows]
    columns = COLUMNS if floors else {key: column for key, column in COLUMNS.items() if key != "floor_ms"}
    print_rows(rows, columns, form)
    for hint in hints:
        print_line(hint)


def build_request(image: Path | None) -> ColdRequest:
    """Build the request that starts a function: a file without an event, so that no subscriber gets a prediction.

    Args:
        image: File to send; None for a grey JPEG of 299 x 299 pixels.
    """
    from eaves.media_type import sniff
    from knative.cold_start import ColdRequest

    if image is None:
        from io import BytesIO

        from PIL import Image

        buffer = BytesIO()
        Image.new("RGB", (DEFAULT_PIXELS, DEFAULT_PIXELS), (128, 128, 128)).save(buffer, "JPEG")
        return ColdRequest(method="POST", headers={"Content-Type": "image/jpeg"}, body=buffer.getvalue())
    body = image.read_bytes()
    kind = "application/json" if image.suffix.lower() == ".json" else sniff(body)
    return ColdRequest(method="POST", headers={"Content-Type": kind}, body=body)


def _measure(
    cluster: Cluster, target: ColdTarget, floor: ColdTarget | None, request: ColdRequest, options: ColdStartOptions
) -> tuple[list[ColdStart], list[ColdStart]]:
    """Return the cold starts of the function and of the floor, which take turns."""
    from knative.cold_start import ColdRequest, ColdSubject, ZeroWait, measure_in_turn, require_zero

    subjects = [ColdSubject(target=target, request=request)]
    subjects += [ColdSubject(target=floor, request=ColdRequest())] if floor is not None else []
    if not options.wait:
        for subject in subjects:
            require_zero(cluster, subject.target)

    def wait(one: ColdTarget) -> ZeroWait:
        return ZeroWait(show=lambda pods: say(f"{one.name}: waiting until it is at zero (pods: {pods})"))

    def show(one: ColdTarget, start: ColdStart) -> None:
        say(f"{one.name}: a cold start took {start.total_ms:.0f} ms")

    starts, *floors = measure_in_turn(cluster, subjects, options.repeats, how=wait, show=show)
    return starts, floors[0] if floors else []


def _document(
    target: ColdTarget,
    starts: list[ColdStart],
    floors: list[ColdStart],
    rows: list[dict[str, Any]],
    hints: list[str],
) -> Mapping[str, Any]:
    return {
        "function": target.name,
        "revision": target.revision,
        "phases": rows,
        "starts": [_describe(start) for start in starts],
        "floor_starts": [_describe(start) for start in floors],
        "hints": hints,
    }


def _describe(start: ColdStart) -> dict[str, Any]:
    durations = {phase: round(value, 1) for phase, value in start.durations_ms().items()}
    totals = {"total_ms": round(start.total_ms, 1), "warm_ms": round(start.warm_ms, 1)}
    return {**totals, "pulled": start.pulled, "phases_ms": durations}
