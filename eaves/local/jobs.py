"""Jobs: work that a page of the console starts, as a process in the project's folder.

The process survives the console's, which ends when nobody looks, and a new console finds it again. Each kind of job has
a folder in the state directory with its newest job: `job.json`, which says when it began, what it makes and how it
ended, `job.log`, and `job.lock`, which the processes of the job hold as long as one of them runs. The kernel releases
the lock, so a job that was killed is known from its lock and from the end that is missing in `job.json`.

It is `python -P -m eaves.local.jobs LOCK STATE PROJECT KIND`: the number of the locked file, which it inherits, the
platform's state directory, the project's folder and the kind of job. Its options are JSON on the standard input,
because the address of a camera may hold a password, and every user of a machine may read command lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eaves import logs
from eaves.artifact.manifest import ANOMALY
from eaves.base.disk_errors import disk_errors
from eaves.base.files import make_directory, write_atomically
from eaves.base.locks import take_lock
from eaves.config.yaml_text import load_yaml
from eaves.console.backend import JobStatus
from eaves.errors import ConfigError, ConflictError, EavesError, NotFoundError, RefusedModelError
from eaves.local.processes.logs import older_file, rotate, tail
from eaves.local.processes.steps import run_step
from eaves.local.state import StateDirectory
from eaves.redact import redact
from trainer.lifecycle import stop_on_signals
from trainer.settings import TrainSettings

FILE = "eaves.yaml"
DATA = "photos"
"""Folder of labelled images of a project without eaves.yaml, as `eaves init` writes it."""
LOG_BYTES = 1_000_000
"""Maximum size of a job's log in both of its files together, bytes."""
LINES, MAX_LINE = 20, 500
"""Number of a log's last lines that a status has, and the maximum number of characters of one."""
NICENESS = 10
"""Niceness of a job, in addition to that of the console: predictions come first."""
KILLED = (
    "the job was killed before it could finish: memory or the disk was short, or the machine or the service that runs "
    "`eaves up` was stopped"
)


def read_project(project: Path) -> Mapping[str, Any]:
    """Return the settings in a project's eaves.yaml as texts; empty without the file, or when it can't be read.

    The commands of a job check the file and say what is wrong with it.
    """
    with contextlib.suppress(OSError, ValueError):
        values = load_yaml((project / FILE).read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    return {}


def find_dataset(project: Path) -> Path | None:
    """Return a project's folder of labelled images, which may not exist yet; None when they aren't in a folder."""
    data = read_project(project).get("data")
    place = str(data.get("path", DATA) if isinstance(data, dict) else DATA)
    return None if "://" in place or (project / place).is_file() else project / place


class JobFiles:
    """The files of the newest job of one kind.

    Args:
        folder: Their folder.

    Attributes:
        folder: Their folder.
        log: Log of the job.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "job.log"
        self._record = folder / "job.json"
        self._lock = folder / "job.lock"

    def lock(self) -> int:
        """Return the descriptor of the lock file, locked; closing it in all processes that inherit it releases it.

        Raises:
            ConflictError: When a job holds the lock.
            OSError: When the file can't be made.
        """
        make_directory(self.folder)
        while (handle := take_lock(self._lock, wait=False)) is None:
            if self.is_held():  # else another thread has just looked
                kind = self.folder.name
                raise ConflictError(f"a job of the kind {kind} runs already", hint="wait until it has ended")
        return handle

    def is_held(self) -> bool:
        """Return whether a process of the job runs. Those who look share the lock, so they don't see each other."""
        handle = take_lock(self._lock, wait=False, shared=True)
        if handle is not None:
            os.close(handle)
        return handle is None

    def read(self) -> dict[str, Any]:
        """Return what is known of the job; empty when there is none, or when the file can't be read."""
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(self._record.read_text(encoding="utf-8"))
            return record if isinstance(record, dict) else {}
        return {}

    def write(self, **record: Any) -> None:
        """Store what is known of the job, durably. The caller holds the lock."""
        write_atomically(self._record, json.dumps(record), sole_writer=True)

    def status(self) -> JobStatus:
        """Return the state of the job. No other job starts while its record is read."""
        if not (record := self.read()):
            return JobStatus()
        handle = take_lock(self._lock, wait=False, shared=True)
        if handle is not None:
            record = self.read()
            os.close(handle)
        fault = "" if handle is None else record.get("fault", KILLED)
        return JobStatus(
            state="running" if handle is None else "failed" if fault else "done",
            started=record.get("started"),
            ended=record.get("ended"),
            lines=tuple(redact(line)[:MAX_LINE] for line in tail(self.log, LINES)),
            result=record.get("result", {}),
            fault=fault,
        )


class ProjectJobs:
    """The jobs of one project. Implements `eaves.console.backend.Jobs`; threads and processes may share them.

    Args:
        project: The project's folder, in which `eaves up` was started.
        state: State directory of the platform.

    Attributes:
        review: File that a job of the kind `review` writes.
    """

    def __init__(self, project: Path, state: StateDirectory) -> None:
        self._project = project
        self._state = state
        self.review = state.jobs / "review" / "review.json"

    @property
    def places(self) -> Sequence[str]:
        """Places where a model can be trained: `here`, and `cluster` if eaves.yaml has a section `job`."""
        return ("here", "cluster") if "job" in read_project(self._project) else ("here",)

    @property
    def good(self) -> str:
        """Class of the good photos that alone are trained on, by eaves.yaml; empty when it has another task."""
        values = read_project(self._project).get("train")
        if not isinstance(values, dict) or values.get("task") != ANOMALY:
            return ""
        return str(values.get("good", TrainSettings().good))

    def start(self, kind: str, **options: str) -> None:
        """Start a job.

        Args:
            kind: Key of `KINDS`.
            options: Its options, see `list_steps`.

        Raises:
            NotFoundError: When there is no such kind.
            ConflictError: When a job of this kind runs.
            StorageError: When the disk is full, or the state directory can't be written.
        """
        files = self._find(kind)
        with disk_errors(self._state.root):
            child = self._run(files, options)
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError), child.stdin as stream:
                stream.write(json.dumps(options).encode())
        threading.Thread(target=child.wait, name=f"job {kind}", daemon=True).start()  # else it stays as a zombie

    def _run(self, files: JobFiles, options: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the process of a job, which completes `options`."""
        kind = files.folder.name
        lock = files.lock()
        try:
            for path in (files.log, older_file(files.log)):
                path.unlink(missing_ok=True)
            if kind == "train":
                run = f"{read_project(self._project).get('name', 'images')}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
                options["artifact"] = str(self._project / "artifacts" / run)
            artifact = options.get("artifact", "")
            result = {"run": Path(artifact).name, "artifact": artifact} if artifact else {}
            files.write(started=time.time(), result=result)
            words = [sys.executable, "-P", "-m", __name__, str(lock), str(self._state.root), str(self._project), kind]
            with files.log.open("ab") as stream:
                return subprocess.Popen(
                    words,
                    cwd=self._project,
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    pass_fds=[lock],
                    start_new_session=True,
                )
        finally:
            os.close(lock)

    def status(self, kind: str) -> JobStatus:
        """Return the state of the newest job of a kind; NotFoundError when there is no such kind."""
        return self._find(kind).status()

    def _find(self, kind: str) -> JobFiles:
        if kind not in KINDS:
            raise NotFoundError(f"there is no job {kind[:64]!r} (known: {', '.join(KINDS)})")
        return JobFiles(self._state.jobs / kind)


def list_steps(kind: str, project: Path, state: StateDirectory, options: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Yield the steps of a job: words of the command `eaves`, as a person could call it in the project's folder.

    Args:
        kind: Kind of the job. `review` finds what the page of labels knows besides labels; `collect` collects images
            without a label; `train` trains a model, converts it and asks the gate about it; `deploy` deploys an
            artifact, the first of a function at once and a later one as a canary; `audit` judges the model that serves,
            and a canary, by the audit sample.
        project: The project's folder.
        state: State directory of the platform.
        options: For `collect`, the number of images `wanted`; for `train`, the place `where`, the class `good` if only
            its photos are to be trained on, and `deploy` if a model that the gate lets pass is to be deployed; for
            `train` and `deploy`, the path of the `artifact`.
    """
    folder, artifact, place = find_dataset(project), options.get("artifact", ""), ["--state", str(state.root)]
    review = ["--review", str(ProjectJobs(project, state).review)]
    if kind == "review":
        yield ["data", "check", *([str(folder)] if folder else []), *review]
    elif kind == "collect":
        if folder is None:
            raise ConfigError.single(FILE, "data.path", "must be a folder")
        yield ["data", "collect", "-", str(folder), "--images", options["wanted"]]
    elif kind == "train":
        if not (project / FILE).exists():
            yield ["init"]
        run, is_later = f"runs/{Path(artifact).name}", folder is not None and bool(state.read_specs()[0])
        if is_later:  # the gate compares new labels with those of the model that serves
            yield ["data", "check", str(folder), *review]
        how = ["--on", "knative"] if options.get("where") == "cluster" else ["--mode", "sums"]
        task = ["--task", ANOMALY, "--good", options["good"]] if options.get("good") else []
        yield ["train", "--run", run, *how, *task]
        yield ["convert", run, "--artifact", artifact]
        yield ["gate", artifact, *(review if is_later else []), *place]
        if "deploy" in options:  # a refusal has ended the job
            yield ["deploy", artifact, "--canary", *place]
    elif kind == "audit":
        yield ["rollout", "--audit", *place]
    else:
        yield ["deploy", artifact, "--canary", *place]


KINDS = ("review", "collect", "train", "deploy", "audit")
"""Kinds of jobs, see `list_steps`."""


def main() -> None:
    """Run one job to its end, and store how it ended."""
    lock, root, project, kind = sys.argv[1:]
    os.nice(NICENESS)
    logs.configure(as_json=False)
    state = StateDirectory(root=Path(root))
    files = JobFiles(state.jobs / kind)
    fault = "the job failed unexpectedly; the end of its log has the reason"
    try:
        options = json.load(sys.stdin)
        steps = list_steps(kind, Path(project), state, options)
        fault = run_steps(steps, files, int(lock), said=options.get("source", ""))
    finally:
        files.write(**files.read(), fault=fault, ended=time.time())


def run_steps(steps: Iterator[Sequence[str]], files: JobFiles, lock: int, *, said: str) -> str:
    """Run the steps of a job one after the other; return why one failed, empty when all are done."""
    step = ""
    with stop_on_signals() as stop:
        try:
            for words in steps:
                step = f"eaves {words[0]}"
                run_step(
                    step,
                    ["eaves.cli", *words],
                    stop,
                    said=said,
                    pass_fds=[lock],  # the job runs until all of its processes have ended
                    watch=lambda: rotate(files.folder, max_bytes=LOG_BYTES),
                )
        except EavesError as error:
            return error.message
        except SystemExit as end:
            code = int(end.code or 0)
            return "" if code == RefusedModelError.exit_code else explain_end(step, code, files.status().lines)
    return ""


def explain_end(step: str, code: int, lines: Sequence[str]) -> str:
    """Return why a step failed: the error that it printed, else the signal that ended it, or its exit code."""
    if code == 128 + signal.SIGKILL:
        return f"`{step}` was killed, perhaps because memory was short"
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else f"`{step}` failed with exit code {code}"


if __name__ == "__main__":
    main()
