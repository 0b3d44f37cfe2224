"""The command `eaves inspect`, which shows the contents of a run, an artifact or a container image."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.artifact import Artifact, open_artifact
from eaves.cli.display.output import output_option, print_fields, print_line, print_rows, print_value
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.latest import find_latest
from eaves.cli.registry_options import access_options, build_access
from eaves.cli.signatures import is_container_image
from eaves.errors import ArtifactError, OciError

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access

COLUMNS: Columns = {
    "model": Column("MODEL", Kind.PATH),
    "accuracy": "ACCURACY",
    "interval": "95 % INTERVAL",
    "picking": Column("SAME LABEL, PICKING", drop=2),
    "agreement": "JUDGED",
    "drop": "DROP",
    "size": Column("SIZE", drop=1),
}
FIELDS: Columns = {"field": "FIELD", "value": "VALUE"}


@click.command()
@click.argument("what", metavar="PATH|IMAGE")
@access_options
@output_option
def command(what: str, plain_http: bool, registry_ca: Path | None, form: str) -> None:
    """Show the contents of the run or artifact in PATH, after checking every digest, or of a container image.

    PATH may be runs/latest or artifacts/latest. IMAGE is HOST/REPOSITORY[:TAG|@DIGEST] or oci:DIR[:NAME]; only its
    manifest and its config are read, and `eaves verify` checks its layers.
    """
    if is_container_image(what):
        _show_container_image(what, build_access(plain_http=plain_http, registry_ca=registry_ca), form)
        return
    path = find_latest(Path(what))
    if (path / "manifest.json").is_file():
        artifact = open_artifact(path, level="full")
        if form == "table":
            _print_artifact(artifact)
            return
        about = _artifact(artifact)
    elif (path / "run.json").is_file():
        about = _run(path)
    else:
        raise ArtifactError(
            f"{path} is neither a run nor an artifact: it holds no run.json and no manifest.json",
            hint="name a directory in runs/ or artifacts/",
        )
    if form == "table":
        rows = [{"field": key, "value": _short(value)} for key, value in about.items()]
        print_rows(rows, FIELDS, form)
    else:
        print_value(about, form)


def _show_container_image(text: str, access: Access, form: str) -> None:
    """Print the description of a container image for each of its platforms.

    Raises:
        OciError: When the container image doesn't exist, can't be read, or isn't a function's.
    """
    from eaves.cli.display.container_image_view import describe_image, summarise_image
    from eaves.oci.image_location import open_location
    from eaves.oci.layers.image import load_images
    from eaves.oci.package import ARTIFACT_LABEL

    place = open_location(text, access)
    descriptor = place.resolve()
    images = list(load_images(place.store, descriptor))
    if not all(ARTIFACT_LABEL in image.labels for image in images):
        raise OciError(f"{text} is not the container image of a function", hint="make one with `eaves package`")
    if form != "table":
        about = {"kind": "container image", "digest": descriptor.digest}
        print_value({**about, "platforms": [summarise_image(image) for image in images]}, form)
        return
    print_fields([("digest", descriptor.digest)])
    for image in images:
        print_line("")
        print_fields(list(describe_image(image)))


def _print_artifact(artifact: Artifact) -> None:
    from eaves.cli.display.artifact_view import describe_artifact, table

    for heading, lines in describe_artifact(artifact):
        if heading:
            print_line(f"\n{heading}")
        print_fields(lines)
        if heading == "precision" and table(artifact.manifest):
            print_rows(table(artifact.manifest), COLUMNS, "table")


def _artifact(artifact: Artifact) -> dict[str, Any]:
    about = {"kind": "artifact", "digest": f"sha256:{artifact.digest}", "size_bytes": artifact.size_bytes}
    return _plain({**about, **asdict(artifact.manifest)})


def _run(path: Path) -> dict[str, Any]:
    from trainer.run.run import open_run

    return _plain({"kind": "run", **asdict(open_run(path))})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of nested values that JSON and YAML can hold."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_line(item)}" for key, item in value.items())
    return _line(value)


def _line(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
