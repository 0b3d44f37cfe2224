"""Views of a source's trial: fields and a small picture for a terminal, and plain data for JSON and YAML."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.output import describe_bytes, describe_duration, print_fields, print_sentence
from eaves.events import DATAREF

if TYPE_CHECKING:
    from pathlib import Path

    from eaves.events import Event
    from eaves.sources.trial.trial import SourceTrial

DECODING = {
    "none": "none: the camera's JPEG images are passed on as they are",
    "key": "key frames only, which costs least",
    "all": "all frames, because key frames come less often than every_s asks for",
}
PICTURE_COLUMNS, PICTURE_ROWS = 64, 20
"""Maximum size of the small picture, columns and rows of two pixels each."""
HOUR_S, DAY_S = 3_600, 86_400


def print_trial(
    trial: SourceTrial, saved: tuple[Path, bool] | None, *, whose: str, refusal: str, max_bytes: int
) -> None:
    """Print what a trial found, as text for people.

    Args:
        trial: What was found.
        saved: File that the image was written to, and whether it replaced one; None when it wasn't written.
        whose: The function that would get the image.
        refusal: Why that function would refuse it; empty when it would take it.
        max_bytes: Maximum size of an image that the function takes, bytes.
    """
    print_sentence(f"source {trial.name}, kind {trial.kind}: {trial.place}".removesuffix(": "))
    event = trial.event
    steps = [(step.name, f"{'' if step.passed else 'failed: '}{step.detail}") for step in trial.steps]
    fields = [*steps, *_describe_stream(trial), *(_describe_image(trial, event) if event else ())]
    if saved is not None:
        fields.append(("saved", f"{saved[0]}{', in place of an older file' if saved[1] else ''}"))
    print_fields(fields)
    if event is None:
        return
    if trial.picture is not None:
        if trial.picture.remark:
            print_sentence(f"note: {trial.picture.remark}")
        _print_picture(event.data)
    print_sentence("event that would be sent:" if trial.within_hours else "event, which would not be sent now:")
    size = describe_bytes(len(event.data))
    verdict = f"{whose} takes it: {size} of at most {describe_bytes(max_bytes)}"
    if refusal or not event.data:
        verdict = f"{whose} refuses it: {refusal}" if refusal else f"{whose} fetches it from its bucket"
    attributes = [(name, str(value)) for name, value in event.attributes().items() if name != "specversion"]
    print_fields([*attributes, ("rate", _describe_rate(trial)), ("function", verdict)])
    if not trial.within_hours:
        print_sentence("note: images of this time of day are dropped by the option hours")


def build_value(trial: SourceTrial, saved: tuple[Path, bool] | None, refusal: str) -> dict[str, Any]:
    """Return what a trial found as plain data."""
    event = trial.event
    return {
        "name": trial.name,
        "kind": trial.kind,
        "place": trial.place,
        "steps": [asdict(step) for step in trial.steps],
        "stream": {**asdict(trial.stream), "opened_s": trial.opened_s} if trial.stream else None,
        "first_image_s": trial.first_image_s and round(trial.first_image_s, 3),
        "picture": _round(asdict(trial.picture)) if trial.picture else None,
        "saved": str(saved[0]) if saved else None,
        "event": {**event.attributes(), "data_bytes": len(event.data)} if event else None,
        "within_hours": trial.within_hours,
        "load": _round(_build_load(trial)),
        "function": {"accepts": not refusal, "reason": refusal} if event else None,
        "dropped": dict(trial.dropped),
        "failure": asdict(trial.failure) if trial.failure else None,
    }


def _round(values: dict[str, Any] | None) -> dict[str, Any] | None:
    rounded = (values or {}).items()
    return values and {name: round(value, 3) if isinstance(value, float) else value for name, value in rounded}


def _build_load(trial: SourceTrial) -> dict[str, Any] | None:
    if not trial.interval_s or trial.event is None:
        return None
    return {
        "interval_s": trial.interval_s,
        "images_per_hour": HOUR_S / trial.interval_s,
        "bytes_per_day": DAY_S / trial.interval_s * len(trial.event.data),
    }


def _describe_stream(trial: SourceTrial) -> Iterator[tuple[str, str]]:
    stream = trial.stream
    if stream is None:
        return
    parts = [stream.codec, f"{stream.width}x{stream.height}"]
    if stream.rate:
        parts.append(f"{stream.rate:.3g} frames/s")
    if stream.key_interval_s and stream.decoding != "none":
        parts.append(f"a key frame every {describe_duration(stream.key_interval_s)}")
    yield "stream", ", ".join([*parts, f"open after {describe_duration(trial.opened_s)}"])
    yield "decoding", DECODING[stream.decoding]


def _describe_image(trial: SourceTrial, event: Event) -> Iterator[tuple[str, str]]:
    yield "first image", f"after {describe_duration(trial.first_image_s or 0.0)}"
    picture, size = trial.picture, describe_bytes(len(event.data))
    if not event.data:
        yield "image", f"stays in its bucket: {event.extensions.get(DATAREF, '')}"
    elif picture is None:
        yield "image", f"{event.datacontenttype}, {size}; it can't be decoded"
    else:
        light = f"brightness {picture.brightness:.0f} and contrast {picture.contrast:.0f} of 255"
        yield "image", f"{event.datacontenttype}, {picture.width}x{picture.height}, {size}; {light}"


def _describe_rate(trial: SourceTrial) -> str:
    load = _build_load(trial)
    if load is None:
        return f"one event for each {'message with an image' if trial.kind == 'mqtt' else 'image'}"
    every = describe_duration(load["interval_s"])
    a_day = describe_bytes(load["bytes_per_day"])
    return f"at most one image every {every}: {load['images_per_hour']:,.0f} an hour, {a_day} a day"


def _print_picture(data: bytes) -> None:
    """Print a small picture of half blocks, on a terminal with 256 colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or "256" not in os.environ.get("TERM", ""):
        return
    from eaves.images.decoder import load

    image = load(data, at_least=(2 * PICTURE_ROWS, PICTURE_COLUMNS))
    image.thumbnail((PICTURE_COLUMNS, 2 * PICTURE_ROWS))
    pixels, width = image.tobytes(), image.width
    # Numbers of colours in the cube of 6x6x6 that xterm's palette has.
    levels = [level * 6 // 256 for level in pixels]
    colours = [16 + 36 * r + 6 * g + b for r, g, b in zip(levels[::3], levels[1::3], levels[2::3], strict=True)]
    for row in range(0, image.height - 1, 2):
        pairs = zip(colours[row * width : (row + 1) * width], colours[(row + 1) * width :], strict=False)
        click.echo("  " + "".join(f"\x1b[38;5;{upper};48;5;{lower}m▀" for upper, lower in pairs) + "\x1b[0m")
