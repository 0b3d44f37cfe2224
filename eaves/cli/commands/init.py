"""The command `eaves init`, which writes eaves.yaml and can collect images from a source."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from eaves.base.files import write_atomically
from eaves.base.names import NAME_PATTERN, build_name
from eaves.cli.collection import collect_into
from eaves.cli.output import say
from eaves.cli.project import ARTIFACT, ARTIFACTS, DIRECTORY, Workspace, load_workspace, newest
from eaves.cli.site import FILE
from eaves.errors import ConfigError
from eaves.redact import has_secrets, redact

_HEAD = """\
# Settings of a model, its function, and the sources that send images to it.
# docs/reference.md of Eaves explains all of them.
name: {name}
site: home            # name of this place, a part of every event's source

data:
  path: {data}
train:
  arch: efficientnet_lite0  # or inception_v3, which downloads its weights
"""
_SOURCES_EXAMPLE = """\
# Sources turn images into events: files of a folder, a camera's stream, ...
# `eaves sources try rtsp://192.168.1.20/stream1` shows what a camera sends.
#sources:
#  - {name: inbox, kind: folder, path: inbox}
#  - {name: gate, kind: camera, url: "rtsp://192.168.1.20/stream1"}
"""
_TRIGGERS_EXAMPLE = """\
# Triggers send events to a URL, or over MQTT, for example to Home Assistant.
#triggers:
#  - name: alarm
#    filter: {type: dev.eaves.image.classified.v1, confidence: high}
#    url: http://127.0.0.1:9000/
#  - name: hub
#    filter: {type: dev.eaves.image.classified.v1}
#    url: mqtt://127.0.0.1/plant/{partitionkey}/{label}
#    mqtt: {format: json, home_assistant: true}
"""
_EXAMPLE = "eaves init --from-source http://camera.example/snapshot.jpg --crop 0.2,0.1,0.6,0.8"

UNSORTED = "-unsorted"
"""Ending of the folder of collected images: images for `data` are collected into `data-unsorted` beside it."""


@click.command()
@click.argument("directory", type=DIRECTORY, default=Path())
@click.option("--name", help="Name of the model and the function. Default: the directory's name.")
@click.option("--data", default="photos", show_default=True, help="Folder with one subfolder of images per class.")
@click.option("--force", is_flag=True, help="Replace an existing eaves.yaml.")
@click.option(
    "--from-source",
    "source",
    metavar="SOURCE",
    help="Collect training images from a source, and write the source into eaves.yaml: a URL, a folder, a video or its "
    "device, a .yaml file with a mapping as under `sources:`, or that mapping itself, with any option of a source. The "
    "images that the function gets later have the same options.",
)
@click.option("--images", type=click.IntRange(1), default=200, show_default=True, help="Number of images to collect.")
@click.option("--every", type=float, metavar="SECONDS", help="Time between two images from a URL.")
@click.option(
    "--crop", metavar="REGION", help="Part of each image: left,top,width,height in pixels, or in shares of 0 to 1."
)
@click.option(
    "--credentials",
    type=DIRECTORY,
    help="Credentials of the source: folder with the files username and password, or tls.crt and tls.key, and ca.crt.",
)
def command(
    directory: Path, name: str | None, data: str, *, force: bool, source: str | None, images: int, **options: Any
) -> None:
    """Write a short eaves.yaml into DIRECTORY, the current folder when none is given.

    docs/reference.md explains the settings that it leaves at their defaults.

    With --from-source, images are also collected, into the folder DATA-unsorted beside DATA. Training reads them only
    after they are sorted into DATA. Ctrl-C stops the collection, and the same command continues it.
    """
    file = directory / FILE
    chosen = name or build_name(directory.absolute().name, "images")
    if not NAME_PATTERN.fullmatch(chosen):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {chosen!r})"
        raise ConfigError.single("--name", "name", message, hint="eaves init --name flowers")
    if source is not None:
        _init_from_source(file, chosen, data, source, images, options, force=force)
        if directory.absolute() != Path.cwd():
            say(f"these paths are relative to the project: cd {shlex.quote(str(directory))}")
        return
    if given := [name for name, value in options.items() if value is not None]:
        flag = f"--{given[0].replace('_', '-')}"
        raise ConfigError.single(flag, "", "has no effect without --from-source")
    _refuse_to_replace(file, force=force)
    _write(file, write_project(name=chosen, data=data))
    say(_advise(directory, data))


def _advise(directory: Path, data: str) -> str:
    """Return advice on the next step: to deploy an artifact, to convert an existing model, or to train one."""
    go = "" if directory.absolute() == Path.cwd() else f"`cd {shlex.quote(str(directory))}` and "
    train = f"{go}`eaves train`"
    if newest(directory / ARTIFACTS, ARTIFACT):
        return f"next: {go}`eaves deploy`"
    place = directory / data
    if "://" in data or place.is_file() or any(place.glob("*/*")):
        return f"next: {train}"
    models = [*directory.glob("*.onnx"), *directory.glob("*.keras")]
    models += [path.parent for path in directory.glob("*/saved_model.pb")]
    if model := min(models, default=None):
        return f"next: describe {model.name} in a model.yaml, then {go}`eaves convert {shlex.quote(model.name)}`"
    label = f"{go}`eaves up`, whose page Labels takes photos without labels"
    return f"next: put labelled images into {place}/CLASS/, then {train}; or {label}"


def _init_from_source(
    file: Path, name: str, data: str, source: str, wanted: int, options: dict[str, Any], *, force: bool
) -> None:
    from eaves.cli.project import parse_source
    from eaves.config.yaml_text import load_yaml

    options["every_s"] = options.pop("every")
    if options["credentials"] is not None:
        options["credentials"] = str(options["credentials"].absolute())
    if "://" in data:
        raise ConfigError.single("--data", "", f"must be a folder here (got {redact(data)!r})")
    values = parse_source(source, options, origin="--from-source", hint=_EXAMPLE)
    written = load_yaml(yaml.safe_dump(values))  # in eaves.yaml every number is a text
    if force or not file.exists() or written not in (load_workspace(file).values.get("sources") or []):
        _refuse_to_replace(file, force=force)
        is_private = any(has_secrets(str(value)) for value in values.values())
        _write(file, write_project(name=name, data=data, sources=(values,)), private=is_private)
    workspace = load_workspace(file, needs_data=True)
    unsorted = os.path.relpath(collect_images(workspace, values["name"], wanted), workspace.root)
    say(f"next: move the images in {unsorted} into one folder for each class, {workspace.project.data.path}/CLASS/,")
    say(f"then run `eaves train`, which ignores the images that stay in {unsorted}")


def _refuse_to_replace(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise ConfigError.single(str(file), "", "already exists", hint="eaves init --force replaces it")


def _write(file: Path, text: str, *, private: bool = False) -> None:
    """Write a file atomically, with the permissions of the umask; only the owner can read a private file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text, durability="none", mode=0o600 if private else None, sole_writer=True)
    click.echo(file)


def write_project(*, name: str, data: str, sources: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the text of a new eaves.yaml: the settings that most projects change, and examples in comments.

    Args:
        name: Name of the model and the function.
        data: Path or URI of the labelled images.
        sources: Settings of the sources that turn images into events; when empty, the text has an example in a comment.
    """
    head = _HEAD.format(name=_inline(name), data=_inline(data))
    shown = _SOURCES_EXAMPLE
    if sources:
        text = yaml.safe_dump([dict(source) for source in sources], sort_keys=False, allow_unicode=True, width=10_000)
        shown = "# Sources turn images into events.\nsources:\n" + textwrap.indent(text, "  ")
    return f"{head}\n{shown}\n{_TRIGGERS_EXAMPLE}"


def _inline(value: str) -> str:
    """Return a text as a YAML scalar on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).splitlines()[0]


def collect_images(workspace: Workspace, name: str, wanted: int) -> Path:
    """Collect images from a source of eaves.yaml into a folder beside the labelled images, which training doesn't read.

    Args:
        workspace: The project.
        name: Name of the source.
        wanted: Number of images that the folder holds at the end.

    Returns:
        Path of the folder with the collected images.

    Raises:
        CancelledError: When the user stopped the collection before all images were collected.
        ConfigError: When the source has faults.
    """
    from eaves.cli.app import configure_guest, resolve_sources
    from eaves.sources.collecting import CollectedImages

    site = workspace.project.site
    spec = next(source for source in resolve_sources(workspace) if source.name == name)
    configured = configure_guest(spec.settings, workspace.origin, command="init", site=site)
    labelled = workspace.path(Path(workspace.project.data.path)).absolute()
    labelled = Path(os.path.normpath(labelled))  # else `.` has no name and `..` a wrong one
    unsorted = labelled.parent / f"{labelled.name}{UNSORTED}"
    collect_into(CollectedImages(unsorted, labelled), configured, site, wanted)
    return unsorted
