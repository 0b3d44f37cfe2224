"""The commands `eaves inspect` and `verify`: the contents of runs and artifacts, and the proof of container images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.artifact import open_artifact
from eaves.artifact.store import HANDLER
from eaves.cli.container_image import access_options, is_container_image
from eaves.cli.output import (
    Column,
    Columns,
    Kind,
    output_option,
    print_rows,
    print_value,
    progress,
    replay_with_progress,
    say,
)
from eaves.cli.project import ANY_PATH, find_latest
from eaves.errors import ArtifactError, OciError

if TYPE_CHECKING:
    from eaves.artifact import GoldenResult
    from eaves.oci.registry.transport import Access


MANY = 12
"""Maximum number of labels that are listed for people."""
LEFT_OUT = frozenset({"files", "licences", "schema_version"})
"""Members of a manifest that are long, or of no interest to people; JSON has them."""


@click.command()
@click.argument("what", metavar="PATH", type=ANY_PATH)
@output_option
def inspect(what: Path, form: str) -> None:
    """Show the contents of the run or artifact in PATH, after checking every digest.

    PATH may be runs/latest or artifacts/latest.
    """
    path = find_latest(what)
    if (path / "manifest.json").is_file():
        artifact = open_artifact(path, level="full")
        manifest, labels = asdict(artifact.manifest), list(artifact.manifest.labels)
        size = {"digest": f"sha256:{artifact.digest}", "size_bytes": artifact.size_bytes}
        about = {"kind": "artifact", **size, "handler": HANDLER in artifact.manifest.files, **manifest}
        if form == "table":
            about = {name: value for name, value in about.items() if name not in LEFT_OUT}
            about["labels"] = labels if len(labels) <= MANY else [*labels[:MANY], f"{len(labels) - MANY} more"]
            about["quantisation"].pop("trials")
    elif (path / "run.json").is_file():
        from trainer.run.run import open_run

        about = {"kind": "run", **asdict(open_run(path))}
    else:
        raise ArtifactError(
            f"{path} is neither a run nor an artifact: it holds no run.json and no manifest.json",
            hint="name a directory in runs/ or artifacts/",
        )
    print_value(json.loads(json.dumps(about, default=str)), "yaml" if form == "table" else form)


CASES: Columns = {
    "case": Column("CASE", Kind.PATH),
    "label": "LABEL",
    "logits": "LOGITS",
    "probabilities": "PROBABILITIES",
    "ok": "OK",
}


@click.command()
@click.argument("what", metavar="ARTIFACT|IMAGE")
@click.option(
    "--run-handler",
    is_flag=True,
    help="Verify through the artifact's handler.py in a child process, which runs code of the artifact's author.",
)
@click.option(
    "--key",
    type=ANY_PATH,
    help="Public key file; the container image must have a signature that it verifies.",
)
@click.option(
    "--signed-as",
    metavar="REPOSITORY",
    help="Repository name in the signature, for an image that is read from a mirror.",
)
@access_options
@output_option
def verify(
    what: str, run_handler: bool, key: Path | None, signed_as: str | None, access: Callable[[], Access], form: str
) -> None:
    """Verify that ARTIFACT gives the outputs that its author measured, or that IMAGE is signed.

    For an artifact, every digest is recomputed and every golden image is replayed through the same session that serves
    requests.

    For a container image (HOST/REPOSITORY[:TAG|@DIGEST], or oci:DIR[:NAME], which has no signatures), the signature is
    checked, then the digests of every platform's manifest, config and layers. None of its code is run.
    """
    if key is None and not is_container_image(what):
        _verify_artifact(find_latest(Path(what)), run_handler=run_handler, form=form)
        return
    if run_handler or Path(what).exists():
        raise click.UsageError("--run-handler is for an artifact, and --key is for a container image at a registry.")
    _verify_container_image(what, key, signed_as, access(), form)


def _verify_artifact(path: Path, *, run_handler: bool, form: str) -> None:
    artifact = open_artifact(path, level="full")
    has_handler = HANDLER in artifact.manifest.files
    results = replay_with_progress(artifact, run_handler=run_handler and has_handler)
    handler = ("run" if run_handler else "not run") if has_handler else "none"
    rows = [_row(result) for result in results]
    if form == "table":
        shown = [{key: f"{one:.1e}" if isinstance(one, float) else one for key, one in row.items()} for row in rows]
        print_rows([{**row, "ok": "yes" if row["ok"] else "no"} for row in shown], CASES, form)
    else:
        verdict = {
            "artifact": str(artifact.path),
            "digest": f"sha256:{artifact.digest}",
            "files": len(artifact.manifest.files),
            "precision": artifact.manifest.precision,
            "handler": handler,
            "ok": all(result.ok for result in results),
            "cases": rows,
        }
        print_value(verdict, form)
    if handler == "not run":
        say("handler.py was not run (to run it: eaves verify --run-handler)")
    for result in results:
        result.require()
    say(f"verified: {len(artifact.manifest.files)} digests are right, {len(results)} golden images are reproduced")


def _row(result: GoldenResult) -> dict[str, Any]:
    """Return a result as plain data for JSON; an infinite difference, of outputs that can't be compared, is null."""
    values = asdict(result)
    values = {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in values.items()}
    return {"case": values.pop("file"), **values, "ok": result.ok}


def _verify_container_image(text: str, key: Path | None, signed_as: str | None, access: Access, form: str) -> None:
    """Check a container image's signature, then the digest of every part; print what was checked.

    Raises:
        EavesError: When the signature or a digest is wrong, or when the container image can't be read.
    """
    from eaves.oci.copy import check_content, open_location
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.layers.image import load_images
    from eaves.oci.registry.registry import Registry
    from eaves.oci.signatures import find_signature, load_public_key

    public = load_public_key(key) if key else None
    place = open_location(text, access)
    if place.reference is None and public is not None:
        raise OciError(
            f"{text} is a layout on disk, which has no signatures",
            hint="verify it without --key, or verify the container image at a registry with --key",
        )
    if place.reference is not None and public is None:
        raise OciError(
            f"{place.reference} is at a registry, so verifying its origin needs a public key",
            hint="eaves verify IMAGE --key PUBLIC_KEY",
        )
    descriptor = place.resolve()  # once: a tag may move, its digest may not
    signed = None
    if public is not None and place.reference is not None and isinstance(place.store, Registry):
        repository = parse_reference(signed_as) if signed_as else place.reference
        signed = find_signature(place.store, descriptor, public, repository)
    images = list(load_images(place.store, descriptor))
    if not images:
        raise OciError(f"{descriptor.digest} is not the index of a container image")
    layers = list({layer.digest: layer for image in images for layer in image.layers}.values())
    size = sum(layer.size for layer in layers)
    with progress("reading layers", size) as bar:
        for layer in layers:
            check_content(place.store, layer, bar.update)
    name = str(place.reference.pinned(descriptor.digest)) if place.reference else f"{text}@{descriptor.digest}"
    platforms = [str(image.platform) for image in images]
    if form == "table":
        click.echo(name)
    else:
        verdict = {
            "name": name,
            "digest": descriptor.digest,
            "key": public.id if public else None,
            "signed_as": signed.repository if signed else None,
            "platforms": platforms,
            "layers": len(layers),
            "layer_bytes": size,
        }
        print_value(verdict, form)
    by = f"signed by {public.id}" if public else "no signature was checked, only the digests of its content"
    say(f"verified: {', '.join(platforms)}; {len(layers)} layers, {size} bytes; {by}")
