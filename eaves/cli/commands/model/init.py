"""The command `eaves init`, which writes a new eaves.yaml and can collect images from a source."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from eaves.base.files import write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.cli.app.new_project import write_project
from eaves.cli.app.project import ARTIFACTS, load_workspace
from eaves.cli.display.output import say
from eaves.cli.latest import ARTIFACT, newest
from eaves.cli.shared_options import FILE
from eaves.credentials.redact import redact
from eaves.errors import ConfigError, DatasetError, Fault

_EXAMPLE = "eaves init --from-source http://camera.example/snapshot.jpg --crop 0.2,0.1,0.6,0.8"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--name", help="Name of the model and the function. Default: the directory's name.")
@click.option("--data", default="photos", show_default=True, help="Folder with one subfolder of images per class.")
@click.option("--force", is_flag=True, help="Replace an existing eaves.yaml.")
@click.option(
    "--from-source",
    "source",
    metavar="SOURCE",
    help="Collect training images from a source, and write the source into eaves.yaml: a URL, a folder, a video or its "
    "device, a .yaml file with a mapping as under `sources:`, or that mapping itself. The images that the function "
    "gets later have the same options.",
)
@click.option("--images", type=click.IntRange(1), default=200, show_default=True, help="Number of images to collect.")
@click.option("--every", type=float, metavar="SECONDS", help="Time between two images from a URL.")
@click.option(
    "--crop", metavar="REGION", help="Part of each image: left,top,width,height in pixels, or in shares of 0 to 1."
)
@click.option("--rate", metavar="RATE", help="Maximum average number of images in a time, such as 1/10s.")
@click.option(
    "--unchanged",
    type=float,
    metavar="NUMBER",
    help="Leave out images that differ less than this from the last one, in grey levels of 255; try 1.",
)
@click.option(
    "--max-side", type=int, metavar="PIXELS", help="Longest side of an image, pixels; larger images are scaled down."
)
@click.option("--jpeg-quality", type=int, help="Encode every image again as JPEG of this quality, 1 to 95.")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, file_okay=False),
    help="Credentials of the source: folder with the files username and password, or tls.crt and tls.key, and ca.crt.",
)
def command(
    directory: Path, name: str | None, data: str, *, force: bool, source: str | None, images: int, **options: Any
) -> None:
    """Write a short eaves.yaml into DIRECTORY, the current folder when none is given.

    `eaves settings` explains the settings that it leaves at their defaults.

    With --from-source, images are also collected, into the folder DATA-unsorted beside DATA. Training reads them only
    after they are sorted into DATA. Ctrl-C stops the collection, and the same command continues it.
    """
    file = directory / FILE
    chosen = name or _name_of(directory)
    if not NAME_PATTERN.fullmatch(chosen):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {chosen!r})"
        raise ConfigError([Fault(origin="--name", path="name", message=message)], hint="eaves init --name flowers")
    if source is not None:
        _init_from_source(file, chosen, data, source, images, options, force=force)
        if directory.absolute() != Path.cwd():
            say(f"these paths are relative to the project: cd {shlex.quote(str(directory))}")
        return
    if given := [name for name, value in options.items() if value is not None]:
        flag = f"--{given[0].replace('_', '-')}"
        raise ConfigError([Fault(origin=flag, path="", message="has no effect without --from-source")])
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
    if "://" in data or place.is_file():
        return f"next: {train}"
    if found := _count_labelled(place):
        return f"{found} found; next: {train}"
    if model := _find_model(directory):
        return f"next: describe {model.name} in a model.yaml, then {go}`eaves convert {shlex.quote(model.name)}`"
    return f"next: put labelled images into {place}/CLASS/, then {train}"


def _find_model(directory: Path) -> Path | None:
    """Return the path of an ONNX, Keras or SavedModel model in a directory; None when it has none."""
    files = [*directory.glob("*.onnx"), *directory.glob("*.keras")]
    folders = [path.parent for path in directory.glob("*/saved_model.pb")]
    return min([*files, *folders], default=None)


def _count_labelled(place: Path) -> str:
    """Return the numbers of classes and images in a folder, `3 classes, 150 images`; empty when there are none."""
    from trainer.data.listing import load_folder

    try:
        listing = load_folder(place)
    except DatasetError:
        return ""
    classes, images = len(listing.labels), len(listing.entries)
    if not images:
        return ""
    return f"{classes} class{'es' if classes != 1 else ''}, {images} image{'s' if images != 1 else ''}"


def _init_from_source(
    file: Path, name: str, data: str, source: str, wanted: int, options: dict[str, Any], *, force: bool
) -> None:
    from eaves.cli.app.source_argument import parse_source
    from eaves.cli.image_collection import collect_images, holds_secrets, is_same_source

    options["every_s"] = options.pop("every")
    if options["credentials"] is not None:
        options["credentials"] = str(options["credentials"].absolute())
    if "://" in data:
        raise ConfigError([Fault(origin="--data", path="", message=f"must be a folder here (got {redact(data)!r})")])
    values = parse_source(source, options, origin="--from-source", hint=_EXAMPLE)
    if force or not (file.exists() and is_same_source(load_workspace(file), values)):
        _refuse_to_replace(file, force=force)
        _write(file, write_project(name=name, data=data, sources=(values,)), private=holds_secrets(values))
    workspace = load_workspace(file, needs_data=True)
    unsorted = os.path.relpath(collect_images(workspace, values["name"], wanted), workspace.root)
    say(f"next: move the images in {unsorted} into one folder for each class, {workspace.project.data.path}/CLASS/,")
    say(f"then run `eaves train`, which ignores the images that stay in {unsorted}")


def _refuse_to_replace(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise ConfigError(
            [Fault(origin=str(file), path="", message="already exists")], hint="eaves init --force replaces it"
        )


def _write(file: Path, text: str, *, private: bool = False) -> None:
    """Write a file atomically, with the permissions of the umask; only the owner can read a private file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text, durability="none", mode=0o600 if private else None, sole_writer=True)
    click.echo(file)


def _name_of(directory: Path) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in directory.absolute().name.lower())
    return kept.strip("-")[:40].rstrip("-") or "images"
