"""Starts the jobs that new labels of the project's photos call for, while `eaves up` runs.

- A training, when as many photos were labelled since the last one as `retrain.labels` says, which is announced by an
  event `dev.eaves.dataset.updated.v1`, or when another program sends such an event that names this project's photos and
  `retrain.on_event` is true. The file `train.wanted` is on the disk before the sender gets an answer, and is removed
  once the training has started: a kill in between repeats a training, and never forgets one.
- A judgement by the audit sample (`eaves rollout --audit`), when its photos were labelled or another model serves or is
  tried. The judgement is about whatever is deployed when it begins.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.base.files import Stamp, find_stamp, make_directory, remove_durably, write_atomically
from eaves.config import SettingsLayer, build
from eaves.dataset_folder import is_audit
from eaves.errors import ConflictError, EavesError
from eaves.event_schemas import schema_uri
from eaves.events import DATASET_UPDATED, Event, event_id, source_uri
from eaves.labels import NOT_USABLE, LabelBook
from eaves.labels_file import Label
from eaves.local.jobs import FILE, JobFiles, ProjectJobs, find_dataset, read_project
from eaves.local.state import StateDirectory
from trainer.settings import RetrainSettings

POLL_S = 5.0
"""Interval at which labels are looked at, seconds; without a new one that is one look at a file."""
AUDIT_PAUSE_S = 60.0
"""Minimum time from one judgement by the audit sample to the next, seconds: a person who labels adds one in seconds."""

_log = logging.getLogger(__name__)


class LabelWatch:
    """Starts trainings and judgements by the audit sample.

    Args:
        project: The project's folder, in which `eaves up` was started.
        state: State directory of the platform.
        publish: Hands an event to the broker, as a program on this machine does.
        find_models: Returns the digests of the artifact that serves an app and of its canary's; empty without the app.
        clock: Clock of the intervals.
    """

    def __init__(
        self,
        project: Path,
        state: StateDirectory,
        publish: Callable[[Event], object],
        find_models: Callable[[str], Sequence[str]],
        clock: Clock = SYSTEM,
    ) -> None:
        self._project, self._state = project, state
        self._publish, self._find_models, self._clock = publish, find_models, clock
        self._jobs = ProjectJobs(project, state)
        self._wanted = state.jobs / "train.wanted"
        self._stamp: Stamp | None = None
        self._values: Mapping[str, Any] = {}
        self._book: LabelBook | None = None
        self._next = self._rested = 0.0
        self._judged: tuple[object, ...] = ()
        self._fault = ""

    def look(self) -> None:
        """Start what is due; a fault of the project's files is logged once. The supervisor calls this every second."""
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + POLL_S
        if (stamp := find_stamp(self._project / FILE)) != self._stamp:  # it takes some milliseconds to read
            self._stamp, self._values, folder = stamp, read_project(self._project), find_dataset(self._project)
            self._book = LabelBook(folder) if self._values and folder else None  # no settings: it can't be read now
        if self._book is None:
            return
        fault = ""
        try:
            labels = self._book.labels()
            self._train(self._book.folder, labels)
            self._judge(labels)
        except (EavesError, OSError) as error:
            fault = str(error)
        if fault and fault != self._fault:
            _log.warning("labels start no job: %s", fault)
        self._fault = fault

    def note(self, event: Event) -> None:
        """Note that an accepted event wants a training, if it may; this is on the disk when the method returns.

        Raises:
            OSError: When it can't be written.
        """
        named, folder = None, find_dataset(self._project)
        try:
            if folder is None or not parse_settings(read_project(self._project)).on_event:
                return
            named = dict(event.json()).get("dataset")
        except (EavesError, ValueError, TypeError):  # a fault in eaves.yaml, or other data
            pass
        if folder is None or named != folder.absolute().as_uri():
            _log.info("event %s starts no training: it names %.200r and not %s", event.id[:64], named, folder)
            return
        self._want()

    def _want(self) -> None:
        make_directory(self._state.jobs)
        write_atomically(self._wanted, b"")

    def _train(self, folder: Path, labels: Mapping[str, Label]) -> None:
        settings = parse_settings(self._values)
        started = float(JobFiles(self._state.jobs / "train").read().get("started", 0.0))
        since = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        new = sorted(line.when for line in labels.values() if line.when > since and is_trained_on(line))
        if settings.labels and len(new) >= settings.labels and not self._wanted.exists():
            self._publish(self._announce(folder.absolute(), len(new), new[-1]))
            self._want()
        options = {"deploy": "yes"} if settings.deploy else {}
        if self._wanted.exists() and self._start("train", where="here", **options):
            remove_durably(self._wanted)

    def _announce(self, folder: Path, new: int, newest: str) -> Event:
        source = source_uri(str(self._values.get("site", "home")), str(self._values.get("name", "images")))
        return Event(
            id=event_id(source, f"{folder} {newest}"),
            source=source,
            type=DATASET_UPDATED,
            data=json.dumps({"dataset": folder.as_uri(), "labels": new}).encode(),
            datacontenttype="application/json",
            dataschema=schema_uri(DATASET_UPDATED),
            subject=folder.name,
        )

    def _judge(self, labels: Mapping[str, Label]) -> None:
        audited = [(file, one.label) for file, one in labels.items() if is_audit(file) and is_class(one.label)]
        models = self._find_models(str(self._values.get("name", "images")))
        due = (*audited, *models)
        is_due = audited and models and due != self._judged and self._clock.monotonic() >= self._rested
        if is_due and self._start("audit"):
            self._judged, self._rested = due, self._clock.monotonic() + AUDIT_PAUSE_S

    def _start(self, kind: str, **options: str) -> bool:
        """Start a job; return False when one of the kind runs, so that the next look tries again."""
        try:
            self._jobs.start(kind, **options)
        except ConflictError:
            return False
        return True


def parse_settings(values: Mapping[str, Any]) -> RetrainSettings:
    """Parse the section `retrain` of a project's settings; a ConfigError has its faults."""
    return build(RetrainSettings, SettingsLayer(origin=FILE, values=values.get("retrain") or {}))


def is_trained_on(line: Label) -> bool:
    """Return whether a photo with this label is trained on or held out."""
    return is_class(line.label) and not is_audit(line.file)


def is_class(label: str) -> bool:
    """Return whether a label is the name of a class."""
    return label not in ("", NOT_USABLE)
