"""Compares two artifacts by their manifests: labels, precision, evidence, size, and what an update ships."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact import Artifact, Manifest
from eaves.base.statistics import round_outward
from eaves.console.catalog.artifact_page import describe_parity, describe_precision, describe_recipe
from eaves.console.catalog.directories import foreign_content
from eaves.console.catalog.figures import format_percent
from eaves.console.catalog.update_size import Update, compute_update
from eaves.console.model.words import count_noun, describe_size, join_words

NAMED = 10
"""Maximum number of class names in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactComparison:
    """Content of the page that compares two artifacts.

    Attributes:
        rows: Name, first and second value of each property, and whether the two differ.
        labels: How the classes differ, as a sentence.
        update: What an update from the first to the second ships.
        back: What the way back ships.
    """

    rows: tuple[tuple[str, str, str, bool], ...]
    labels: str
    update: Update
    back: Update


def compare_artifacts(first: Artifact, second: Artifact) -> ArtifactComparison:
    """Compare two artifacts.

    Raises:
        ArtifactError: One of the artifacts holds something that Eaves does not write.
    """
    with foreign_content(f"the comparison of {first.path.name} and {second.path.name}"):
        sides = [_properties(artifact) for artifact in (first, second)]
        return ArtifactComparison(
            rows=tuple((name, sides[0][name], sides[1][name], sides[0][name] != sides[1][name]) for name in sides[0]),
            labels=_compare_labels(first.manifest, second.manifest),
            update=compute_update(first, second),
            back=compute_update(second, first),
        )


def _properties(artifact: Artifact) -> dict[str, str]:
    manifest = artifact.manifest
    return {
        "Model": manifest.name,
        "Version": manifest.version,
        "Classes": f"{len(manifest.labels):,}",
        "Precision": describe_precision(manifest),
        "Accuracy at the conversion": _describe_accuracy(manifest),
        "Answers as trained": "passed" if manifest.parity.passed else "failed",
        "Evidence of that": describe_parity(manifest),
        "Input": describe_recipe(manifest.recipe),
        "Size": describe_size(artifact.size_bytes),
    }


def _describe_accuracy(manifest: Manifest) -> str:
    """Return the accuracy of what ships on the labelled images of the conversion, with its interval."""
    found = manifest.quantisation
    if not found.images:
        return "not measured; the run has the accuracy of the trained model"
    if found.shipped and found.trials:
        accuracy, interval = found.trials[-1].accuracy, found.trials[-1].interval_95
    else:
        accuracy, interval = found.accuracy_fp32, found.interval_95_fp32
    between = ""
    if interval:
        low, high = round_outward((interval[0], interval[1]), 3)
        between = f", 95% interval {format_percent(low)} to {format_percent(high)}"
    return f"{format_percent(accuracy)} on {count_noun(found.images, 'image')}{between}"


def _compare_labels(first: Manifest, second: Manifest) -> str:
    if first.labels == second.labels:
        return "The classes are the same, in the same order."
    added = [label for label in second.labels if label not in set(first.labels)]
    removed = [label for label in first.labels if label not in set(second.labels)]
    if not added and not removed:
        return "The classes are the same, in another order."
    parts = [f"{verb}: {_name(some)}" for verb, some in (("new", added), ("no longer there", removed)) if some]
    return f"The classes differ; {'; '.join(parts)}."


def _name(labels: list[str]) -> str:
    more = len(labels) - NAMED
    return join_words([*labels[:NAMED], *([f"{more:,} more"] if more > 0 else [])])
