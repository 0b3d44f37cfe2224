"""Real processes are killed: a training resumes at its step, and many pods share one pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from sklearn.datasets import load_digits

from eaves.errors import RunError
from tests.waiting import wait_until
from trainer.run.run import Run, open_run
from trainer.run.run_location import fetch_run
from trainer.storage import open_store

EPOCHS = 30
STARTED_S = 60


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, data = tmp_path_factory.mktemp("digits"), load_digits()
    for number, (pixels, label) in enumerate(zip(data.images[:240], data.target[:240], strict=True)):
        folder = root / str(label)
        folder.mkdir(exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(folder / f"{number:04d}.png")
    return root


def start(data: Path, output: str | Path, *options: str, log: Path, **environ: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "trainer", "--path", str(data), "--output", str(output), *options]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stderr=stream, stdout=stream, env=os.environ | environ)


def small(data: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    options = ("--arch", "small_cnn", "--epochs", str(EPOCHS), "--checkpoint-s", "0.05", *options)
    return start(data, output, *options, log=output.parent / f"{output.name}.log")


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


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    assert small(digits, output).wait(STARTED_S) == 0, output.with_name("run.log").read_text()
    return open_run(output)


def test_asked_to_stop_it_continues_at_its_step(digits: Path, undisturbed: Run, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = small(digits, output)
    wait_until(lambda: position(output) > (2, 0), timeout_s=STARTED_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(STARTED_S) == 75
    stopped = position(output)
    assert (2, 0) < stopped < (EPOCHS, 0)
    assert not output.exists()
    # Other settings may not go on from there, and leave it as it is.
    assert small(digits, output, "--batch-size", "16").wait(STARTED_S) == 78
    assert position(output) == stopped
    assert small(digits, output).wait(STARTED_S) == 0
    run = open_run(output)
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != ".cache") == ["run", "run.log"]
    assert history(run) == history(undisturbed)
    assert weights(run) == weights(undisturbed)
    assert run.fingerprint == undisturbed.fingerprint
    # The same training once more: nothing to do.
    before = (output / "run.json").read_bytes()
    assert small(digits, output).wait(STARTED_S) == 0
    assert "already trained" in output.with_name("run.log").read_text()
    assert (output / "run.json").read_bytes() == before
    # Another one: refused.
    assert small(digits, output, "--batch-size", "16").wait(STARTED_S) == 65


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


@pytest.mark.slow
def test_a_run_at_a_uri_survives_its_machine(digits: Path, undisturbed: Run, bucket: str, tmp_path: Path) -> None:
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
