"""Run > artifact with the real tf2onnx, TensorFlow and onnxruntime."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, open_artifact
from eaves.errors import ArtifactError
from tests.once import build_once_here
from trainer.progress import Step
from trainer.run.run import open_run


class Followed:
    """Progress that remembers: the phases in their order, and those that ended with steps left or too many."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.unfinished: set[str] = set()

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        done = 0

        def step(count: int = 1, note: str = "") -> None:
            nonlocal done
            done += count

        self.phases.append(title)
        yield step
        if done != total:
            self.unfinished.add(title)


def convert_with_handler(run: Path, root: Path) -> Path:
    """Convert a copy of a run that began with weights of others, with a handler, and keep the phases of it."""
    followed = Followed()
    shutil.copytree(run, root / "run")
    about = json.loads((root / "run/run.json").read_text())
    about["weights"] |= {"origin": "a university", "licence": "Apache-2.0", "file_sha256": "5" * 64}
    (root / "run/run.json").write_text(json.dumps(about))
    (root / "handler.py").write_text("def postprocess(outputs):\n    return {'label': '0'}\n")
    convert(root / "run", root / "artifact", handled(root), progress=followed)
    (root / "phases.json").write_text(json.dumps([followed.phases, list(followed.unfinished)]))
    return root


@pytest.fixture(scope="module")
def converted(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The artifact; the run, the handler and the phases are beside it."""
    made = build_once_here(tmp_path_factory, "converted", lambda root: convert_with_handler(tiny_run, root), tiny_run)
    return open_artifact(made / "artifact")


def handled(root: Path) -> ConvertSettings:
    return ConvertSettings(precision="fp32", handler=str(root / "handler.py"))


def test_the_artifact_is_whole_proven_and_described(tiny_artifact: Path, tiny_run: Path):
    artifact, run = open_artifact(tiny_artifact, level="full"), open_run(tiny_run)
    manifest = artifact.manifest
    assert manifest.labels == run.labels == ("0", "1", "2", "3")
    assert (tiny_artifact / "labels.txt").read_text() == "0\n1\n2\n3\n"
    assert (manifest.name, manifest.version, manifest.image_recipe) == (run.name, run.version, run.recipe)
    assert manifest.parity.passed
    assert manifest.parity.images == len(run.samples())
    assert manifest.parity.max_abs_error <= 1e-4
    assert manifest.parity.max_abs_error_probabilities <= 1e-4
    assert manifest.temperature == run.metrics()["temperature"]
    assert manifest.parity.top1_agreement == 1.0
    assert (manifest.input.name, manifest.input.dtype, manifest.input.shape) == ("image", "uint8", (-1, 16, 16, 3))
    assert {output.name: output.shape for output in manifest.outputs} == {"logits": (-1, 4), "probabilities": (-1, 4)}
    assert {path.name for path in tiny_artifact.parent.iterdir()} == {
        "digits",
        "run",
        "artifact",
        "artifact.settings.json",
    }


@pytest.mark.long("a model is trained and converted, once on a machine")
def test_the_manifest_names_the_weights_that_training_began_with(tiny_artifact: Path, converted: Artifact):
    manifest = converted.manifest
    assert (manifest.source.weights, manifest.source.weights_sha256) == ("a university", "5" * 64)
    assert manifest.licences["weights"] == "Apache-2.0"
    assert open_artifact(converted.path).manifest == manifest
    plain = open_artifact(tiny_artifact).manifest
    assert (plain.source.weights, plain.source.weights_sha256) == ("", "")
    assert "weights" not in plain.licences


def test_converting_again_gives_the_same_bytes(tiny_artifact: Path, converted: Artifact):
    """The other artifact was exported by another process; this one has a handler besides."""
    plain = open_artifact(tiny_artifact).manifest
    assert plain.files.items() <= converted.manifest.files.items()
    assert converted.manifest.files.keys() - plain.files.keys() == {"handler.py"}
    phases, unfinished = json.loads((converted.path.parent / "phases.json").read_text())
    assert phases == ["Checking the model", "Exporting to ONNX", "Preparing the graph", "Proving parity"]
    assert unfinished == []
    beside = {path.name for path in converted.path.parent.iterdir()}
    assert beside == {"run", "handler.py", "artifact", "artifact.settings.json", "phases.json"}


def test_a_run_that_is_converted_already_is_not_converted_again(converted: Artifact, tmp_path: Path):
    root = shutil.copytree(converted.path.parent, tmp_path / "copy")
    output = root / "artifact"
    run, handler, record, settings = root / "run", root / "handler.py", root / "artifact.settings.json", handled(root)
    record.write_text(record.read_text().replace(str(converted.path.parent), str(root)))
    again = Followed()
    assert convert(run, output, settings, progress=again).digest == converted.digest
    assert again.phases == []

    def change(path: Path, old: str, new: str) -> None:
        path.write_text(path.read_text().replace(old, new))

    def refuses(settings: ConvertSettings) -> None:
        with pytest.raises(ArtifactError, match="already exists"):
            convert(run, output, settings)

    refuses(replace(settings, golden=3))
    for path, old, new in (
        (handler, "'0'", "'1'"),
        (run / "run.json", "{", "{ "),
        (output / "labels.txt", "3", "4"),
        (record, converted.digest, "0" * 64),
    ):
        change(path, old, new)
        refuses(settings)
        change(path, new, old)
    assert convert(run, output, settings).digest == converted.digest
    record.unlink()
    refuses(settings)
