"""The command `eaves send`, which sends images to a function and prints its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.cluster.platform_options import choose_platform, cluster_options, on_option, read_choice
from eaves.cli.display.event_view import find_best
from eaves.cli.display.output import output_option, print_rows, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.shared_options import file_option, state_option
from eaves.errors import NotFoundError, PlatformError
from eaves.media_type import UNKNOWN, UNSUPPORTED_SUFFIXES
from eaves.web.problem_document import parse_problem

if TYPE_CHECKING:
    from eaves.delivery import SinkResponse
    from eaves.events import Event
    from eaves.platform import FunctionStatus

COLUMNS: Columns = {
    "image": Column("IMAGE", Kind.PATH),
    "label": "LABEL",
    "score": "SCORE",
    "confidence": Column("CONFIDENCE", drop=2),
    "latency_ms": Column("LATENCY", Kind.MILLISECONDS, drop=3),
    "id": Column("EVENT", Kind.ID, drop=1),
}


NOT_TAKEN = 415
"""HTTP status with which a function refuses an event whose media type it doesn't accept."""


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True)
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
@state_option
@file_option
@on_option
@cluster_options
def command(
    images: tuple[Path, ...], name: str | None, timeout: float, form: str, state_dir: Path, file: Path, **clusters: Any
) -> None:
    """Send IMAGES as events to a function and print the prediction events that come back.

    A file that ends in .json holds numbers, for a model with the task tensor.
    """
    from eaves.sources.files import capture_file

    platform = choose_platform(file, state_dir, read_choice(**clusters))
    function, site = _target(platform.status(), name)
    rows: list[dict[str, Any]] = []
    refused: list[bool] = []
    for path in images:
        event = capture_file(path, site=site)
        answer = platform.invoke(function, event, timeout_s=timeout)
        if answer.event is None:
            foreign = is_foreign(event, answer)
            refused.append(foreign)
            say(f"error: {path}: {describe_foreign(path) if foreign else _problem(answer)}")
            continue
        rows.append(
            {
                "image": str(path),
                **find_best(answer.event.json(), answer.event.extensions),
                "confidence": answer.event.extensions.get("confidence", ""),
                "latency_ms": round(answer.latency_ms, 1),
                "id": answer.event.id,
                "event": {**answer.event.attributes(), "data": answer.event.json()},
            }
        )
    if rows or form != "table":
        print_rows(rows, COLUMNS, form)
    if refused:
        hint = "send image files" if all(refused) else f"eaves logs {function}"
        raise PlatformError(f"{len(refused)} of {len(images)} images got no prediction", hint=hint)


def is_foreign(event: Event, answer: SinkResponse) -> bool:
    """Return whether a function refused a file because the file doesn't begin like any image format.

    Args:
        event: The event that was sent.
        answer: The function's answer.
    """
    takes_images = "image/" in str(parse_problem(answer.body).get("hint"))
    return answer.status == NOT_TAKEN and takes_images and event.datacontenttype == UNKNOWN


def describe_foreign(path: Path) -> str:
    """Return why a function doesn't accept a file as an image, and which formats can be read.

    Args:
        path: Path of the file.
    """
    if path.suffix.lower() in UNSUPPORTED_SUFFIXES:
        return "HEIC and AVIF images can't be read; convert the file to JPEG"
    return "the file is not an image in the format JPEG, PNG, WebP, BMP, TIFF or GIF"


def _target(found: list[FunctionStatus], name: str | None) -> tuple[str, str]:
    """Return name and site of the function that images are sent to.

    Raises:
        NotFoundError: When no function is named, and none or several are deployed.
    """
    chosen = [status for status in found if name in (None, status.name)]
    if name is not None:
        return name, chosen[0].site if chosen else ""
    if len(chosen) != 1:
        names = [status.name for status in found]
        hint = f"--function {names[0]}" if names else "eaves deploy"
        several = f"{len(names)} functions are deployed, so one must be named: {', '.join(names)}"
        raise NotFoundError(several if names else "no function is deployed", hint=hint)
    return chosen[0].name, chosen[0].site


def _problem(answer: SinkResponse) -> str:
    """Return the reason for a failure in a function's answer that holds no prediction."""
    problem = parse_problem(answer.body)
    if not problem.get("detail"):
        return f"the function answered {answer.status}: {answer.body[:200].decode(errors='replace')}"
    return f"{problem['detail']} (try: {problem['hint']})" if problem.get("hint") else str(problem["detail"])
