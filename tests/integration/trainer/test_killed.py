"""Real processes are killed: a training resumes at its step, and pods that share its images at their parts."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from sklearn.datasets import load_digits

from eaves.errors import ConfigError, RunError
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from tests.waiting import wait_until
from trainer.model.feature_sums import FeatureSums
from trainer.model.sum_parts import PLAN
from trainer.progress import SILENT
from trainer.run.run import Run, open_run
from trainer.run.run_location import fetch_run
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import open_store
from trainer.train import train, train_in_parts

EPOCHS = 8
STARTED_S = 120


def start(data: Path, output: str | Path, *options: str, log: Path, **environ: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "trainer", "--path", str(data), "--output", str(output), *options]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stderr=stream, stdout=stream, env=os.environ | environ)


def settings(**values: object) -> TrainSettings:
    values = {"arch": "small_cnn", "epochs": EPOCHS, "checkpoint_s": 0.05, **values}
    return settings_from(TrainSettings, values)


def position(output: Path) -> tuple[int, int]:
    """(epoch, step) of the last checkpoint; (-1, 0) when there is none."""
    latest = output.parent / f".{output.name}.unfinished" / "checkpoints" / "latest.npz"
    try:
        with np.load(latest) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
    except FileNotFoundError:
        return -1, 0
    return meta["epoch"], meta["step"]


def weights(run: Run) -> str:
    return str(run.files["model/variables/variables.data-00000-of-00001"]["sha256"])


def history(run: Run) -> Any:
    return json.loads((run.path / "history.json").read_text())


def train_undisturbed(root: Path) -> Path:
    """Train on digits, `root`/digits, to `root`/run; returns `root`."""
    data = load_digits()
    for number, (pixels, label) in enumerate(zip(data.images[:240], data.target[:240], strict=True)):
        folder = root / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(folder / f"{number:04d}.png")
    train(DataSettings(path=root / "digits"), settings(), root / "run")
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once_here(tmp_path_factory, "undisturbed", train_undisturbed) / "digits"


@pytest.fixture(scope="module")
def undisturbed(digits: Path) -> Run:
    return open_run(digits.parent / "run")


@pytest.mark.long("a model is trained in two processes")
def test_asked_to_stop_it_continues_at_its_step(
    digits: Path, undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    data, output = DataSettings(path=digits), tmp_path / "run"
    options = ("--arch", "small_cnn", "--epochs", str(EPOCHS), "--checkpoint-s", "0.05")
    process = start(digits, output, *options, log=tmp_path / "run.log")
    wait_until(lambda: position(output) > (2, 0), timeout_s=STARTED_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(STARTED_S) == 75
    stopped = position(output)
    assert (2, 0) < stopped < (EPOCHS, 0)
    assert not output.exists()
    # Other settings may not go on from there, and leave it as it is.
    with pytest.raises(ConfigError, match="batch_size"):
        train(data, settings(batch_size=16), output)
    assert position(output) == stopped
    run = train(data, settings(), output)
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != ".cache") == ["run", "run.log"]
    assert history(run) == history(undisturbed)
    assert weights(run) == weights(undisturbed)
    assert run.fingerprint == undisturbed.fingerprint
    # The same training once more: nothing to do.
    before = (output / "run.json").read_bytes()
    with caplog.at_level(logging.INFO):
        assert train(data, settings(), output) == run
    assert "already trained" in caplog.text
    assert (output / "run.json").read_bytes() == before
    # Another one: refused.
    with pytest.raises(RunError):
        train(data, settings(batch_size=16), output)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a real S3 endpoint over HTTP."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    files.makedirs("bucket", exist_ok=True)
    yield "s3://bucket/runs"
    files.clear_instance_cache()
    server.stop()


@pytest.mark.long("a training is killed and continues")
@pytest.mark.slow
def test_a_run_at_a_uri_survives_its_machine(digits: Path, undisturbed: Run, bucket: str, tmp_path: Path):
    output, options = f"{bucket}/alone", ("--arch", "small_cnn", "--epochs", str(EPOCHS), "--checkpoint-s", "0")
    store = open_store(output)

    def on_machine(number: int) -> subprocess.Popen[bytes]:
        work = str(tmp_path / f"machine-{number}")
        return start(digits, output, *options, "--work", work, log=tmp_path / f"{number}.log")

    process = on_machine(1)
    wait_until(lambda: store.exists("checkpoints/latest.npz"), timeout_s=STARTED_S)
    process.kill()
    process.wait()
    with pytest.raises(RunError, match=r"is not a run: it has no run.json"):
        fetch_run(store, tmp_path / "fetched")
    assert on_machine(2).wait(STARTED_S) == 0, (tmp_path / "2.log").read_text()
    run = fetch_run(store, tmp_path / "fetched")
    assert set(store.list()) == {*run.files, "run.json"}
    assert weights(run) == weights(undisturbed)
    assert on_machine(3).wait(STARTED_S) == 0
    assert "already trained" in (tmp_path / "3.log").read_text()


SUMS = {"mode": "sums", "arch": "mobilenet_v3_small", "weights": "none", "image_size": 32, "val_fraction": 0.45}
ANOMALY = {"task": "anomaly", "good": "1", "image_size": 64}


@pytest.mark.long("trainings in two processes are killed, and one continues beside this one")
@pytest.mark.parametrize("values", [SUMS, pytest.param(ANOMALY, marks=pytest.mark.slow)], ids=["sums", "anomaly"])
def test_pods_that_share_the_images_make_the_run_of_one(digits: Path, tmp_path: Path, values: dict[str, object]):
    data, made = DataSettings(path=digits, near_copies="off"), settings_from(TrainSettings, values)
    work, output = tmp_path / "work", tmp_path / "runs/run"
    plan = tmp_path / "runs/.run.unfinished/checkpoints" / PLAN
    options = [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]

    def pod(index: int) -> tuple[subprocess.Popen[bytes], Path]:
        words = [*options, "--near-copies=off", "--parts=2", f"--work={work}"]
        log = tmp_path / f"{index}.log"
        return start(digits, output, *words, log=log, JOB_COMPLETION_INDEX=str(index)), log

    def written(log: Path, text: str) -> None:
        wait_until(lambda: text in log.read_text(), STARTED_S, what=f"{text} in {log}")

    (first, first_log), (second, second_log) = pod(0), pod(1)
    written(second_log, "Backbone pass")
    second.kill()
    written(first_log, "Adding the sums of all pods")
    first.kill()
    for process in (first, second):
        process.wait()
    other, other_log = pod(1)
    assert train_in_parts(data, made, output, None, SILENT, work, None, 1, 2) is None
    run = train_in_parts(data, made, output, None, SILENT, work, None, 0, 2)
    assert run is not None
    assert other.wait(STARTED_S) == 0, other_log.read_text()
    assert not plan.parent.exists()
    assert train_in_parts(data, made, output, None, SILENT, work, None, 1, 2) is None, "a pod that starts too late"

    alone = train(data, made, tmp_path / "alone/run", cache=work)
    mine, theirs = (FeatureSums.from_bytes((one.path / "sums.npz").read_bytes(), "sums") for one in (run, alone))
    assert mine.groups == theirs.groups
    for found, expected in zip(mine.moments(), theirs.moments(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    if values is SUMS:
        for found, expected in zip(*(asdict(sums.solve((1.0,))[1]).values() for sums in (mine, theirs)), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    answers = [(one.path / "held_out.jsonl").read_text().splitlines() for one in (run, alone)]
    for line, other in zip(*answers, strict=True):
        found, expected = json.loads(line), json.loads(other)
        assert found.pop("score") == pytest.approx(expected.pop("score"), abs=1e-5)
        assert found == expected
