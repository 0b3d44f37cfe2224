"""The command `eaves sources`: finds a source, tries it, writes its image, and shows what was found."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves import media_type
from eaves.base.files import write_atomically
from eaves.cli import CommandGroup
from eaves.cli.app import configure_guest, resolve_sources
from eaves.cli.output import (
    output_option,
    print_fields,
    print_sentence,
    print_value,
    say,
)
from eaves.cli.project import DIRECTORY, FILE_PATH, Workspace, load_workspace, parse_source
from eaves.cli.site import file_option
from eaves.config import SettingsLayer, build
from eaves.console.words import describe_size
from eaves.errors import ConfigError, NotFoundError
from eaves.http_client.proxies import parse_proxies
from eaves.platform import SourceSpec
from eaves.reachability import lacks_scheme
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.kind import parse_place
from eaves.sources.trial import try_source

if TYPE_CHECKING:
    from eaves.events import Event
    from eaves.sources.trial import SourceTrial


@click.group(cls=CommandGroup)
def command() -> None:
    """Try a source: connect to it, take one image, and show what would be sent."""


@command.command("try")
@click.argument("source", metavar="NAME|URL")
@click.option(
    "--credentials",
    type=DIRECTORY,
    help="Credentials of the source: folder with the files username and password, or tls.crt and tls.key, and ca.crt.",
)
@click.option(
    "--save",
    type=FILE_PATH,
    help="File for the image, which is replaced if it exists. Default: a new file NAME.jpg in the current folder; an "
    "image that is in a folder or archive already isn't copied.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 600),
    metavar="SECONDS",
    default=20.0,
    show_default=True,
    help="Time limit of the whole trial.",
)
@output_option
@file_option
def try_(source: str, credentials: Path | None, save: Path | None, timeout: float, form: str, file: Path) -> None:
    """Connect to a source, take one image, and show what would be sent. Nothing is sent.

    NAME is a source in eaves.yaml. A URL needs no eaves.yaml: rtsp, rtmp, http, mqtt://BROKER/TOPIC, s3, or the path of
    a folder, an archive, a video or its device. A mapping as under `sources:` works too.

    When there is no image, the command shows which step failed and what to do. It exits with status 69 when the source
    can't be reached or sends no image, 77 when it refuses the login, and 66 when there is no such stream.
    """
    configured, site = find_tried_source(source, file, credentials=credentials)
    report = say if sys.stderr.isatty() else lambda _: None
    trial = try_source(configured, site=site, proxies=parse_proxies(os.environ), timeout_s=timeout, report=report)
    saved = save_image(trial, configured.settings, save)
    if form == "table":
        print_trial(trial, saved)
    else:
        print_value(build_value(trial, saved), form)
    if trial.failure is not None:
        raise trial.failure.error


ORIGIN = "NAME|URL"
EXAMPLE = "eaves sources try rtsp://camera.example/stream1"
DEFAULT_SITE = "home"
DECODING = {
    "none": "none: the camera's JPEG images are passed on as they are",
    "key": "key frames only, which costs least",
    "all": "all frames, as long as key frames come less often than every_s asks for",
}


def find_tried_source(text: str, file: Path, *, credentials: Path | None) -> tuple[ConfiguredSource, str]:
    """Return the source to try, of eaves.yaml or by its address, path or mapping, and the name of its site.

    Args:
        text: Name, address, path or mapping.
        file: Path of eaves.yaml, which need not exist for an address.
        credentials: Folder of the credentials, in place of the source's own; None to use these.
    """
    is_place = "://" in text or "{" in text or text.endswith((".yaml", ".yml")) or parse_place(text) is not None
    workspace = _load(file, needed=not is_place)
    sources = workspace.project.sources if workspace else ()
    chosen = {"credentials": str(credentials.absolute())} if credentials else {}
    if workspace is not None and (one := tuple(source for source in sources if source.name == text)):
        # faults of other sources don't matter
        (spec,) = resolve_sources(replace(workspace, project=replace(workspace.project, sources=one)))
        return _build({**spec.settings, **chosen}, workspace, origin=workspace.origin)
    if is_place:
        values = parse_source(text, chosen, origin=ORIGIN, hint=EXAMPLE)
        spec = build(SourceSpec, SettingsLayer(origin=ORIGIN, values=values))
        return _build(spec.settings, workspace, origin=ORIGIN)
    if lacks_scheme(text):
        address = text.rpartition("@")[2]  # without a user and a password
        message = f"{address[:80]!r} has no protocol in front of it"
        scheme = "http" if Path(address).suffix.lower() in {".jpg", ".jpeg", ".png"} else "rtsp"
        raise NotFoundError(message, hint=f"eaves sources try {scheme}://{address[:80]}")
    names = ", ".join(source.name for source in sources)
    without = f"{file.name} has no sources" if workspace else f"there is no {file.name} here"
    have = f"{file.name} has the sources {names}" if names else without
    raise NotFoundError(f"there is no source, folder or video named {text[:80]!r}; {have}", hint=EXAMPLE)


def _load(file: Path, *, needed: bool) -> Workspace | None:
    """Load eaves.yaml; None when it is missing, and when it has faults and isn't needed."""
    if not file.exists():
        return None
    try:
        return load_workspace(file)
    except ConfigError as error:
        if needed:
            raise
        say(f"warning: {file} is not used, because it has faults: {error.faults[0]}")
        return None


def _build(values: Mapping[str, Any], workspace: Workspace | None, *, origin: str) -> tuple[ConfiguredSource, str]:
    site = workspace.project.site if workspace else DEFAULT_SITE
    return configure_guest(values, origin, command="try", site=site), site


def save_image(trial: SourceTrial, settings: Any, target: Path | None) -> Path | None:
    """Write the image of a trial to a file, and return its path; None when it writes none.

    Without a target the file is a new one in the current folder, and the image of a folder or archive isn't written.
    """
    event = trial.event
    if event is None or (target is None and trial.kind in ("folder", "replay")):
        return None
    if target is None:
        suffix = media_type.suffix(event.datacontenttype) or ".jpg"
        names = (f"{trial.name}{f'-{number}' if number > 1 else ''}{suffix}" for number in itertools.count(1))
        target = next(Path(name) for name in names if not Path(name).exists())
    if trial.kind == "folder" and target.absolute().is_relative_to(Path(settings.path).absolute()):
        message = f"must not be in the folder that the source watches (got {target})"
        raise ConfigError.single("--save", "", message)
    write_atomically(target, event.data, durability="none", mode=None)
    return target


def print_trial(trial: SourceTrial, saved: Path | None) -> None:
    """Print what a trial found, as text for people.

    Args:
        trial: What was found.
        saved: File that the image was written to; None when it wasn't written.
    """
    print_sentence(f"source {trial.name}, kind {trial.kind}: {trial.place}".removesuffix(": "))
    event = trial.event
    steps = [(step.name, f"{'' if step.passed else 'failed: '}{step.detail}") for step in trial.steps]
    fields = [*steps, *_describe_stream(trial.stream), *(_describe_image(trial, event) if event else ())]
    if saved is not None:
        fields.append(("saved", str(saved)))
    print_fields(fields)
    if event is None:
        return
    if trial.picture is not None and trial.picture["remark"]:
        print_sentence(f"note: {trial.picture['remark']}")
    print_sentence("event that would be sent:")
    print_fields([(name, str(value)) for name, value in event.attributes().items() if name != "specversion"])


def build_value(trial: SourceTrial, saved: Path | None) -> dict[str, Any]:
    """Return what a trial found as plain data."""
    event, failure = trial.event, trial.failure
    return {
        "name": trial.name,
        "kind": trial.kind,
        "place": trial.place,
        "steps": [asdict(step) for step in trial.steps],
        "stream": dict(trial.stream) or None,
        "first_image_s": trial.first_image_s and round(trial.first_image_s, 3),
        "picture": trial.picture,
        "saved": str(saved) if saved else None,
        "event": {**event.attributes(), "data_bytes": len(event.data)} if event else None,
        "dropped": dict(trial.dropped),
        "failure": {"step": failure.step, "message": str(failure), "hint": failure.error.hint} if failure else None,
    }


def _describe_stream(stream: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "codec" not in stream:
        if stream:
            yield "input", ", ".join(f"{name} {value}" for name, value in stream.items() if value)
        return
    parts = [stream["codec"], f"{stream['width']}x{stream['height']}"]
    if stream["rate"]:
        parts.append(f"{stream['rate']:.3g} frames/s")
    yield "stream", ", ".join(parts)
    yield "decoding", DECODING[stream["decoding"]]


def _describe_image(trial: SourceTrial, event: Event) -> Iterator[tuple[str, str]]:
    yield "first image", f"after {trial.first_image_s or 0.0:.1f} s"
    picture, size = trial.picture, describe_size(len(event.data))
    if picture is None:
        yield "image", f"{event.datacontenttype}, {size}; it can't be decoded"
    else:
        light = f"brightness {picture['brightness']:.0f} and contrast {picture['contrast']:.0f} of 255"
        yield "image", f"{event.datacontenttype}, {picture['width']}x{picture['height']}, {size}; {light}"
