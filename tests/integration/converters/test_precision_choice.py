"""Which precision ships, decided by measuring: on the tiny run's graph, converted as a model that others made."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, check, load_golden, open_artifact
from eaves.artifact.manifest import Evidence
from eaves.base.statistics import paired_drop_bound
from eaves.cli import cli
from eaves.inference.session import open_session
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from trainer.progress import Step
from trainer.run.run import open_run

PARTS = {"model.onnx", "weights/backbone.bin", "labels.txt", "golden/golden.json"}


def settings(**values: Any) -> ConvertSettings:
    return settings_from(ConvertSettings, values)


def content(artifact: Artifact) -> dict[str, bytes]:
    root = artifact.path
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def operators(artifact: Artifact) -> Counter[str]:
    graph = onnx.load(str(artifact.model_path), load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Followed:
    """A progress that keeps title and length of every phase."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Keep it."""
        self.phases.append((title, total))
        yield lambda count=1, note="": None


# A run, with TensorFlow.


@pytest.mark.long("a model is trained and converted, once on a machine")
def test_a_run_with_16_held_out_images_ships_int8_if_it_is_asked_for(
    tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
):
    asked = settings(precision="int8")
    made = build_once_here(
        tmp_path_factory, "int8_run", lambda root: convert(tiny_run, root / "artifact", asked).path, tiny_run
    )
    artifact = open_artifact(made)
    manifest, found = artifact.manifest, artifact.manifest.quantisation
    assert (manifest.precision, found.asked, found.shipped, manifest.optimise_on_open) == ("int8", "int8", True, False)
    assert found.reason.startswith(
        "int8 was required by convert.precision, although the evidence does not suffice: int8 "
    )
    evidence, shipped = found.evidence, found.trials[-1]
    assert (evidence.kind, evidence.passed, evidence.labelled_images, evidence.images) == ("labels", False, 16, 16)
    assert evidence.drop_bound_95 > 0.15 > found.max_accuracy_drop == 0.03
    assert shipped.judged
    assert shipped.accuracy == pytest.approx(found.accuracy_fp32 - shipped.drop)
    assert shipped.interval_95[0] <= shipped.accuracy <= shipped.interval_95[1]
    assert shipped.size_bytes < found.size_bytes_fp32 / 2
    run = open_run(tiny_run)
    assert (found.images, found.calibration_images, found.picking_images) == (16, 56, 56)
    assert manifest.parity.passed
    assert manifest.parity.images == len(run.samples())
    assert check(open_artifact(artifact.path, level="full"), open_session(artifact).answer) == 4
    assert left(made.parent) == ["artifact", "artifact.settings.json"]


# The same graph, without.


def test_too_few_held_out_images_ship_fp32_with_how_many_it_takes(tiny_graph: Path, tmp_path: Path):
    artifact = convert(tiny_graph, tmp_path / "auto", settings())
    found = artifact.manifest.quantisation
    assert (artifact.manifest.precision, found.trials, found.evidence) == ("fp32", (), Evidence())
    assert "34 held-out labelled images are too few to show that int8 loses at most 3 points" in found.reason
    assert "it takes at least 99, or 500 photos with or without labels (convert.unlabelled)" in found.reason


def test_int8_computes_in_int8_and_answers_nearly_the_same(tiny_int8: Path, tiny_artifact: Path):
    int8, fp32 = open_artifact(tiny_int8, level="full"), open_artifact(tiny_artifact)
    assert operators(int8)["QLinearConv"] >= 3
    assert not {"FusedConv", "Conv", "Cast"} & set(operators(int8))
    batch = np.stack(
        [fp32.manifest.image_recipe.tensor((tiny_artifact / case.file).read_bytes()) for case in load_golden(fp32)]
    )
    scores, exact = (open_session(artifact).answer(batch)["probabilities"] for artifact in (int8, fp32))
    assert scores.argmax(axis=1).tolist() == exact.argmax(axis=1).tolist()
    assert 0 < np.max(np.abs(scores - exact)) < 0.1


def test_converting_again_gives_the_same_bytes(tiny_graph: Path, tiny_int8: Path, tmp_path: Path):
    again = content(convert(tiny_graph, tmp_path / "artifact", settings(precision="int8")))
    assert again == content(open_artifact(tiny_int8))
    assert set(again) >= PARTS


def test_auto_then_ships_fp32_with_the_table_and_the_reason(tiny_graph: Path, tiny_artifact: Path, tmp_path: Path):
    asked = settings(tolerance_int8=0.0, max_accuracy_drop=20)
    artifact = convert(tiny_graph, tmp_path / "artifact", asked)
    manifest, found = artifact.manifest, artifact.manifest.quantisation
    assert (manifest.precision, found.asked, found.shipped, manifest.optimise_on_open) == ("fp32", "auto", False, True)
    assert "the int8 answers differ too much" in found.reason
    assert len(found.trials) >= 2
    assert [trial.judged for trial in found.trials] == [False] * (len(found.trials) - 1) + [True]
    assert {0} < {len(trial.kept_fp32) for trial in found.trials}
    assert manifest.parity.max_abs_error < 1e-4
    names = ("model.onnx", "weights/backbone.bin")
    fp32 = convert(tiny_graph, tmp_path / "fp32" / "artifact", settings(precision="fp32"))
    assert [content(artifact)[name] for name in names] == [content(fp32)[name] for name in names]


# By labels and by agreement.


def write_noisy(folder: Path, count: int, *, noise: float) -> Path:
    """Digits 0 to 3 under noise, without labels, all different."""
    digits, random = load_digits(), np.random.default_rng(0)
    images = digits.images[digits.target < 4]
    folder.mkdir()
    for number in range(count):
        pixels = images[number % len(images)] * 255 / 16 + random.normal(0, noise, (8, 8))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def test_enough_labelled_images_ship_int8_with_the_bound_of_its_loss(tiny_graph: Path, tmp_path: Path):
    digits, samples = load_digits(), tmp_path / "samples"
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label < 4 and number < 900:
            (samples / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(samples / str(label) / f"{number:04d}.png")
    followed = Followed()
    artifact = convert(
        tiny_graph,
        tmp_path / "artifact",
        settings(),
        declaration=declare(tiny_graph, tmp_path / "declared", samples),
        progress=followed,
    )
    found, evidence = artifact.manifest.quantisation, artifact.manifest.quantisation.evidence
    assert (artifact.manifest.precision, evidence.kind, evidence.passed) == ("int8", "labels", True)
    assert evidence.labelled_images >= 99
    assert evidence.drop_bound_95 == paired_drop_bound(evidence.lost, evidence.gained, evidence.labelled_images) <= 0.03
    assert " on others with 95 % confidence" in found.reason
    looks = [total for title, total in followed.phases if title.startswith("Predicting with int8")]
    assert set(looks) == {found.picking_images}, "candidates are picked on the training side's images"
    judged = [total for title, total in followed.phases if title == "Judging int8"]
    assert judged == [found.images], "one candidate is judged, once"


@pytest.mark.parametrize(("wanted", "precision"), [(0.9, "int8"), (0.9999, "fp32")])
def test_photos_without_labels_decide_by_agreement(tiny_graph: Path, tmp_path: Path, wanted: float, precision: str):
    photos, followed = write_noisy(tmp_path / "photos", 520, noise=40), Followed()
    asked = settings(unlabelled=str(photos), min_agreement=wanted)
    artifact = convert(tiny_graph, tmp_path / "artifact", asked, progress=followed)
    found, evidence = artifact.manifest.quantisation, artifact.manifest.quantisation.evidence
    assert (artifact.manifest.precision, evidence.kind, evidence.images) == (precision, "agreement", 554)
    assert evidence.passed == found.shipped == (precision == "int8")
    assert 0.9 < evidence.agreement_bound_95 < evidence.agreement
    assert found.reason.startswith(
        "int8 agrees with fp32: on " if found.shipped else "int8 agrees too little with fp32"
    )
    assert [total for title, total in followed.phases if title == "Judging int8"] == [34, 520]
    reported = CliRunner().invoke(cli, ["inspect", str(artifact.path)])
    assert "of 554 images" in " ".join(reported.output.split())


def declare(graph: Path, folder: Path, samples: Path) -> Path:
    """Another declaration of the graph, with samples elsewhere."""
    values = yaml.safe_load((graph.parent / "model.yaml").read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump({**values, "samples": str(samples)}), encoding="utf-8")
    return folder / "model.yaml"
