"""Jobs as pages start them: real processes in a project's folder, some of which are killed."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.console.backend import JobStatus
from eaves.errors import ConflictError, NotFoundError, StorageError
from eaves.local.jobs import KILLED, LOG_BYTES, JobFiles, ProjectJobs, find_dataset, list_steps, run_steps
from eaves.local.state import StateDirectory
from tests.inputs.artifacts import build_tiny_dataset
from tests.inputs.pictures import picture
from tests.proc import child_pids, is_running
from tests.waiting import wait_until

CONSOLE = """
import json, signal, sys
from pathlib import Path
from eaves.local.jobs import ProjectJobs
from eaves.local.state import StateDirectory
ProjectJobs(Path.cwd(), StateDirectory(root=Path(".eaves").absolute())).start(sys.argv[1], **json.loads(sys.argv[2]))
print("started", flush=True)
signal.pause()
"""
"""A process that starts a job, as that of the console does."""
SECRET = "hunter2-secret"


class Project:
    """A project's folder without eaves.yaml, and another folder with one photo, `inbox`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox = folder, folder / "inbox"
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.inbox.mkdir()
        picture(24).save(self.inbox / "first.png")
        self.jobs = ProjectJobs(folder, StateDirectory(root=folder / ".eaves"))
        self._console: subprocess.Popen[str] | None = None

    def kill_console(self) -> None:
        if self._console is not None:
            self._console.kill()
            self._console.wait()

    def start_from_console(self, kind: str, options: str) -> int:
        """Start a job from another process; return the job's pid."""
        words = [sys.executable, "-P", "-c", CONSOLE, kind, options]
        self._console = console = subprocess.Popen(words, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        assert console.stdout is not None
        with console.stdout as said:
            assert said.readline() == "started\n"
        (job,) = child_pids(console.pid)
        return job

    def ended(self, kind: str, timeout_s: float = 30.0) -> JobStatus:
        wait_until(lambda: self.jobs.status(kind).state != "running", timeout_s, pause_s=0.05)
        return self.jobs.status(kind)

    def collected(self) -> int:
        return len([path for path in self.photos.iterdir() if path.suffix == ".png"])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    found = Project(tmp_path)
    yield found
    found.kill_console()


def test_a_job_survives_a_killed_console_and_a_new_one_finds_it(project: Project):
    assert project.jobs.status("collect") == JobStatus()
    job = project.start_from_console("collect", '{"source": "inbox", "wanted": "2"}')
    wait_until(lambda: project.collected() == 1, 20)
    project.kill_console()
    assert is_running(job)
    assert os.getpriority(os.PRIO_PROCESS, job) > os.getpriority(os.PRIO_PROCESS, 0)
    assert project.jobs.status("collect").state == "running"
    with pytest.raises(ConflictError, match="collect runs already"):
        project.jobs.start("collect", source="inbox", wanted="1")
    picture(32).save(project.inbox / "second.png")
    status = project.ended("collect")
    assert (status.state, status.fault, project.collected()) == ("done", "", 2)
    assert status.started is not None
    assert status.ended is not None
    assert status.started < status.ended
    assert any("2 of 2 images collected" in line for line in status.lines)
    with pytest.raises(NotFoundError):
        project.jobs.status("../train")


def test_a_killed_job_says_so_and_its_password_is_nowhere(project: Project):
    address = f"http://admin:{SECRET}@127.0.0.1:9/snapshot.jpg"
    job = project.start_from_console("collect", f'{{"source": "{address}", "wanted": "2"}}')
    (step,) = wait_until(lambda: child_pids(job), 20)
    wait_until(lambda: any("camera is" in line for line in project.jobs.status("collect").lines), 20)
    for pid in (job, step):
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    os.kill(step, signal.SIGSTOP)
    os.kill(job, signal.SIGKILL)
    wait_until(lambda: not is_running(job))
    assert project.jobs.status("collect").state == "running", "its step could still write"
    os.kill(step, signal.SIGCONT)
    status = project.ended("collect")  # the kernel ends the step with the job
    assert (status.state, status.fault, status.ended) == ("failed", KILLED, None)
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_a_job_whose_step_is_killed_or_refuses_says_why(project: Project):
    job = project.start_from_console("collect", '{"source": "inbox", "wanted": "2"}')
    (step,) = wait_until(lambda: child_pids(job), 20)
    os.kill(step, signal.SIGKILL)
    status = project.ended("collect")
    assert (status.state, status.fault) == ("failed", "`eaves data` was killed, perhaps because memory was short")
    project.jobs.start("collect", source=".", wanted="2")
    assert "holds the folder that gets the images" in project.ended("collect").fault
    (project.folder / "eaves.yaml").write_text("data: {path: s3://bucket/photos}")
    assert find_dataset(project.folder) is None
    project.jobs.start("collect", source="inbox", wanted="2")
    assert "data.path: must be a folder" in project.ended("collect").fault


def test_a_full_disk_keeps_a_job_from_starting_and_is_said(project: Project):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(StorageError):
            project.jobs.start("collect", source="inbox", wanted="1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert project.jobs.status("collect") == JobStatus()
    project.jobs.start("collect", source="inbox", wanted="1")
    assert project.ended("collect").state == "done"


def test_only_a_training_that_labels_have_started_may_deploy_and_only_after_the_gate(project: Project):
    state, options = StateDirectory(root=project.folder / ".eaves"), {"artifact": "artifacts/run", "where": "here"}
    (project.folder / "eaves.yaml").write_text("data: {path: photos}")
    made = {
        kind: [words[0] for words in list_steps("train", project.folder, state, options | more)]
        for kind, more in (("page", {}), ("labels", {"deploy": "yes"}))
    }
    assert made == {"page": ["train", "convert", "gate"], "labels": ["train", "convert", "gate", "deploy"]}
    steps = list(list_steps("train", project.folder, state, options | {"good": "ok"}))
    assert steps[0][-4:] == ["--task", "anomaly", "--good", "ok"]


def test_the_settings_say_which_photos_are_trained_on(project: Project):
    file, found = project.folder / "eaves.yaml", []
    for text in (
        "name: a",
        "train: {task: classify, good: ok}",
        "train: {task: anomaly}",
        "train: {task: anomaly, good: ok}",
    ):
        file.write_text(text)
        found.append(project.jobs.good)
    assert found == ["", "", "good", "ok"]


def test_the_log_of_a_job_is_bounded(project: Project):
    files = JobFiles(project.folder / "job")
    os.close(files.lock())
    with files.log.open("a") as stream:
        stream.writelines(f"line {number}\n" for number in range(LOG_BYTES // 4))
    files.write(started=0.0)
    lock = files.lock()
    try:
        assert run_steps(iter([["--version"]]), files, lock, said="") == ""
        assert sum(path.stat().st_size for path in files.folder.glob("job.log*")) <= LOG_BYTES
        assert files.status().state == "running"
    finally:
        os.close(lock)


@pytest.mark.long("a training and a conversion, as processes that load TensorFlow")
@pytest.mark.slow
def test_a_training_from_the_page_ends_with_the_answer_of_the_gate(project: Project):
    shutil.rmtree(project.photos)
    build_tiny_dataset(project.photos)
    project.start_from_console("train", '{"where": "here"}')
    wait_until(lambda: any("TensorFlow" in line for line in project.jobs.status("train").lines), 60, pause_s=0.1)
    project.kill_console()
    status = project.ended("train", 240)
    assert (status.state, status.fault) == ("done", "")
    assert (project.folder / "runs" / status.result["run"] / "run.json").is_file()
    answer = Path(f"{status.result['artifact']}.gate.json").read_text()
    assert "the model is not compared: there is no earlier model here" in answer
