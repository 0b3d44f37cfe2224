"""The command `eaves inspect`, which shows the contents of a run, an artifact or a container image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.artifact import INT8, Artifact, Manifest, open_artifact
from eaves.artifact.manifest import TENSOR
from eaves.artifact.store import HANDLER
from eaves.cli.latest import find_latest
from eaves.cli.output import describe_bytes, output_option, print_fields, print_line, print_value
from eaves.cli.registry import access_options, is_container_image
from eaves.errors import ArtifactError, OciError

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access

MANY = 12
"""Maximum number of labels, and of their weights, that the text output lists."""
Lines = Iterator[tuple[str, str]]
_TITLE = "org.opencontainers.image.title"


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
    print_value(json.loads(json.dumps(about, default=str)), "yaml" if form == "table" else form)


def _show_container_image(text: str, access: Access, form: str) -> None:
    """Print the description of a container image for each of its platforms.

    Raises:
        OciError: When the container image doesn't exist, can't be read, or isn't a function's.
    """
    from eaves.oci.copy import open_location
    from eaves.oci.layers.image import load_images
    from eaves.oci.package import ARTIFACT_LABEL

    place = open_location(text, access)
    descriptor = place.resolve()
    images = list(load_images(place.store, descriptor))
    if not all(ARTIFACT_LABEL in image.labels for image in images):
        raise OciError(f"{text} is not the container image of a function", hint="make one with `eaves package`")
    platforms = [
        {
            "platform": str(image.platform),
            "labels": dict(image.labels),
            "layers": [
                {"title": layer.annotations.get(_TITLE, ""), "size_bytes": layer.size, "digest": layer.digest}
                for layer in image.layers
            ],
        }
        for image in images
    ]
    about = {"kind": "container image", "digest": descriptor.digest, "platforms": platforms}
    print_value(about, "yaml" if form == "table" else form)


def _print_artifact(artifact: Artifact) -> None:
    manifest = artifact.manifest
    groups = {
        "": _describe_model(artifact),
        "input and output": _describe_interface(manifest),
        "proof": _describe_proof(manifest),
        "precision": _describe_precision(manifest),
        "source": _describe_origin(manifest),
    }
    for heading, lines in groups.items():
        if heading:
            print_line(f"\n{heading}")
        print_fields(list(lines))


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


def _describe_proof(manifest: Manifest) -> Lines:
    parity = manifest.parity
    if manifest.task == TENSOR:
        yield "parity", f"gives the outputs of the original model, judged on {parity.images} samples"
        yield "outputs", f"differ by at most {parity.max_rel_error:.1e} of the largest; allowed: {parity.tolerance:.0e}"
        return
    verdict = "gives the outputs of the trained model" if parity.passed else "DIFFERS from the trained model"
    yield "parity", f"{verdict}, judged on {parity.images} images"
    yield "same label", f"on {parity.top1_agreement:.1%} of the images, required: at least {parity.min_agreement:.1%}"
    allowed = f"allowed for {'them' if manifest.precision == INT8 else 'logits too'}: {parity.tolerance:.0e}"
    yield "probabilities", f"differ by at most {parity.max_abs_error_probabilities:.1e}; {allowed}"


def _describe_precision(manifest: Manifest) -> Lines:
    found, evidence = manifest.quantisation, manifest.quantisation.evidence
    yield "precision", f"{manifest.precision} (setting: {found.asked})"
    if found.reason:
        yield "because", found.reason
    if found.trials:
        suffices = "suffices" if evidence.passed else "does not suffice by itself"
        yield "evidence", f"{evidence.kind}, {suffices}; the page of the conversion and -o json have all of it"
    if manifest.precision == INT8:
        yield "calibrated", f"on {found.calibration_images} images"


def _describe_origin(manifest: Manifest) -> Lines:
    digest = f" sha256:{manifest.source.digest[:12]}" if manifest.source.digest else ""
    yield "source", f"{manifest.source.route}{digest}"
    if manifest.source.weights:
        yield "weights from", _first_line(manifest.source.weights, 120)
    if "model" in manifest.licences:
        yield "licence", _first_line(manifest.licences["model"])
    yield "tools", ", ".join(f"{name} {version}" for name, version in sorted(manifest.toolchain.items()))


def _first_line(text: str, length: int = 60) -> str:
    return text.strip().partition("\n")[0][:length]
