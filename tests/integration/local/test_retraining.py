"""What labels start by themselves while `eaves up` runs: trainings, and judgements of a canary by the audit sample."""

import itertools
import json
from pathlib import Path

import pytest

from eaves.artifact.store import LABELS
from eaves.events import DATASET_UPDATED, Event
from eaves.labels import LabelBook
from eaves.local.jobs import ProjectJobs
from eaves.local.retraining import LabelWatch
from eaves.local.state import StateDirectory
from eaves.rollout import RolloutReport, RolloutSettings
from tests.contract.harness import LocalHarness, status_of
from tests.fakes.clock import ManualClock
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.integration.local.apps import COLOURS_NAME as NAME
from tests.integration.local.apps import colours_app
from tests.waiting import wait_until

SLOW = RolloutSettings(steps=("50",), step_s=1, min_requests=10_000)
"""Settings with which no step ends within a test."""
COUNTS = "retrain: {labels: 3}\n"


class Project:
    """A project whose photos are in the folder `my photos`."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        (folder / "eaves.yaml").write_text(f"name: {NAME}\nsite: test\ndata: {{path: my photos}}\n{settings}")
        self.state = StateDirectory(root=folder / ".eaves")
        self.book = LabelBook(folder / "my photos")
        self.clock, self._numbers = ManualClock(), itertools.count()
        self.published: list[Event] = []
        self.watch = self.open_watch()

    def open_watch(self) -> LabelWatch:
        return LabelWatch(self.folder, self.state, self.published.append, lambda name: [], self.clock)

    def label(self, count: int = 1, *, audit: bool = False) -> None:
        for _ in range(count):
            data = encode_png(COLOURS["red"], (8, 9 + next(self._numbers)))
            self.book.put({self.book.add_photo("photo.png", data, audit=audit): "red"}, who="ann")

    def look(self) -> None:
        self.clock.turn(60)
        self.watch.look()

    def trainings(self) -> float | None:
        return ProjectJobs(self.folder, self.state).status("train").started


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_labels_that_reach_the_count_are_announced_and_trained_on_once(tmp_path: Path):
    project = Project(tmp_path, COUNTS)
    project.label(2)
    project.label(4, audit=True)
    project.look()
    assert project.published == [], "photos that only judge don't count"
    project.label()
    project.look()
    (event,) = project.published
    assert (event.type, event.source) == (DATASET_UPDATED, "/eaves/test/colours")
    assert json.loads(event.data) == {"dataset": (tmp_path / "my photos").as_uri(), "labels": 3}
    started = project.trainings()
    assert started is not None
    wait_until(lambda: ProjectJobs(tmp_path, project.state).status("train").state != "running", 60)
    project.published.clear()
    project.look()
    assert (project.trainings(), project.published) == (started, []), "the labels were trained on"


@pytest.mark.parametrize(
    ("settings", "data", "trains"),
    [
        ("", {"dataset": "OWN"}, False),
        (COUNTS, {"dataset": "OWN"}, False),
        ("retrain: {on_event: true}", {"dataset": "OWN"}, True),
        ("retrain: {on_event: true}", {"dataset": "file:///etc"}, False),
        ("retrain: {on_event: true}", {"dataset": "s3://bucket/photos"}, False),
        ("retrain: {on_event: true}", ["OWN"], False),
        ("retrain: {on_event: maybe}", {"dataset": "OWN"}, False),
    ],
)
def test_an_event_of_another_program_trains_on_the_projects_own_photos_only(
    tmp_path: Path, settings: str, data: object, trains: bool
):
    project = Project(tmp_path, settings)
    text = json.dumps(data).replace("OWN", (tmp_path / "my photos").as_uri())
    project.watch.note(Event(id="1", source="/x", type=DATASET_UPDATED, data=text.encode()))
    project.watch = project.open_watch()  # `eaves up` was killed before it began
    project.look()
    assert (project.trainings() is not None) == trains


def test_a_training_that_is_wanted_waits_until_eaves_yaml_can_be_read(tmp_path: Path):
    project = Project(tmp_path, "retrain: {on_event: true}")
    data = json.dumps({"dataset": (tmp_path / "my photos").as_uri()}).encode()
    project.watch.note(Event(id="1", source="/x", type=DATASET_UPDATED, data=data))
    settings = (tmp_path / "eaves.yaml").read_text()
    (tmp_path / "eaves.yaml").write_text(settings + "[")
    project.look()
    assert project.trainings() is None
    (tmp_path / "eaves.yaml").write_text(settings)
    project.look()
    assert project.trainings() is not None


def test_a_label_of_the_audit_sample_that_is_taken_back_leads_to_another_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project, begun = Project(tmp_path), list[str]()
    monkeypatch.setattr(ProjectJobs, "start", lambda _, kind: begun.append(kind))
    project.watch = LabelWatch(tmp_path, project.state, project.published.append, lambda name: ["1"], project.clock)
    project.label(2, audit=True)
    project.look()
    project.look()
    assert begun == ["audit"], "nothing has changed"
    first = min(project.book.photos(), key=lambda photo: photo.when)
    project.book.put({first.file: ""}, who="ann")
    project.look()
    assert begun == ["audit"] * 2


@pytest.mark.long("a platform and two functions start, and a job judges both models")
def test_a_canary_is_rolled_back_by_audit_images_that_people_label_meanwhile(harness: LocalHarness, tmp_path: Path):
    def swap(at: Path) -> None:
        (at / LABELS).write_text("green\nblue\nred\n")

    project = Project(tmp_path)
    old = write_graph_artifact(tmp_path / "1", version="1")
    new = write_graph_artifact(tmp_path / "2", version="2", change=swap, labels=("green", "blue", "red"))
    harness.start()
    harness.platform.deploy(colours_app(old))
    harness.platform.deploy(colours_app(new), canary=SLOW)

    def rollout() -> RolloutReport:
        found = status_of(harness.platform).rollout
        assert found is not None
        return found

    wait_until(lambda: rollout().revisions[0].percent == 50, 30, what="the first share")
    labels = {}
    for number, label in enumerate(["blue"] * 8 + ["green"] * 8 + ["red"] * 2):
        data = encode_png(COLOURS[label], (20 + number, 12))
        labels[project.book.add_photo("photo.png", data, audit=True)] = label
    for file, label in labels.items():
        project.book.put({file: label}, who="ann")
    wait_until(lambda: rollout().phase == "rolled-back", 60, what="the judgement")
    reason = rollout().reason
    assert reason.startswith(
        "on 18 audit images the new model is wrong on 16 that the old one answered rightly, and right on 0"
    )
    assert {one.revision: one.percent for one in rollout().revisions}[old.digest[:12]] == 100
    assert status_of(harness.platform).audit.startswith("right on 18 of 18 audit images (")
    harness.kill()
    harness.start()
    assert rollout().reason == reason
