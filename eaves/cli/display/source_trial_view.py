"""Views of a source's trial: fields and a small picture for a terminal, and plain data for JSON and YAML."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.display.cell_text import describe_bytes, describe_milliseconds, describe_seconds
from eaves.cli.display.output import print_fields, print_sentence, say
from eaves.events import DATAREF

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from eaves.events import Event
    from eaves.sources.trial.findings import PictureFigures, SourceTrial, StreamFacts

DECODING = {
    "none": "none: the camera's JPEG images are passed on as they are",
    "key": "key frames only, which costs least",
    "all": "all frames, because key frames come less often than every_s asks for",
}
PICTURE_COLUMNS = 64
"""Maximum width of the small picture, columns."""
PICTURE_ROWS = 20
"""Maximum height of the small picture, rows of two pixels each."""


def print_trial(trial: SourceTrial, *, saved: Path | None, replaced: bool = False, verdict: str) -> None:
    """Print what a trial found, as text for people.

    Args:
        trial: What was found.
        saved: File that the image was written to; None when it wasn't written.
        replaced: Whether the file replaced an older one.
        verdict: Whether the function would take the image, as a sentence.
    """
    print_sentence(f"source {trial.name}, kind {trial.kind}: {trial.place}".removesuffix(": "))
    event = trial.event
    fields = [*((step.name, f"{'' if step.passed else 'failed: '}{step.detail}") for step in trial.steps)]
    fields += _describe_stream(trial.stream) if trial.stream else []
    if event is None:
        print_fields(fields)
        _print_notes(trial)
        return
    fields += [("first image", f"after {describe_seconds(trial.first_image_s or 0.0)}"), _describe_image(trial, event)]
    if saved is not None:
        fields.append(("saved", f"{saved}{', in place of an older file' if replaced else ''}"))
    print_fields(fields)
    if trial.picture is not None and trial.picture.remark:
        print_sentence(f"note: {trial.picture.remark}")
    if event.data and trial.picture is not None:
        _print_picture(event.data)
    print_sentence("event that would be sent:" if trial.within_hours else "event, which would not be sent now:")
    print_fields([*_describe_event(event), ("rate", _describe_rate(trial)), ("function", verdict)])
    if not trial.within_hours:
        print_sentence("note: images of this time of day are dropped by the option hours")
    _print_notes(trial)


def build_value(trial: SourceTrial, *, saved: Path | None, refusal: str) -> dict[str, Any]:
    """Return what a trial found as plain data."""
    event = trial.event
    return {
        "name": trial.name,
        "kind": trial.kind,
        "place": trial.place,
        "steps": [asdict(step) for step in trial.steps],
        "stream": asdict(trial.stream) if trial.stream else None,
        "first_image_s": trial.first_image_s and round(trial.first_image_s, 3),
        "picture": _round(asdict(trial.picture)) if trial.picture else None,
        "saved": str(saved) if saved else None,
        "event": {**event.attributes(), "data_bytes": len(event.data)} if event else None,
        "within_hours": trial.within_hours,
        "load": _round(asdict(trial.load)) if trial.load else None,
        "function": {"accepts": not refusal, "reason": refusal} if event else None,
        "dropped": dict(trial.dropped),
        "notes": list(trial.notes),
        "failure": asdict(trial.failure) if trial.failure else None,
    }


def _round(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


def _print_notes(trial: SourceTrial) -> None:
    for note in trial.notes:
        say(f"note: {note}")


def _describe_stream(stream: StreamFacts) -> list[tuple[str, str]]:
    parts = [stream.codec, f"{stream.width}x{stream.height}"]
    if stream.rate:
        parts.append(f"{stream.rate:.3g} frames/s")
    if stream.key_interval_s and stream.decoding != "none":
        parts.append(f"a key frame every {describe_seconds(stream.key_interval_s)}")
    parts.append(f"open after {describe_seconds(stream.opened_s)}")
    return [("stream", ", ".join(parts)), ("decoding", DECODING.get(stream.decoding, stream.decoding))]


def _describe_image(trial: SourceTrial, event: Event) -> tuple[str, str]:
    if not event.data:
        return "image", f"stays in its bucket: {event.extensions.get(DATAREF, '')}"
    picture = trial.picture
    size = describe_bytes(len(event.data))
    if picture is None:
        return "image", f"{event.datacontenttype}, {size}; it can't be decoded"
    return "image", f"{event.datacontenttype}, {picture.width}x{picture.height}, {size}; {_describe_light(picture)}"


def _describe_light(picture: PictureFigures) -> str:
    return f"brightness {picture.brightness:.0f} and contrast {picture.contrast:.0f} of 255"


def _describe_event(event: Event) -> Iterator[tuple[str, str]]:
    for name, value in event.attributes().items():
        if name != "specversion":
            yield name, str(value)


def _describe_rate(trial: SourceTrial) -> str:
    load = trial.load
    if load is None:
        return f"one event for each {'message with an image' if trial.kind == 'mqtt' else 'image'}"
    every = describe_milliseconds(load.interval_s * 1_000)
    return (
        f"at most one image every {every}: {load.images_per_hour:,.0f} an hour, "
        f"{describe_bytes(load.bytes_per_day)} a day"
    )


def _print_picture(data: bytes) -> None:
    """Print a small picture of half blocks, on a terminal with colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return
    from rich.console import Console

    from eaves.sources.trial.picture import read_picture

    console = Console(file=sys.stdout, highlight=False)
    if console.color_system is None:
        return
    click.echo()
    console.print(_build_blocks(read_picture(data)[1], min(PICTURE_COLUMNS, max(16, console.width - 4))))


def _build_blocks(image: Image.Image, columns: int) -> Any:
    """Return a picture as text: each character is an upper half block with the colours of two pixels."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    width, height = image.size
    scale = min(columns / width, 2 * PICTURE_ROWS / height)
    small = image.resize((max(1, round(width * scale)), 2 * max(1, round(height * scale / 2))))
    text = Text()
    for row in range(0, small.height, 2):
        text.append("  ")
        for column in range(small.width):
            upper, lower = (Color.from_rgb(*_read_pixel(small, column, row + below)) for below in (0, 1))
            text.append("▀", Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text


def _read_pixel(image: Image.Image, column: int, row: int) -> tuple[int, int, int]:
    pixel = image.getpixel((column, row))
    if not isinstance(pixel, tuple):
        raise TypeError("the image is not RGB")
    return pixel[0], pixel[1], pixel[2]
