"""The command `eaves send`, which sends images to a function and prints its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.output import Column, Columns, Kind, output_option, print_rows, say
from eaves.cli.site import Place, place_options
from eaves.console.words import count_noun
from eaves.errors import InputError, NotFoundError, PlatformError
from eaves.history.prediction import parse_answer
from eaves.media_type import UNKNOWN, UNSUPPORTED, is_image_path, is_unsupported_path
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
def command(paths: tuple[Path, ...], name: str | None, timeout: float, form: str, place: Place) -> None:
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
                    "confidence": best.confidence,
                    "latency_ms": round(answer.latency_ms, 1),
                    "id": answer.event.id,
                    "event": {**answer.event.attributes(), "data": answer.event.json()},
                }
            )
    finally:  # an error or Ctrl-C after many images loses none of the predictions so far
        if rows or form != "table":
            print_rows(rows, COLUMNS, form)
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
