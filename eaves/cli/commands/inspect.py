"""The command `eaves inspect`, which shows the contents of a run, an artifact or a container image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.artifact import INT8, Artifact, Manifest, Quantisation, open_artifact
from eaves.artifact.manifest import TENSOR
from eaves.artifact.store import HANDLER
from eaves.base.statistics import round_outward
from eaves.cli.latest import find_latest
from eaves.cli.output import (
    Column,
    Columns,
    describe_bytes,
    output_option,
    print_fields,
    print_line,
    print_rows,
    print_value,
)
from eaves.cli.registry import access_options, is_container_image
from eaves.errors import ArtifactError, OciError

if TYPE_CHECKING:
    from eaves.oci.layers.image import Image
    from eaves.oci.registry.registry import Access

COLUMNS: Columns = {
    "model": "MODEL",
    "accuracy": "ACCURACY",
    "interval": "95 % INTERVAL",
    "picking": Column("SAME LABEL, PICKING", drop=2),
    "agreement": "JUDGED",
    "drop": "DROP",
    "size": Column("SIZE", drop=1),
}
FIELDS: Columns = {"field": "FIELD", "value": "VALUE"}
MANY = 12
"""Maximum number of labels, and of their weights, that the text output lists."""
Lines = Iterator[tuple[str, str]]
_TITLE = "org.opencontainers.image.title"
_LABELS = {
    "model": _TITLE,
    "version": "org.opencontainers.image.version",
    "artifact": "dev.eaves.artifact",
    "base": "org.opencontainers.image.base.name",
    "base digest": "org.opencontainers.image.base.digest",
    "packaged by Eaves": "dev.eaves.version",
}
"""Heading of each line of a container image's description to the label whose value it shows."""


@click.command()
@click.argument("what", metavar="PATH|IMAGE")
@access_options
@output_option
def command(what: str, access: Callable[[], Access], form: str) -> None:
    """Show the contents of the run or artifact in PATH, after checking every digest, or of a container image.

    PATH may be runs/latest or artifacts/latest. IMAGE is HOST/REPOSITORY[:TAG|@DIGEST] or oci:DIR[:NAME]; only its
    manifest and its config are read, and `eaves verify` checks its layers.
    """
    if is_container_image(what):
        _show_container_image(what, access(), form)
        return
    path = find_latest(Path(what))
    if (path / "manifest.json").is_file():
        artifact = open_artifact(path, level="full")
        if form == "table":
            _print_artifact(artifact)
            return
        size = {"digest": f"sha256:{artifact.digest}", "size_bytes": artifact.size_bytes}
        about = {"kind": "artifact", **size, **asdict(artifact.manifest)}
    elif (path / "run.json").is_file():
        from trainer.run.run import open_run

        about = {"kind": "run", **asdict(open_run(path))}
    else:
        raise ArtifactError(
            f"{path} is neither a run nor an artifact: it holds no run.json and no manifest.json",
            hint="name a directory in runs/ or artifacts/",
        )
    about = json.loads(json.dumps(about, default=str))
    if form == "table":
        rows = [{"field": key, "value": _shorten(value)} for key, value in about.items()]
        print_rows(rows, FIELDS, form)
    else:
        print_value(about, form)


def _shorten(value: Any) -> str:
    """Return a value of a run as text, a mapping with a line for each item."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_shorten([item])}" for key, item in value.items())
    items = value if isinstance(value, list) else [value]
    return ", ".join(str(item) if isinstance(item, str | int | float) else json.dumps(item) for item in items)


def _show_container_image(text: str, access: Access, form: str) -> None:
    """Print the description of a container image for each of its platforms.

    Raises:
        OciError: When the container image doesn't exist, can't be read, or isn't a function's.
    """
    from eaves.oci.copy import open_location
    from eaves.oci.layers.image import load_images
    from eaves.oci.package import ARTIFACT_LABEL, find_library_form

    place = open_location(text, access)
    descriptor = place.resolve()
    images = list(load_images(place.store, descriptor))
    if not all(ARTIFACT_LABEL in image.labels for image in images):
        raise OciError(f"{text} is not the container image of a function", hint="make one with `eaves package`")
    if form == "table":
        print_fields([("digest", descriptor.digest)])
        for image in images:
            print_line("")
            print_fields(list(_describe_image(image)))
        return
    platforms = [
        {
            "platform": str(image.platform),
            "standard_library": find_library_form(image),
            "labels": dict(image.labels),
            "layers": [
                {"title": layer.annotations.get(_TITLE, ""), "size_bytes": layer.size, "digest": layer.digest}
                for layer in image.layers
            ],
        }
        for image in images
    ]
    print_value({"kind": "container image", "digest": descriptor.digest, "platforms": platforms}, form)


def _describe_image(image: Image) -> Lines:
    """Describe one platform's container image as (name, value) lines."""
    from eaves.oci.package import COMPILED, find_library_form

    yield "platform", str(image.platform)
    yield from ((heading, str(image.labels[label])) for heading, label in _LABELS.items() if label in image.labels)
    if find_library_form(image) == COMPILED:
        yield "standard library", "has byte code"
    else:
        yield "standard library", "has no byte code, so each cold start compiles the modules that it imports"
    for layer in image.layers:
        yield f"layer {layer.annotations.get(_TITLE) or 'of the base'}", f"{describe_bytes(layer.size)}, compressed"


def _print_artifact(artifact: Artifact) -> None:
    manifest = artifact.manifest
    groups = {
        "": _describe_model(artifact),
        "input and output": _describe_interface(manifest),
        "proof": _describe_proof(manifest),
        "precision": _describe_precision(manifest),
        "files": _describe_files(manifest),
        "source and tools": _describe_origin(manifest),
    }
    for heading, lines in groups.items():
        if heading:
            print_line(f"\n{heading}")
        print_fields(list(lines))
        if heading == "precision" and manifest.quantisation.trials:
            print_rows(_list_trials(manifest.quantisation), COLUMNS, "table")


def _describe_model(artifact: Artifact) -> Lines:
    manifest = artifact.manifest
    yield "artifact", f"{manifest.name} {manifest.version}"
    yield "digest", f"sha256:{artifact.digest}"
    yield "size", f"{describe_bytes(artifact.size_bytes)} in {len(manifest.files)} files, every digest checked"
    yield "task", f"{manifest.task}, {len(manifest.labels)} labels"
    yield "labels", _list(manifest.labels)


def _list(items: Sequence[str]) -> str:
    return ", ".join(items[:MANY]) + (", ..." if len(items) > MANY else "")


def _describe_interface(manifest: Manifest) -> Lines:
    if HANDLER in manifest.files:
        yield "handler", f"{HANDLER} replaces pre- or post-processing; `eaves verify --run-handler` runs it"
    for name, spec in (("input", manifest.input), *(("output", spec) for spec in manifest.outputs)):
        shape = " x ".join("any" if side == -1 else str(side) for side in spec.shape)
        yield name, f"{spec.name}: {spec.dtype}, {shape}"
    recipe = manifest.recipe
    if recipe is None:
        yield "recipe", "none: the sender's numbers are the model's input"
        return
    fit = {"stretch": "stretched", "crop": "centre cropped", "pad": "padded"}[recipe.resize]
    scale = f"x {recipe.multiply:g} + {recipe.add:g}"
    yield "recipe", f"{fit} to {recipe.width} x {recipe.height}, {recipe.filter}; {scale}"
    yield "temperature", f"{manifest.temperature:g}"
    if weights := manifest.decision.label_weights:
        yield "label", f"largest probability x weight; weights: {_list([f'{one:.3g}' for one in weights])}"


def _describe_proof(manifest: Manifest) -> Lines:
    parity = manifest.parity
    if manifest.task == TENSOR:
        yield "parity", f"gives the outputs of the original model, judged on {parity.images} samples"
        yield "outputs", f"differ by at most {parity.max_rel_error:.1e} of the largest; allowed: {parity.tolerance:.0e}"
        yield "golden", f"samples must give the same outputs on every machine, within {manifest.golden_tolerance:.0e}"
        return
    verdict = "gives the outputs of the trained model" if parity.passed else "DIFFERS from the trained model"
    yield "parity", f"{verdict}, judged on {parity.images} images"
    yield "logits", f"differ by at most {parity.max_abs_error:.1e} ({parity.max_rel_error:.1e} of the largest)"
    what = "probabilities" if manifest.precision == INT8 else "logits and probabilities"
    allowed = f"allowed for {what}: {parity.tolerance:.0e}"
    yield "probabilities", f"differ by at most {parity.max_abs_error_probabilities:.1e}; {allowed}"
    yield "same label", f"on {parity.top1_agreement:.1%} of the images, required: at least {parity.min_agreement:.1%}"
    yield "golden images", f"must give the same logits on every machine, within {manifest.golden_tolerance:.0e}"


def _describe_precision(manifest: Manifest) -> Lines:
    found, evidence = manifest.quantisation, manifest.quantisation.evidence
    yield "precision", f"{manifest.precision} (setting: {found.asked})"
    if found.reason:
        yield "because", found.reason
    if found.trials:
        yield "evidence", f"{evidence.kind}, {'suffices' if evidence.passed else 'does not suffice by itself'}"
    if found.trials and evidence.labelled_images:
        counts = f"{evidence.lost} lost and {evidence.gained} gained of {evidence.labelled_images} labelled images"
        at_most = round_outward((evidence.drop_bound_95, evidence.drop_bound_95), 4)[1]
        bound = f"at most {at_most:.2%} with 95 % confidence, {found.max_accuracy_drop:.2%} allowed"
        yield "accuracy lost", f"{bound}; {counts}"
    if found.trials and evidence.images:
        at_least = round_outward((evidence.agreement_bound_95, evidence.agreement_bound_95), 3)[0]
        bound = f"at least {at_least:.1%} with 95 % confidence"
        required = f"required: {evidence.min_agreement:.1%} on 500 images or more"
        yield "fp32's label", f"on {evidence.agreement:.1%} of {evidence.images} images, {bound}; {required}"
    if found.trials and evidence.classes_beyond:
        yield "classes beyond", ", ".join(evidence.classes_beyond)
    if manifest.precision == INT8:
        yield "calibrated", f"on {found.calibration_images} images"


def _list_trials(found: Quantisation) -> list[dict[str, str]]:
    """Return the table rows that compare the fp32 model with each int8 candidate."""
    fp32 = {"model": "fp32", "accuracy": f"{found.accuracy_fp32:.1%}", "interval": _interval(found.interval_95_fp32)}
    rows = [{**fp32, "size": describe_bytes(found.size_bytes_fp32)}]
    for trial in found.trials:
        kept = f"{len(trial.kept_fp32)} more layers in fp32" if trial.kept_fp32 else "head in fp32"
        row = {"model": f"int8, {kept}", "picking": f"{trial.picking_agreement:.1%}"}
        row |= {"interval": _interval(trial.interval_95), "size": describe_bytes(trial.size_bytes)}
        if trial.judged:
            row |= {"accuracy": f"{trial.accuracy:.1%}", "agreement": f"{trial.agreement:.1%}"}
            row |= {"drop": f"{trial.drop * 100:+.1f} points"}
        rows.append(row)
    return rows


def _interval(interval: Sequence[float]) -> str:
    return " - ".join(f"{edge:.1%}" for edge in round_outward((interval[0], interval[1]), 3)) if interval else ""


def _describe_files(manifest: Manifest) -> Lines:
    golden = [entry.size_bytes for name, entry in manifest.files.items() if name.startswith("golden/")]
    for name, entry in manifest.files.items():
        if not name.startswith("golden/"):
            yield name, f"{describe_bytes(entry.size_bytes)}  sha256:{entry.sha256[:12]}"
    yield "golden/", f"{describe_bytes(sum(golden))} in {len(golden)} files"


def _describe_origin(manifest: Manifest) -> Lines:
    digest = f" sha256:{manifest.source.digest[:12]}" if manifest.source.digest else ""
    yield "source", f"{manifest.source.route}{digest}"
    if manifest.source.weights:
        yield "weights from", _first_line(manifest.source.weights, 120)
    yield "opset", str(manifest.opset)
    if "model" in manifest.licences:
        yield "model's licence", _first_line(manifest.licences["model"])
    for name in sorted(manifest.toolchain.keys() | manifest.licences.keys() - {"model"}):
        licence = _first_line(manifest.licences.get(name, ""))
        yield name, " ".join(part for part in (manifest.toolchain.get(name, ""), licence and f"({licence})") if part)


def _first_line(text: str, length: int = 60) -> str:
    return text.strip().partition("\n")[0][:length]
