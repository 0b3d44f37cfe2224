"""`eaves train --on knative` as people run it: a process here, a Job there; the laptop goes away and comes back."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import eaves
from eaves.errors import StorageError
from knative.training.run_download import copy_archive
from tests.fakes.controllers.jobs import JobPlay
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver
from tests.fakes.kubernetes.kubectl import FakeKubectl
from tests.waiting import wait_until
from trainer.run.run import Run, open_run
from trainer.run.run_location import publish
from trainer.storage import open_store

IMAGE = "registry.example/eaves-trainer@sha256:" + "1" * 64


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with open_apiserver("cloud") as running:
        yield running


@pytest.fixture
def run(tiny_run: Path) -> Run:
    return open_run(tiny_run)


class Laptop:
    """A folder with eaves.yaml, and the command run in it."""

    def __init__(self, folder: Path, fake: FakeCluster) -> None:
        self.folder, self.programs = folder, folder / "bin"
        self._kubeconfig = fake.kubeconfig(folder / "kubeconfig", namespace="lab")

    def write(self, **job: object) -> None:
        values = {
            "name": "digits",
            "data": {"path": "s3://photos/digits"},
            "train": {"arch": "small_cnn"},
            "knative": {"trainer_image": IMAGE},
            "job": job,
        }
        (self.folder / "eaves.yaml").write_text(yaml.safe_dump(values))

    def train(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(eaves.__file__).parents[1])}
        environment["PATH"] = f"{self.programs}:{environment['PATH']}"
        command = [sys.executable, "-P", "-m", "eaves.cli", "train", "--on", "knative", *words]
        return subprocess.Popen(
            [*command, "--kubeconfig", str(self._kubeconfig)],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def laptop(tmp_path: Path, fake: FakeCluster) -> Laptop:
    return Laptop(tmp_path, fake)


def made(fake: FakeCluster) -> JobPlay:
    """The one Job, once it is there."""
    jobs = wait_until(lambda: fake.all("Job"), 30, what="a Job")
    assert len(jobs) == 1
    return JobPlay(fake, jobs[0]["metadata"]["name"], namespace="lab")


def output_of(fake: FakeCluster) -> str:
    """Return the folder that the Job writes its run into."""
    arguments = fake.all("Job")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    return next(str(word).removeprefix("--output=") for word in arguments if word.startswith("--output="))


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr, stderr
    return process.returncode, stdout, stderr


@pytest.mark.long("a training is followed to its end")
def test_a_laptop_that_goes_away_and_comes_back_finds_its_training_and_the_report(
    laptop: Laptop, fake: FakeCluster, run: Run, tmp_path: Path
):
    laptop.write(output=(tmp_path / "cloud").as_uri())
    first = laptop.train()
    play = made(fake)
    pod = play.start(f"{play.name}-a")
    play.write(pod, '{"message": "Training: 1 of 4", "phase": "Training", "done": 1, "total": 4, "note": ""}')
    assert first.stderr is not None
    seen = [first.stderr.readline() for _ in range(2)]
    assert seen == [f"the Job {play.name} was created in lab of cloud\n", "Training: 1 of 4\n"]
    first.send_signal(signal.SIGINT)
    code, _, stderr = finished(first)
    assert code == 130
    message = f"error: this command no longer shows the Job {play.name}, which continues in the cluster"
    assert message in stderr
    assert "try: run the same command to show it again" in stderr

    publish(run, open_store(output_of(fake)))  # meanwhile
    play.exit(pod, 0)
    play.end()
    code, stdout, stderr = finished(laptop.train())
    assert code == 0, stderr
    assert f"the Job {play.name} exists already and has ended" in stderr
    brought = Path(stdout.strip())
    assert brought.parent == laptop.folder / "runs"
    assert open_run(brought).fingerprint == run.fingerprint
    assert f"report: {brought / 'report.html'}" in stderr
    assert len(fake.asked("PATCH", "/jobs/")) == 1


def test_a_run_on_a_volume_is_copied_by_a_pod_that_mounts_it(
    laptop: Laptop, fake: FakeCluster, run: Run, tmp_path: Path
):
    laptop.write(output_claim="models", data_claim="photos", secret="storage")
    process = laptop.train("--run", "chosen")
    play = made(fake)
    assert output_of(fake).startswith("/runs/chosen-")
    play.exit(play.start(f"{play.name}-a"), 0)
    play.end()
    pods = wait_until(lambda: [one for one in fake.all("Pod") if "-read-" in one["metadata"]["name"]], 30)
    assert pods[0]["metadata"]["ownerReferences"][0]["kind"] == "Job"
    name = pods[0]["metadata"]["name"]
    shutil.copytree(run.path, tmp_path / f"later{output_of(fake)}")
    kubectl = FakeKubectl(laptop.programs, {name: {"ROOT": str(tmp_path / "volume")}})
    fake.status("Pod", name, {"phase": "Running"}, namespace="lab")
    assert process.stderr is not None
    assert any("the run can't be copied: " in line for line in process.stderr)
    (tmp_path / "later").rename(tmp_path / "volume")
    code, stdout, stderr = finished(process)
    assert code == 0, stderr
    assert stdout.strip() == "chosen"
    assert open_run(laptop.folder / "chosen").fingerprint == run.fingerprint
    assert len(kubectl.calls) == 2
    assert [path.name for path in laptop.folder.glob(".chosen*")] == []
    assert [one for one in fake.all("Pod") if "-read-" in one["metadata"]["name"]] == []


@pytest.mark.long("a training is followed to its end")
def test_a_run_that_cannot_be_copied_is_copied_by_the_same_command_later(laptop: Laptop, fake: FakeCluster):
    laptop.write(output_claim="models", data_claim="photos")
    FakeKubectl(laptop.programs, {})
    process = laptop.train()
    play = made(fake)
    play.exit(play.start(f"{play.name}-a"), 0)
    play.end()
    pods = wait_until(lambda: [one for one in fake.all("Pod") if "-read-" in one["metadata"]["name"]], 30)
    fake.status("Pod", pods[0]["metadata"]["name"], {"phase": "Running"}, namespace="lab")
    code, _, stderr = finished(process)
    assert code == 74
    assert stderr.count("the run can't be copied: Error from server (Forbidden)") == 4
    assert stderr.endswith("try: the same command copies it again\n")


def test_a_copy_over_a_connection_that_is_dead_ends(tmp_path: Path):
    said: list[str] = []
    with pytest.raises(StorageError):
        copy_archive(["sleep", "60"], tmp_path, said.append, timeout_s=0.2)
    assert [one.partition("60']' ")[2] for one in said] == ["timed out after 0.2 seconds"] * 3
