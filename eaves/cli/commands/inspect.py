"""The command `eaves inspect`, which shows the contents of a run, an artifact or a container image."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.artifact import INT8, Artifact, open_artifact
from eaves.artifact.manifest import TENSOR
from eaves.artifact.store import HANDLER
from eaves.cli.latest import find_latest
from eaves.cli.output import describe_bytes, output_option, print_fields, print_value
from eaves.cli.registry import access_options, is_container_image
from eaves.errors import ArtifactError, OciError

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access

MANY = 12
"""Maximum number of labels that the text output lists."""
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
            print_fields([(name, text) for name, text in _describe(artifact) if text])
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
    from eaves.oci.package import ARTIFACT_LABEL, find_library_form

    place = open_location(text, access)
    descriptor = place.resolve()
    images = list(load_images(place.store, descriptor))
    if not all(ARTIFACT_LABEL in image.labels for image in images):
        raise OciError(f"{text} is not the container image of a function", hint="make one with `eaves package`")
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
    about = {"kind": "container image", "digest": descriptor.digest, "platforms": platforms}
    print_value(about, "yaml" if form == "table" else form)


def _describe(artifact: Artifact) -> list[tuple[str, str]]:
    """Return what people want to know of an artifact, as names and texts."""
    manifest, parity, found = artifact.manifest, artifact.manifest.parity, artifact.manifest.quantisation
    facts = [
        ("artifact", f"{manifest.name} {manifest.version}"),
        ("digest", f"sha256:{artifact.digest}"),
        ("size", f"{describe_bytes(artifact.size_bytes)} in {len(manifest.files)} files, every digest checked"),
        ("task", f"{manifest.task}, {len(manifest.labels)} labels"),
        ("labels", ", ".join(manifest.labels[:MANY]) + (", ..." if len(manifest.labels) > MANY else "")),
    ]
    if HANDLER in manifest.files:
        facts.append(("handler", f"{HANDLER} replaces pre- or post-processing; `eaves verify --run-handler` runs it"))
    for name, spec in (("input", manifest.input), *(("output", spec) for spec in manifest.outputs)):
        shape = " x ".join("any" if side == -1 else str(side) for side in spec.shape)
        facts.append((name, f"{spec.name}: {spec.dtype}, {shape}"))
    if (recipe := manifest.recipe) is None:
        facts.append(("recipe", "none: the sender's numbers are the model's input"))
    else:
        fit = {"stretch": "stretched", "crop": "centre cropped", "pad": "padded"}[recipe.resize]
        scale = f"x {recipe.multiply:g} + {recipe.add:g}"
        facts.append(("recipe", f"{fit} to {recipe.width} x {recipe.height}, {recipe.filter}; {scale}"))
    if manifest.task == TENSOR:
        differ = f"outputs differ by at most {parity.max_rel_error:.1e} of the largest"
        judged = f"judged on {parity.images} samples"
    else:
        differ = (
            f"probabilities differ by at most {parity.max_abs_error_probabilities:.1e}; the label is the same on "
            f"{parity.top1_agreement:.1%}, required: at least {parity.min_agreement:.1%}"
        )
        judged = f"judged on {parity.images} images"
    verdict = "gives the outputs of the trained model" if parity.passed else "DIFFERS from the trained model"
    facts += [
        ("parity", f"{verdict}, {judged}"),
        ("difference", f"{differ}; allowed: {parity.tolerance:.0e}"),
        ("precision", f"{manifest.precision} (setting: {found.asked})"),
        ("because", found.reason),
    ]
    if found.trials:
        suffices = "suffices" if found.evidence.passed else "does not suffice by itself"
        shown = "the page of the conversion and -o json have all of it"
        facts.append(("evidence", f"{found.evidence.kind}, {suffices}; {shown}"))
    if manifest.precision == INT8:
        facts.append(("calibrated", f"on {found.calibration_images} images"))
    origin = manifest.source
    return [
        *facts,
        ("source", f"{origin.route} sha256:{origin.digest[:12]}" if origin.digest else origin.route),
        ("weights from", _first_line(origin.weights, 120)),
        ("licence", _first_line(manifest.licences.get("model", ""))),
        ("tools", ", ".join(f"{name} {version}" for name, version in sorted(manifest.toolchain.items()))),
    ]


def _first_line(text: str, length: int = 60) -> str:
    return text.strip().partition("\n")[0][:length]
