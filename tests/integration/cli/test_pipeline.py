"""`eaves pipeline` as its Job runs it: images in, a container image and an event out, and all of it again."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import eaves
from eaves.events import MODEL_PUBLISHED
from tests.cli import EAVES
from tests.container_images.packaging import build_base
from tests.container_images.registries import LocalRegistry
from tests.contract.sinks import LocalSink, Reported, open_sink
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until
from trainer.run.run import open_run

SETTINGS = {"ARCH": "small_cnn", "EPOCHS": "12", "IMAGE_SIZE": "16", "BATCH_SIZE": "8", "AUGMENT": "false"}
"""Settings with which tests.inputs.artifacts trains."""


@pytest.fixture
def sink() -> Iterator[LocalSink]:
    """A sink that answers the first event with 503."""
    with open_sink() as running:
        running.answer(Reported(status=503), Reported())
        yield running


class Pipeline:
    """The command, with what its Job sets.

    Args:
        work: EAVES_WORK.
        cache: XDG_CACHE_HOME.
        words: More of the command line.
    """

    def __init__(self, work: Path, cache: Path, *words: str) -> None:
        self.work, self._cache, self._words = work, cache, words

    def start(self, data: Path, output: Path, **environ: str) -> subprocess.Popen[str]:
        reported = {f"EAVES_TRAIN_{name}": value for name, value in SETTINGS.items()}
        places = {"EAVES_WORK": str(self.work), "XDG_CACHE_HOME": str(self._cache), "EAVES_DATA_PATH": str(data)}
        ours = {"PYTHONPATH": str(Path(eaves.__file__).parents[1]), "EAVES_CONVERT_PRECISION": "fp32"}
        return subprocess.Popen(
            [*EAVES, "pipeline", f"--output={output}", "--name=digits", *self._words],
            env={**os.environ, **reported, **places, **ours, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def run(self, data: Path, output: Path, **environ: str) -> tuple[int, str]:
        process = self.start(data, output, **environ)
        _, stderr = process.communicate(timeout=300)
        return process.returncode, stderr


@pytest.fixture
def pipeline(registry: LocalRegistry, oci_cache: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Pipeline:
    build_base(tmp_path / "base")
    tag = f"{registry.host}/{request.node.name.lower().replace('_', '-').partition('[')[0][:60].strip('-')}:{{version}}"
    words = [f"--tag={tag}", f"--base=oci:{tmp_path}/base", "--plain-http", "--site=lab"]
    return Pipeline(tmp_path / "work", oci_cache, *words)


@pytest.mark.long("two whole pipelines")
def test_what_was_done_before_is_found_and_the_same_event_is_sent_again(
    pipeline: Pipeline, sink: LocalSink, registry: LocalRegistry, tiny_run: Path, tiny_artifact: Path
):
    """A pod that was lost after the push: its successor finds the run, and the artifact where the volume kept it."""
    version = open_run(tiny_run).version
    shutil.copytree(tiny_artifact, pipeline.work / "artifacts/digits" / version)
    for _ in range(2):
        code, stderr = pipeline.run(tiny_run.parent / "digits", tiny_run, K_SINK=sink.url)
        assert code == 0, stderr
        assert "convert begins" not in stderr
    refused, taken, again = sink.received
    assert refused == taken == again
    assert (again.type, again.source) == (MODEL_PUBLISHED, "/eaves/lab/digits")
    assert again.json()["version"] == version
    assert "@sha256:" in again.json()["image"]
    assert f":{version}@" not in again.json()["image"], "a digest needs no tag beside it"
    repository = again.json()["image"].partition("@")[0].partition("/")[2]
    assert registry.tags(repository) == {version, "best"}


def test_without_a_sink_nothing_is_trained(pipeline: Pipeline, tiny_run: Path, tmp_path: Path):
    code, stderr = pipeline.run(tiny_run.parent / "digits", tmp_path / "run", K_SINK="")
    assert code == 78
    assert "try: wait until the SinkBinding is ready" in stderr
    assert not (tmp_path / "run").exists()
    assert not pipeline.work.exists()


def test_a_model_below_the_floor_is_not_published(
    registry: LocalRegistry, sink: LocalSink, tiny_run: Path, tiny_artifact: Path, tmp_path: Path
):
    tag = f"--tag={registry.host}/below-the-floor:{{version}}"
    pipeline = Pipeline(tmp_path / "work", tmp_path / "cache", tag, "--base=oci:nowhere", "--plain-http")
    shutil.copytree(tiny_artifact, pipeline.work / "artifacts/digits" / open_run(tiny_run).version)
    code, stderr = pipeline.run(tiny_run.parent / "digits", tiny_run, K_SINK=sink.url, EAVES_PIPELINE_FLOOR="1")
    assert code == 79, stderr
    assert "error: the model is refused: accuracy" in stderr
    assert "publish begins" not in stderr
    assert sink.received == []
    assert registry.tags("below-the-floor") == set()


def test_it_ends_with_the_code_of_the_step_that_failed(pipeline: Pipeline, sink: LocalSink, tmp_path: Path):
    code, stderr = pipeline.run(tmp_path / "nothing", tmp_path / "run", K_SINK=sink.url)
    assert code == 65
    assert '"message": "the step train failed with exit code 65"' in stderr
    assert sink.received == []


@pytest.mark.long("a training, a conversion and a push")
@pytest.mark.slow
def test_from_images_to_a_published_model_and_an_event_that_names_the_data(
    pipeline: Pipeline, sink: LocalSink, tmp_path: Path
):
    data = build_tiny_dataset(tmp_path / "digits")
    event = {
        "specversion": "1.0", "id": "7", "source": "/eaves/lab/photos", "type": "dev.eaves.dataset.updated.v1",
        "data": {"dataset": data.as_uri()},
    }  # fmt: skip
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted/event").write_text(json.dumps(event))
    reported = {"K_EVENT_PATH": str(tmp_path / "mounted"), "EAVES_DATA_ALLOWED_PREFIXES": tmp_path.as_uri()}
    code, stderr = pipeline.run(data, tmp_path / "runs", K_SINK=sink.url, **reported)
    assert code == 0, stderr
    (run,) = (tmp_path / "runs").glob("[!.]*")
    assert sink.received[-1].json()["version"] == open_run(run).version
    assert len(run.name) == 64, "the event's identity"


@pytest.mark.long("a training is stopped")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)], ids=["sigterm", "ctrl-c"])
def test_a_pipeline_that_must_make_room_leaves_a_checkpoint(
    pipeline: Pipeline, sink: LocalSink, tmp_path: Path, number: signal.Signals, code: int
):
    data = build_tiny_dataset(tmp_path / "digits")
    process = pipeline.start(data, tmp_path / "run", K_SINK=sink.url, EAVES_TRAIN_EPOCHS="100000")
    assert process.stderr is not None
    wait_until(lambda: "Training" in (process.stderr.readline() if process.stderr else ""), 100)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "error: stopped during the step train" in stderr
    assert list((tmp_path / ".run.unfinished/checkpoints").iterdir())
