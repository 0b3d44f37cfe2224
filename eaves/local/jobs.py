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
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eaves import logs
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
    "the job was killed before it could finish: memory was short, or the machine or the service that runs `eaves up` "
    "was stopped"
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
        """Return the state of the job."""
        while record := self.read():
            is_held = self.is_held()
            if is_held or "ended" in record or record == self.read():  # else it has ended between the two looks
                break
        if not record:
            return JobStatus()
        fault = record.get("fault", "") if "ended" in record else KILLED
        return JobStatus(
            state="running" if is_held else "failed" if fault else "done",
            started=record.get("started"),
            ended=record.get("ended"),
            lines=tuple(redact(line)[:MAX_LINE] for line in tail(self.log, LINES)),
            result=record.get("result", {}),
            fault="" if is_held else fault,
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

    def start(self, kind: str, **options: str) -> None:
        """Start a job.

        Args:
            kind: Key of `KINDS`.
            options: Its options, see the methods of `Work`.

        Raises:
            NotFoundError: When there is no such kind.
            ConflictError: When a job of this kind runs.
            OSError: When the state directory can't be written.
        """
        files = self._find(kind)
        lock = files.lock()
        try:
            for path in (files.log, older_file(files.log)):
                path.unlink(missing_ok=True)
            made = {"result": name_result(Path(options["artifact"]))} if "artifact" in options else {}
            files.write(started=time.time(), **made)
            words = [sys.executable, "-P", "-m", __name__, str(lock), str(self._state.root), str(self._project), kind]
            with files.log.open("ab") as stream:
                child = subprocess.Popen(
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
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError), child.stdin as stream:
                stream.write(json.dumps(options).encode())
        threading.Thread(target=child.wait, name=f"job {kind}", daemon=True).start()  # else it stays as a zombie

    def status(self, kind: str) -> JobStatus:
        """Return the state of the newest job of a kind; NotFoundError when there is no such kind."""
        return self._find(kind).status()

    def _find(self, kind: str) -> JobFiles:
        if kind not in KINDS:
            raise NotFoundError(f"there is no job {kind[:64]!r} (known: {', '.join(KINDS)})")
        return JobFiles(self._state.jobs / kind)


class Work:
    """The steps of each kind of job: words of the command `eaves`, as a person could call it in the project's folder.

    Args:
        project: The project's folder.
        state: State directory of the platform.
        options: Options of the job.
        note: Stores what the job makes: the name of a run, `run`, and the path of an artifact, `artifact`.
    """

    def __init__(
        self, project: Path, state: StateDirectory, options: Mapping[str, str], note: Callable[[Path], None]
    ) -> None:
        self._project, self._options, self._note = project, options, note
        self._review, self._place = ProjectJobs(project, state).review, ["--state", str(state.root)]

    def review(self) -> Iterator[Sequence[str]]:
        """Find what the page of labels knows besides labels."""
        folder = find_dataset(self._project)
        yield ["data", "check", *([str(folder)] if folder else []), "--review", str(self._review)]

    def collect(self) -> Iterator[Sequence[str]]:
        """Collect `wanted` images from the address or path `source`, as images without a label."""
        if (folder := find_dataset(self._project)) is None:
            raise ConfigError.single(FILE, "data.path", "must be a folder")
        yield ["data", "collect", "-", str(folder), "--images", self._options["wanted"]]

    def train(self) -> Iterator[Sequence[str]]:
        """Train a model here or, with `where` = `cluster`, in a cluster; convert it, and ask the gate about it.

        With `deploy`, a model that the gate lets pass is deployed; a refusal ends the job before.
        """
        if not (self._project / FILE).exists():
            yield ["init"]
        run = f"{read_project(self._project).get('name', 'images')}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        artifact = self._project / "artifacts" / run
        self._note(artifact)
        how = ["--on", "knative"] if self._options.get("where") == "cluster" else ["--mode", "sums"]
        yield ["train", "--run", f"runs/{run}", *how]
        yield ["convert", f"runs/{run}", "--artifact", str(artifact)]
        yield ["gate", str(artifact), *self._place]
        if "deploy" in self._options:
            yield ["deploy", str(artifact), "--canary", *self._place]

    def audit(self) -> Iterator[Sequence[str]]:
        """Judge the model that serves, and a canary, by the labelled photos of the audit sample."""
        yield ["rollout", "--audit", *self._place]

    def deploy(self) -> Iterator[Sequence[str]]:
        """Deploy the artifact at the path `artifact`: the first of a function at once, a later one as a canary."""
        yield ["deploy", self._options["artifact"], "--canary", *self._place]


def name_result(artifact: Path) -> dict[str, str]:
    """Return the name of a run and the path of its artifact, as a job's record has them."""
    return {"run": artifact.name, "artifact": str(artifact)}


KINDS = ("review", "collect", "train", "deploy", "audit")
"""Kinds of jobs, which are methods of `Work`."""


def main() -> None:
    """Run one job to its end, and store how it ended."""
    lock, root, project, kind = sys.argv[1:]
    os.nice(NICENESS)
    logs.configure(as_json=False)
    state = StateDirectory(root=Path(root))
    files = JobFiles(state.jobs / kind)
    known = files.read()

    def note(artifact: Path) -> None:
        known["result"] = name_result(artifact)
        files.write(**known)

    fault = "the job failed unexpectedly; the end of its log has the reason"
    try:
        options = json.load(sys.stdin)
        steps = getattr(Work(Path(project), state, options, note), kind)()
        fault = run_steps(steps, files, int(lock), said=options.get("source", ""))
    finally:
        files.write(**known, fault=fault, ended=time.time())


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
