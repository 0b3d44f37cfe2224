"""The command `eaves verify`, which checks an artifact's outputs or a container image's signature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.display.output import output_option, print_rows, print_value, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.golden_replay import replay_with_progress
from eaves.cli.latest import find_latest
from eaves.cli.registry_options import access_options, build_access
from eaves.cli.signatures import is_container_image, verify_container_image

if TYPE_CHECKING:
    from eaves.artifact import Artifact, GoldenCase, GoldenResult

COLUMNS: Columns = {
    "case": Column("CASE", Kind.PATH),
    "label": "LABEL",
    "logits": "LOGITS",
    "allowed_logits": Column("ALLOWED", drop=2),
    "probabilities": "PROBABILITIES",
    "allowed_probabilities": Column("ALLOWED", drop=3),
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
    type=click.Path(path_type=Path),
    help="Public key file; the container image must have a signature that it verifies.",
)
@click.option(
    "--signed-as",
    metavar="REPOSITORY",
    help="Repository name in the signature, for an image that is read from a mirror.",
)
@access_options
@output_option
def command(
    what: str, run_handler: bool, key: Path | None, signed_as: str | None,
    plain_http: bool, registry_ca: Path | None, form: str,
) -> None:  # fmt: skip
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
    verify_container_image(
        what,
        key=key,
        signed_as=signed_as,
        access=build_access(plain_http=plain_http, registry_ca=registry_ca),
        form=form,
    )


def _verify_artifact(path: Path, *, run_handler: bool, form: str) -> None:
    from eaves.artifact import load_golden, open_artifact
    from eaves.artifact.store import HANDLER

    artifact = open_artifact(path, level="full")
    has_handler = HANDLER in artifact.manifest.files
    results = replay_with_progress(artifact, run_handler=run_handler and has_handler)
    handler = ("run" if run_handler else "not run") if has_handler else "none"
    _print(artifact, results, handler, form)
    if handler == "not run":
        say(f"handler.py was not run: {_inputs(load_golden(artifact))} (to run it: eaves verify --run-handler)")
    for result in results:
        result.require()
    say(f"verified: {len(artifact.manifest.files)} digests are right, {len(results)} golden images are reproduced")


def _inputs(cases: Sequence[GoldenCase]) -> str:
    """Return a sentence on which golden inputs are stored in the artifact and which were computed by the recipe."""
    stored = sum(bool(case.tensor) for case in cases)
    if stored == len(cases):
        return "the inputs are stored in the artifact"
    if stored:
        return f"{stored} inputs are stored in the artifact, and the recipe computed the others"
    return "the recipe computed the inputs"


def _print(artifact: Artifact, results: Sequence[GoldenResult], handler: str, form: str) -> None:
    rows = [_row(result) for result in results]
    if form == "table":
        shown = [{**row, **{key: _short(row[key]) for key in row if isinstance(row[key], float)}} for row in rows]
        print_rows([{**row, "ok": "yes" if row["ok"] else "no"} for row in shown], COLUMNS, form)
        return
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


def _row(result: GoldenResult) -> dict[str, Any]:
    """Return a result as plain data for JSON; an infinite difference, of outputs that can't be compared, is null."""
    values = asdict(result)
    values = {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in values.items()}
    return {"case": values.pop("file"), **values, "ok": result.ok}


def _short(value: float) -> str:
    return f"{value:.1e}"
