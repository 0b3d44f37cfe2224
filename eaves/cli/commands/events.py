"""The commands `eaves send`, whose images become predictions, `eaves events` and `eaves logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.base.terminal import escape_json
from eaves.cli.live import (
    follow_events,
    format_record,
    matches_type,
    repeat,
    show_log_line,
)
from eaves.cli.output import Column, Columns, Kind, output_option, print_line, print_rows, say
from eaves.cli.site import Place, describe_stopped, place_options, state_option
from eaves.console.words import count_noun
from eaves.errors import InputError, NotFoundError, PlatformError
from eaves.events import TYPE_PREFIX
from eaves.history import KEEP, HistoryReader, Record, RecordFilter
from eaves.history.record import parse_answer, parse_data, parse_prediction
from eaves.media_type import UNKNOWN, UNSUPPORTED, is_image_path, is_unsupported_path
from eaves.problem_document import parse_problem

if TYPE_CHECKING:
    from eaves.delivery import SinkResponse
    from eaves.events import Event
    from eaves.platform import FunctionStatus


EVENT_COLUMNS: Columns = {
    "at": Column("TIME", Kind.MOMENT),
    "type": Column("TYPE", drop=2),
    "subject": Column("SUBJECT", Kind.PATH),
    "label": "LABEL",
    "score": "SCORE",
    "p_value": Column("P-VALUE", drop=4, optional=True),
    "source": Column("SOURCE", Kind.PATH, drop=1),
    "id": Column("EVENT", Kind.ID, drop=3),
}
POLL_S = 0.25
"""Pause between two readings of the history of events, or of a log file, seconds."""
MAX_KNOWN = 10
"""Maximum number of recorded event types that the message about an unknown type lists."""


@click.command()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Number of past events; the newest are shown.",
)
@click.option("-f", "--follow", is_flag=True, help="Show new events as they come, until Ctrl-C.")
@click.option(
    "--type",
    "kind",
    metavar="TYPE",
    default="",
    help="Show only events of this type, or of the types that begin with it: image.classified, image.classified.v1 or "
    f"{TYPE_PREFIX}image.classified.v1.",
)
@output_option
@state_option
def events(lines: int, follow: bool, kind: str, form: str, state_dir: Path) -> None:
    """Show the newest events that the local platform accepted, oldest first.

    With --follow, each event is one line: time, type, label, score, subject and the beginning of the id. With
    `-o json`, each line is one JSON object. `eaves up` may be stopped and started meanwhile.
    """
    from eaves.local.client import LocalPlatform
    from eaves.local.state import StateDirectory

    if follow and form == "yaml":
        raise click.UsageError("--follow prints lines or JSON; leave out -o yaml.")
    history = StateDirectory(root=state_dir).history
    reader = HistoryReader(history)
    records = reader.find(RecordFilter(), limit=KEEP if kind else max(lines, 1))[::-1]
    matching = [record for record in records if matches_type(record.type, kind)]
    kept = matching[-lines:] if lines else []
    if follow:
        for record in kept:
            _print_record(record, form)
    else:
        print_rows([_row(record) for record in kept], EVENT_COLUMNS, form)
    if records and not matching:
        known = ", ".join(sorted({record.type for record in records})[:MAX_KNOWN])
        say(f"none of the newest {len(records)} events has a type that starts with {kind!r}; their types are: {known}")
    if follow:
        say("new events appear below; Ctrl-C ends the view" if history.exists() else "`eaves up` has not run here yet")
        _follow(reader, records[-1].seq if records else 0, kind, form)
    elif not records and not LocalPlatform(state_dir).running():
        say(describe_stopped())


def _follow(reader: HistoryReader, after: int, kind: str, form: str) -> None:
    """Print events behind the record `after` until Ctrl-C or until stdout has no reader."""
    step = follow_events(reader, after)

    def show() -> None:
        for record in step():
            if matches_type(record.type, kind):
                _print_record(record, form)

    repeat(show, every_s=POLL_S)


def _print_record(record: Record, form: str) -> None:
    if form == "table":
        print_line(format_record(record))
    else:
        click.echo(escape_json(json.dumps(_row(record), ensure_ascii=False)))


def _row(record: Record) -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.at))
    best = parse_prediction(record)
    return {
        **asdict(record),
        "time": moment,
        "label": best.label or None,
        "score": best.score,
        "p_value": best.p_value,
        "data": parse_data(record.text),
    }


@click.command()
@click.argument("name")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="Number of past lines; the newest are shown.",
)
@click.option("-f", "--follow", is_flag=True, help="On this machine, show new lines as they are written, until Ctrl-C.")
@place_options("state", "long_file", "on", "all")
def logs(name: str, lines: int, follow: bool, place: Place) -> None:
    """Show the log lines of function NAME, oldest first.

    NAME may also be FUNCTION.SOURCE, for the lines of one source, or FUNCTION.agent, for those of all sources of the
    function. At a site, it may also be FUNCTION.relay, or FUNCTION.TRIGGER-mqtt for a trigger that publishes to MQTT.
    For a process that ends again and again, the lines of its last run are shown.

    On a terminal a line of JSON is shown as time, level, message and fields; in a pipe, as it was written.

    With --follow, `eaves up` and functions may be stopped and started meanwhile. The pods of a site are followed by
    kubectl, by the command that is printed.
    """
    from eaves.local.client import LocalPlatform
    from eaves.local.processes.logs import follow as follow_log
    from knative.resources.metadata import APP_LABEL

    if not follow:
        for line in place.open_platform().logs(name, lines=max(lines, 1))[-lines:] if lines else []:
            print_line(show_log_line(line))
        return
    if place.is_cluster:
        pods = f"kubectl logs --follow --prefix --selector {APP_LABEL}={name.partition('.')[0]}"
        raise InputError("--follow is for the logs of this machine; kubectl follows those of pods", hint=pods)
    path, source = LocalPlatform(place.state_dir).find_log(name)
    step = follow_log(path, lines, source)

    def show() -> None:
        for line in next(step):
            print_line(show_log_line(line))

    repeat(show, every_s=POLL_S)


PREDICTION_COLUMNS: Columns = {
    "image": Column("IMAGE", Kind.PATH),
    "label": "LABEL",
    "score": "SCORE",
    "p_value": Column("P-VALUE", drop=4, optional=True),
    "confidence": Column("CONFIDENCE", drop=2),
    "latency_ms": Column("LATENCY", Kind.MILLISECONDS, drop=3),
    "id": Column("EVENT", Kind.ID, drop=1),
}
NOT_TAKEN = 415
"""HTTP status with which a function refuses an event whose media type it doesn't accept."""


@click.command()
@click.argument("paths", metavar="IMAGES...", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@click.option("--function", "name", help="Name of the function. Not needed when only one is deployed.")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 600),
    metavar="SECONDS",
    default=120.0,
    show_default=True,
    help="Time to wait for each prediction.",
)
@output_option
@place_options("state", "file", "on", "all")
def send(paths: tuple[Path, ...], name: str | None, timeout: float, form: str, place: Place) -> None:
    """Send IMAGES as events to a function and print the prediction events that come back.

    A folder stands for the images in it and below it. A file that ends in .json holds numbers, for a model with the
    task tensor.
    """
    from eaves.sources.files import capture_file

    images = list(list_images(paths))
    platform = place.open_platform()
    function, site = _choose_function(platform.status(), name)
    rows: list[dict[str, Any]] = []
    try:
        for path in images:
            event = capture_file(path, site=site)
            answer = platform.invoke(function, event, timeout_s=timeout)
            if answer.event is None:
                say(f"error: {path}: {describe_refusal(path, event, answer)}")
                continue
            best = parse_answer(answer.event.json(), answer.event.extensions)
            rows.append(
                {
                    "image": str(path),
                    "label": best.label or None,
                    "score": best.score,
                    "p_value": best.p_value,
                    "confidence": best.confidence,
                    "latency_ms": round(answer.latency_ms, 1),
                    "id": answer.event.id,
                    "event": {**answer.event.attributes(), "data": answer.event.json()},
                }
            )
    finally:  # an error or Ctrl-C after many images loses none of the predictions so far
        if rows or form != "table":
            print_rows(rows, PREDICTION_COLUMNS, form)
    if len(rows) < len(images):
        raise PlatformError(f"{len(images) - len(rows)} of {count_noun(len(images), 'image')} got no prediction")


def list_images(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files among the paths, and the images in the folders among them.

    Raises:
        InputError: When a folder has no image.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        names = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        found = [name for name in names if is_image_path(name) or is_unsupported_path(name)]
        if not found:
            raise InputError(f"the folder {path} has no image", hint="name images, or a folder with images")
        yield from (path / name for name in found)


def _choose_function(found: list[FunctionStatus], name: str | None) -> tuple[str, str]:
    """Return name and site of the function that images are sent to.

    Raises:
        NotFoundError: When no function is named, and none or several are deployed.
    """
    chosen = [status for status in found if name in (None, status.name)]
    if name is not None:
        return name, chosen[0].site if chosen else ""
    if len(chosen) == 1:
        return chosen[0].name, chosen[0].site
    if not found:
        raise NotFoundError("no function is deployed", hint="eaves deploy")
    names = [status.name for status in found]
    several = f"{len(names)} functions are deployed, so one must be named: {', '.join(names)}"
    raise NotFoundError(several, hint=f"--function {names[0]}")


def describe_refusal(path: Path, event: Event, answer: SinkResponse) -> str:
    """Return why a function's answer to a file holds no prediction, and what helps."""
    problem = parse_problem(answer.body)
    if answer.status == NOT_TAKEN and "image/" in str(problem.get("hint")):
        if event.datacontenttype in UNSUPPORTED or is_unsupported_path(path.name):
            return "HEIC and AVIF images can't be read; convert the file to JPEG"
        if event.datacontenttype == UNKNOWN:
            return "the file is not an image in the format JPEG, PNG, WebP, BMP, TIFF or GIF"
    if not problem.get("detail"):
        return f"the function answered {answer.status}: {answer.body[:200].decode(errors='replace')}"
    return f"{problem['detail']} (try: {problem['hint']})" if problem.get("hint") else str(problem["detail"])
