"""`eaves sources try`: finds the source, tries it, writes its image, and shows what was found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves import media_type
from eaves.base.files import write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.cli.app import configure_guest, resolve_sources
from eaves.cli.output import describe_bytes, describe_duration, print_fields, print_sentence
from eaves.cli.project import Project, build_default_project, load_workspace, parse_source
from eaves.errors import ImageError, NotFoundError
from eaves.events import DATAREF, IMAGE_CAPTURED
from eaves.images.decoder import load
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.camera.kind import lacks_scheme
from eaves.sources.places import parse_place
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings
from knative.specs import CLUSTER_SOURCE_SETTINGS

if TYPE_CHECKING:
    from eaves.events import Event
    from eaves.sources.trial import SourceTrial

ORIGIN = "NAME|URL"
EXAMPLE = "eaves sources try rtsp://camera.example/stream1"
DECODING = {
    "none": "none: the camera's JPEG images are passed on as they are",
    "key": "key frames only, which costs least",
    "all": "all frames, because key frames come less often than every_s asks for",
}
HOUR_S, DAY_S = 3_600, 86_400


def find_tried_source(text: str, file: Path, *, credentials: Path | None) -> tuple[ConfiguredSource, Project]:
    """Return the source to try, and the project of its function: that in eaves.yaml, or defaults for an address.

    Args:
        text: Name of a source in eaves.yaml, address, path or mapping.
        file: Path of eaves.yaml, which need not exist for an address.
        credentials: Folder of the credentials, in place of the source's own; None to use these.
    """
    project, origin, values = build_default_project(), ORIGIN, None
    chosen = {"credentials": str(credentials.absolute())} if credentials else {}
    if NAME_PATTERN.fullmatch(text) and file.exists():
        workspace = load_workspace(file)
        if one := tuple(source for source in workspace.project.sources if source.name == text):
            # faults of other sources don't matter
            (spec,) = resolve_sources(replace(workspace, project=replace(workspace.project, sources=one)))
            project, origin, values = workspace.project, workspace.origin, {**spec.settings, **chosen}
    if values is None:
        is_place = "://" in text or "{" in text or text.endswith((".yaml", ".yml")) or parse_place(text) is not None
        if not is_place:
            raise _build_unknown(text, file)
        found = parse_source(text, chosen, origin=ORIGIN, hint=EXAMPLE)
        values = {name: value for name, value in found.items() if name not in CLUSTER_SOURCE_SETTINGS}
    return configure_guest(values, origin, command="try", site=project.site), project


def _build_unknown(text: str, file: Path) -> NotFoundError:
    if lacks_scheme(text):
        address = text.rpartition("@")[2]  # without a user and a password
        message = f"{address[:80]!r} has no protocol in front of it"
        return NotFoundError(message, hint=f"eaves sources try rtsp://{address[:80]}")
    names = ", ".join(source.name for source in load_workspace(file).project.sources) if file.exists() else ""
    have = f"{file.name} has the sources {names}" if names else f"{file.name} has no sources"
    return NotFoundError(f"there is no source, folder or video named {text[:80]!r}; {have}", hint=EXAMPLE)


def save_image(trial: SourceTrial, target: Path | None) -> Path | None:
    """Write the image of a trial to a file, and return its path; None when it writes none.

    Without a target the file is a new one in the current folder, and the image of a folder or archive isn't written.
    """
    event = trial.event
    if event is None or not event.data or (target is None and trial.kind in ("folder", "replay")):
        return None
    if target is None:
        suffix = media_type.suffix(event.datacontenttype) or ".jpg"
        names = (f"{trial.name}{f'-{number}' if number > 1 else ''}{suffix}" for number in itertools.count(1))
        target = next(Path(name) for name in names if not Path(name).exists())
    write_atomically(target, event.data, durability="none", mode=None)
    return target


def find_refusal(event: Event, settings: ServeSettings) -> str:
    """Return why a function with these settings would refuse an event; empty when it would take it."""
    if settings.accept_types and IMAGE_CAPTURED not in settings.accept_types:
        return f"function.accept_types doesn't contain {IMAGE_CAPTURED}"
    if not event.data:
        reference = event.extensions.get(DATAREF, "")
        return find_url_fault(reference, hosts=settings.dataref_hosts, schemes=settings.dataref_schemes)
    if len(event.data) > settings.max_body_bytes:
        return f"it has {len(event.data)} bytes, more than function.max_body_bytes ({settings.max_body_bytes})"
    try:
        load(event.data, at_least=(1, 1), max_pixels=settings.max_pixels)
    except ImageError as error:
        return error.message
    return ""


def print_trial(trial: SourceTrial, saved: Path | None, project: Project, refusal: str) -> None:
    """Print what a trial found, as text for people.

    Args:
        trial: What was found.
        saved: File that the image was written to; None when it wasn't written.
        project: Project whose function would get the image; without a name, defaults.
        refusal: Why that function would refuse it; empty when it would take it.
    """
    print_sentence(f"source {trial.name}, kind {trial.kind}: {trial.place}".removesuffix(": "))
    event = trial.event
    steps = [(step.name, f"{'' if step.passed else 'failed: '}{step.detail}") for step in trial.steps]
    fields = [*steps, *_describe_stream(trial.stream), *(_describe_image(trial, event) if event else ())]
    print_fields([*fields, ("saved", str(saved))] if saved else fields)
    if event is None:
        return
    if trial.picture is not None and trial.picture["remark"]:
        print_sentence(f"note: {trial.picture['remark']}")
    print_sentence("event that would be sent:" if trial.within_hours else "event, which would not be sent now:")
    size, limit = describe_bytes(len(event.data)), describe_bytes(project.function.max_body_bytes)
    whose = "the function" if project.name else "a function with the default limits"
    verdict = f"{whose} takes it: {size} of at most {limit}" if event.data else f"{whose} fetches it from its bucket"
    attributes = [(name, str(value)) for name, value in event.attributes().items() if name != "specversion"]
    function = f"{whose} refuses it: {refusal}" if refusal else verdict
    print_fields([*attributes, ("rate", _describe_rate(trial)), ("function", function)])
    if not trial.within_hours:
        print_sentence("note: images of this time of day are dropped by the option hours")


def build_value(trial: SourceTrial, saved: Path | None, refusal: str) -> dict[str, Any]:
    """Return what a trial found as plain data."""
    event, failure = trial.event, trial.failure
    return {
        **{one.name: getattr(trial, one.name) for one in fields(trial)},
        "steps": [asdict(step) for step in trial.steps],
        "dropped": dict(trial.dropped),
        "saved": str(saved) if saved else None,
        "event": {**event.attributes(), "data_bytes": len(event.data)} if event else None,
        "load": _build_load(trial),
        "function": {"accepts": not refusal, "reason": refusal} if event else None,
        "failure": {"step": failure.step, "message": str(failure), "hint": failure.error.hint} if failure else None,
    }


def _build_load(trial: SourceTrial) -> dict[str, float] | None:
    if not trial.interval_s or trial.event is None:
        return None
    return {
        "interval_s": trial.interval_s,
        "images_per_hour": round(HOUR_S / trial.interval_s, 3),
        "bytes_per_day": round(DAY_S / trial.interval_s * len(trial.event.data), 3),
    }


def _describe_rate(trial: SourceTrial) -> str:
    load_ = _build_load(trial)
    if load_ is None:
        return f"one event for each {'message with an image' if trial.kind == 'mqtt' else 'image'}"
    every, a_day = describe_duration(load_["interval_s"]), describe_bytes(load_["bytes_per_day"])
    return f"at most one image every {every}: {load_['images_per_hour']:,.0f} an hour, {a_day} a day"


def _describe_stream(stream: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "codec" not in stream:
        if stream:
            yield "input", ", ".join(f"{name} {value}" for name, value in stream.items() if value)
        return
    parts = [stream["codec"], f"{stream['width']}x{stream['height']}"]
    if stream["rate"]:
        parts.append(f"{stream['rate']:.3g} frames/s")
    if stream["key_interval_s"]:
        parts.append(f"a key frame every {stream['key_interval_s']:.1f} s")
    yield "stream", ", ".join([*parts, f"open after {stream['opened_s']:.1f} s"])
    yield "decoding", DECODING[stream["decoding"]]


def _describe_image(trial: SourceTrial, event: Event) -> Iterator[tuple[str, str]]:
    yield "first image", f"after {trial.first_image_s or 0.0:.1f} s"
    picture, size = trial.picture, describe_bytes(len(event.data))
    if not event.data:
        yield "image", f"stays in its bucket: {event.extensions.get(DATAREF, '')}"
    elif picture is None:
        yield "image", f"{event.datacontenttype}, {size}; it can't be decoded"
    else:
        light = f"brightness {picture['brightness']:.0f} and contrast {picture['contrast']:.0f} of 255"
        yield "image", f"{event.datacontenttype}, {picture['width']}x{picture['height']}, {size}; {light}"
