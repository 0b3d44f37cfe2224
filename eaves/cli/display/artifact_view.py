"""Description of an artifact as text: its manifest in groups of lines, with sizes in MB and verdicts in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eaves.artifact import INT8, Artifact, Manifest, Quantisation, Trial
from eaves.artifact.manifest import TENSOR
from eaves.artifact.store import HANDLER
from eaves.base.statistics import round_outward

Lines = Iterator[tuple[str, str]]
_MANY = 12


def describe_artifact(artifact: Artifact) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """Describe an artifact as groups of (name, value) lines, each under a heading."""
    manifest = artifact.manifest
    return (
        ("", tuple(_model(artifact))),
        ("input and output", tuple(_interface(manifest))),
        ("proof", tuple(_proof(manifest))),
        ("precision", tuple(_precision(manifest))),
        ("files", tuple(_files(manifest))),
        ("source and tools", tuple(_origin(manifest))),
    )


def table(manifest: Manifest) -> Sequence[dict[str, str]]:
    """Return the table rows that compare the fp32 model with each int8 candidate; none when int8 wasn't tried."""
    found = manifest.quantisation
    if not found.trials:
        return ()
    fp32 = {
        "model": "fp32",
        "accuracy": f"{found.accuracy_fp32:.1%}",
        "interval": _interval(found.interval_95_fp32),
        "picking": "",
        "agreement": "",
        "drop": "",
        "size": megabytes(found.size_bytes_fp32),
    }
    return (fp32, *(_trial(trial) for trial in found.trials))


def megabytes(size_bytes: int) -> str:
    """Return a size in MB, or in bytes when it is below 10,000 bytes."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 10_000 else f"{size_bytes} bytes"


def _model(artifact: Artifact) -> Lines:
    manifest = artifact.manifest
    yield "artifact", f"{manifest.name} {manifest.version}"
    yield "digest", f"sha256:{artifact.digest}"
    yield "size", f"{megabytes(artifact.size_bytes)} in {len(manifest.files)} files, every digest checked"
    yield "task", f"{manifest.task}, {len(manifest.labels)} labels"
    more = ", ..." if len(manifest.labels) > _MANY else ""
    yield "labels", ", ".join(manifest.labels[:_MANY]) + more


def _interface(manifest: Manifest) -> Lines:
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
    yield (
        "recipe",
        f"{fit} to {recipe.width} x {recipe.height}, {recipe.filter}; x {recipe.multiply:g} + {recipe.add:g}",
    )
    yield "temperature", f"{manifest.temperature:g}"
    if weights := manifest.decision.label_weights:
        more = ", ..." if len(weights) > _MANY else ""
        yield (
            "label",
            f"largest probability x weight; weights: {', '.join(f'{one:.3g}' for one in weights[:_MANY])}{more}",
        )


def _proof(manifest: Manifest) -> Lines:
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
    yield (
        "probabilities",
        f"differ by at most {parity.max_abs_error_probabilities:.1e}; allowed for {what}: {parity.tolerance:.0e}",
    )
    yield "same label", f"on {parity.top1_agreement:.1%} of the images, required: at least {parity.min_agreement:.1%}"
    yield "golden images", f"must give the same logits on every machine, within {manifest.golden_tolerance:.0e}"


def _precision(manifest: Manifest) -> Lines:
    found = manifest.quantisation
    yield "precision", f"{manifest.precision} (setting: {found.asked})"
    if found.reason:
        yield "because", found.reason
    if found.trials:
        yield from _evidence(found)
    if manifest.precision == INT8:
        yield "calibrated", f"on {found.calibration_images} images"


def _evidence(found: Quantisation) -> Lines:
    evidence = found.evidence
    yield "evidence", f"{evidence.kind}, {'suffices' if evidence.passed else 'does not suffice by itself'}"
    if evidence.labelled_images:
        counts = f"{evidence.lost} lost and {evidence.gained} gained of {evidence.labelled_images} labelled images"
        at_most = round_outward((evidence.drop_bound_95, evidence.drop_bound_95), 4)[1]
        bound = f"at most {at_most:.2%} with 95 % confidence, {found.max_accuracy_drop:.2%} allowed"
        yield "accuracy lost", f"{bound}; {counts}"
    if evidence.images:
        at_least = round_outward((evidence.agreement_bound_95, evidence.agreement_bound_95), 3)[0]
        bound = f"at least {at_least:.1%} with 95 % confidence"
        required = f"required: {evidence.min_agreement:.1%} on 500 images or more"
        yield "fp32's label", f"on {evidence.agreement:.1%} of {evidence.images} images, {bound}; {required}"
    if evidence.classes_beyond:
        yield "classes beyond", ", ".join(evidence.classes_beyond)


def _files(manifest: Manifest) -> Lines:
    golden = {name: entry for name, entry in manifest.files.items() if name.startswith("golden/")}
    for name, entry in manifest.files.items():
        if name not in golden:
            yield name, f"{megabytes(entry.size_bytes)}  sha256:{entry.sha256[:12]}"
    yield "golden/", f"{megabytes(sum(entry.size_bytes for entry in golden.values()))} in {len(golden)} files"


def _origin(manifest: Manifest) -> Lines:
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


def _trial(trial: Trial) -> dict[str, str]:
    kept = f"int8, {len(trial.kept_fp32)} more layers in fp32" if trial.kept_fp32 else "int8, head in fp32"
    return {
        "model": kept,
        "accuracy": f"{trial.accuracy:.1%}" if trial.judged else "",
        "interval": _interval(trial.interval_95),
        "picking": f"{trial.picking_agreement:.1%}",
        "agreement": f"{trial.agreement:.1%}" if trial.judged else "",
        "drop": f"{trial.drop * 100:+.1f} points" if trial.judged else "",
        "size": megabytes(trial.size_bytes),
    }


def _interval(interval: Sequence[float]) -> str:
    return " - ".join(f"{edge:.1%}" for edge in round_outward((interval[0], interval[1]), 3)) if interval else ""


def _first_line(text: str, length: int = 60) -> str:
    return text.strip().partition("\n")[0][:length]
