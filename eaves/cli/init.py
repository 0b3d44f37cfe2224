"""`eaves init`."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.arguments import FILE
from eaves.cli.output import say
from eaves.cli.project import write_project
from eaves.disk import disk_errors
from eaves.errors import ConfigError, Fault
from eaves.names import NAME_PATTERN


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--name", help="Of the model and the function; the directory's name when not given.")
@click.option("--data", default="photos", show_default=True, help="Folder with one subfolder of images per class.")
@click.option("--force", is_flag=True, help="Replace an eaves.yaml that is there.")
def command(directory: Path, name: str | None, data: str, force: bool) -> None:
    """Write a commented eaves.yaml into DIRECTORY (here when not given)."""
    file = directory / FILE
    chosen = name or _name_of(directory)
    if not NAME_PATTERN.fullmatch(chosen):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {chosen!r})"
        raise ConfigError([Fault(origin="--name", path="name", message=message)], hint="eaves init --name flowers")
    if file.exists() and not force:
        raise ConfigError(
            [Fault(origin=str(file), path="", message="exists already")], hint="eaves init --force replaces it"
        )
    with disk_errors(file):
        directory.mkdir(parents=True, exist_ok=True)
        half = file.with_name(f".{file.name}.unfinished")
        try:
            half.write_text(write_project(name=chosen, data=data), encoding="utf-8")
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)
    click.echo(file)
    say(f"next: put labelled images into {data}/CLASS/, then `eaves train`")


def _name_of(directory: Path) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in directory.absolute().name.lower())
    return kept.strip("-")[:40].rstrip("-") or "images"
