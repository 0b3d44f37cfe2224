"""The command `eaves inspect`, which shows the contents of a run or an artifact."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eaves.artifact import Artifact, open_artifact
from eaves.cli.display.output import output_option, print_fields, print_line, print_rows, print_value
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.latest import ModelPath
from eaves.errors import ArtifactError

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
@click.argument("path", type=ModelPath())
@output_option
def command(path: Path, form: str) -> None:
    """Show the contents of the run or artifact in PATH, after checking every digest.

    PATH may be runs/latest or artifacts/latest.
    """
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
