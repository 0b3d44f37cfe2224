"""What the page of an artifact shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from converters import report_page
from eaves.artifact import Artifact, Manifest
from eaves.artifact.store import HANDLER
from eaves.console.catalog.directories import foreign_content
from eaves.console.catalog.figures import format_percent, format_points
from eaves.console.catalog.update_size import list_parts
from eaves.console.model.words import clean_text, count_noun, describe_size
from eaves.recipe import Recipe

LABELS = 500
"""Maximum number of labels that are listed."""
GOLDEN = 64
"""Maximum number of golden images that are shown."""
_NONE = "\N{EN DASH}"
_FIT = {
    "stretch": "is stretched",
    "crop": "is cut to the model's shape around its centre and scaled",
    "pad": "is scaled, with grey bars that fill the model's shape,",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A precision that was measured.

    Attributes:
        name: Name of the precision, and what stays in fp32.
        accuracy: Accuracy on the labelled images, as text.
        chart: The accuracy with its interval.
        agreement: Share of images that get fp32's label, as text.
        drop: Loss of accuracy, as text.
        size: Size, as text.
        is_shipped: Whether the artifact ships it.
    """

    name: str
    accuracy: str
    chart: Markup | str
    agreement: str
    drop: str
    size: str
    is_shipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRow:
    """A golden image.

    Attributes:
        number: Position in the artifact's index, from 0.
        label: What the image is; empty when that isn't known.
        answer: The answer that the model must reproduce; empty when it predicts no classes.
        score: Score of that answer, as text.
        note: Why a wrong answer is wrong; empty when the answer is right.
    """

    number: int
    label: str
    answer: str
    score: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPage:
    """Content of the page of an artifact.

    Attributes:
        title: Name and version of the model.
        digest: sha256 of the manifest, hex.
        task: Task of the model, in words.
        size: Total size, as text.
        verdict: Title and text of the decision on the precision.
        is_warning: Whether people should read the verdict before they deploy the artifact.
        reason: Reason for the decision, as the conversion gave it.
        labels: Class names, at most `LABELS`.
        label_count: Number of all classes.
        recipe: How an image becomes the model's input, as a sentence.
        parity: Whether the proof passed, and its evidence as a sentence.
        parity_passed: Whether the proof passed.
        trials: Precisions that were measured.
        golden: Golden images, at most `GOLDEN`.
        golden_count: Number of all golden images.
        parts: Title, size as text and share of the whole (0 to 1) of each layer.
        facts: Name and value of other properties.
        tools: Name, version and licence of each tool that made the artifact.
    """

    title: str
    digest: str
    task: str
    size: str
    verdict: tuple[str, str]
    is_warning: bool
    reason: str
    labels: tuple[str, ...]
    label_count: int
    recipe: str
    parity: str
    parity_passed: bool
    trials: tuple[TrialRow, ...]
    golden: tuple[GoldenRow, ...]
    golden_count: int
    parts: tuple[tuple[str, str, float], ...]
    facts: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, ...], ...]


def build_artifact_page(artifact: Artifact) -> ArtifactPage:
    """Build the content of an artifact's page.

    Raises:
        ArtifactError: The artifact holds something that Eaves does not write.
    """
    with foreign_content(f"the artifact {artifact.path.name}"):
        manifest = artifact.manifest
        verdict = report_page.build_verdict(manifest)
        golden = report_page.build_golden(artifact)
        sizes = [(title, size_bytes) for title, size_bytes, _ in list_parts(artifact)]
        total = max(1, sum(size_bytes for _, size_bytes in sizes))
        return ArtifactPage(
            title=f"{manifest.name} {manifest.version}",
            digest=artifact.digest,
            task=_describe_task(manifest),
            size=describe_size(artifact.size_bytes),
            verdict=(verdict.title, verdict.text),
            is_warning=verdict.loud,
            reason=clean_text(manifest.quantisation.reason, 1000),
            labels=manifest.labels[:LABELS],
            label_count=len(manifest.labels),
            recipe=describe_recipe(manifest.recipe),
            parity=describe_parity(manifest),
            parity_passed=manifest.parity.passed,
            trials=tuple(_trials(manifest)),
            golden=tuple(_golden_row(number, row) for number, row in enumerate(golden[:GOLDEN])),
            golden_count=len(golden),
            parts=tuple((title, describe_size(size), size / total) for title, size in sizes),
            facts=tuple(_facts(artifact)),
            tools=tuple(_tools(manifest)),
        )


def describe_precision(manifest: Manifest) -> str:
    """Return the precision with the evidence for it in a few words."""
    return report_page.build_verdict(manifest).title


def describe_recipe(recipe: Recipe | None) -> str:
    """Return as a sentence how an image becomes the model's input."""
    if recipe is None:
        return "The model takes numbers and no images: the sender's numbers are its input."
    return (
        f"An image {_FIT[recipe.resize]} to {recipe.width} \N{MULTIPLICATION SIGN} {recipe.height} pixels "
        f"({recipe.filter}), and its pixels from 0 to 255 are multiplied by {recipe.multiply:.6g} with "
        f"{recipe.add:g} added. Training, conversion and prediction do the same."
    )


def describe_parity(manifest: Manifest) -> str:
    """Return the proof that the artifact answers as the trained model, as a sentence."""
    parity = manifest.parity
    if not parity.images:
        return "The manifest has no comparison with the original model."
    return (
        f"On {count_noun(parity.images, 'image')} the artifact gives the original model's answer in "
        f"{format_percent(parity.top1_agreement)} of cases (at least {format_percent(parity.min_agreement)} required); "
        f"the largest difference of a probability is {parity.max_abs_error_probabilities:.2g} "
        f"(at most {parity.tolerance:g} allowed)."
    )


def _describe_task(manifest: Manifest) -> str:
    return {
        "classify": f"gives an image one of {len(manifest.labels):,} labels",
        "embed": "gives an image's features, and one of its labels",
        "tensor": "computes numbers from numbers",
    }[manifest.task]


def _trials(manifest: Manifest) -> Sequence[TrialRow]:
    return [
        TrialRow(
            name=clean_text(row["name"]) + (f", {len(row['kept']):,} more layers in fp32" if row["kept"] else ""),
            accuracy=_NONE if row["accuracy"] is None else format_percent(row["accuracy"]),
            chart=row["interval"],
            agreement=_NONE if row["agreement"] is None else format_percent(row["agreement"]),
            drop=_NONE if row["drop"] is None else format_points(-row["drop"] / 100),
            size=describe_size(row["size_bytes"]),
            is_shipped=row["ships"],
        )
        for row in report_page.build_trials(manifest.quantisation)
    ]


def _golden_row(number: int, row: dict[str, object]) -> GoldenRow:
    note = "this answer is wrong" if row["wrong"] else ""
    score = float(str(row["score"]))
    return GoldenRow(
        number=number,
        label=str(row["label"]),
        answer=str(row["answer"]),
        score=format_percent(score) if row["answer"] else "",
        note=note,
    )


def _facts(artifact: Artifact) -> Sequence[tuple[str, str]]:
    manifest = artifact.manifest
    licence = manifest.licences.get("model", "")
    facts = [
        ("Precision", manifest.precision),
        ("Made from", {"run": "a run"}.get(manifest.source.route, f"a {manifest.source.route} model")),
        ("First weights", clean_text(manifest.source.weights, 200)),
        ("Own code", "handler.py, which runs in the function" if HANDLER in manifest.files else ""),
        ("Licence of the model", clean_text(licence, 200) if licence != "NOASSERTION" else "not stated"),
    ]
    return [(name, value) for name, value in facts if value]


def _tools(manifest: Manifest) -> Sequence[tuple[str, ...]]:
    names = sorted(manifest.toolchain.keys() | manifest.licences.keys() - {"model"})[:100]
    return [
        tuple(
            clean_text(text, 100) for text in (name, manifest.toolchain.get(name, ""), manifest.licences.get(name, ""))
        )
        for name in names
    ]
