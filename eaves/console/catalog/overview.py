"""The list of all artifacts and runs, each with its figures or the reason why it can't be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eaves.console.backend import ModelLocation
from eaves.console.catalog.artifact_page import describe_precision
from eaves.console.catalog.catalog import Catalog
from eaves.console.catalog.figures import parse_time
from eaves.console.catalog.runs.page import describe_accuracy, describe_level
from eaves.console.model.words import clean_text, describe_size
from eaves.errors import EavesError

SHOWN = 100
"""Maximum number of artifacts and of runs in the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """An artifact or a run in the list.

    Attributes:
        location: Its name, kind and directory.
        title: Name and version of the model.
        note: Precision of an artifact, or accuracy of a run.
        badge: State in a few words.
        size: Size of an artifact as text.
        created: Time when a run was written, Unix seconds; None when it isn't known.
        fault: Reason why it can't be shown, empty when it can.
    """

    location: ModelLocation
    title: str = ""
    note: str = ""
    badge: str = ""
    size: str = ""
    created: float | None = None
    fault: str = ""


def build_artifact_rows(catalog: Catalog, locations: Sequence[ModelLocation]) -> list[ModelRow]:
    """Build the rows of artifacts: those that are served first, then the newest version."""
    rows = [_artifact_row(catalog, location) for location in locations]
    return sorted(rows, key=lambda row: (not row.location.functions, not row.location.is_previous))


def build_run_rows(catalog: Catalog, locations: Sequence[ModelLocation]) -> list[ModelRow]:
    """Build the rows of runs, the newest first."""
    rows = [_run_row(catalog, location) for location in locations]
    return sorted(rows, key=lambda row: row.created or 0.0, reverse=True)


def _artifact_row(catalog: Catalog, location: ModelLocation) -> ModelRow:
    try:
        artifact = catalog.artifact(location)
        note = describe_precision(artifact.manifest)
    except EavesError as error:
        return ModelRow(location=location, fault=error.message[:300])
    badge = f"serves {', '.join(location.functions)}" if location.functions else ""
    return ModelRow(
        location=location,
        title=f"{artifact.manifest.name} {artifact.manifest.version}",
        note=note,
        badge=badge or ("previous deployment" if location.is_previous else ""),
        size=describe_size(artifact.size_bytes),
    )


def _run_row(catalog: Catalog, location: ModelLocation) -> ModelRow:
    try:
        files = catalog.run(location)
        kind = str(files.run.verdict.get("kind", ""))
    except (EavesError, AttributeError) as error:
        return ModelRow(location=location, fault=(error.message if isinstance(error, EavesError) else str(error))[:300])
    return ModelRow(
        location=location,
        title=clean_text(f"{files.run.name} {files.run.version}", 200),
        note=describe_accuracy(files.accuracy),
        badge=describe_level(kind),
        created=parse_time(files.run.created),
    )
