"""Trainings in a cluster: a Job that somebody asks for, and one that an event does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.events import DATASET_UPDATED, Event
from knative.client.kinds import BROKER, JOB, JOB_SINK, POD, TRIGGER
from knative.resources.metadata import APP_LABEL
from knative.training.job_follower import find_ending, pods_of
from tests.e2e.harness import is_ready
from tests.e2e.places import NAME, Place
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until

SMALL = {"cpu": "100m", "memory": "512Mi"}

pytestmark = pytest.mark.timeout(900)
TRAIN = {"arch": "small_cnn", "epochs": 4, "image_size": 16, "batch_size": 8}
JOB_SETTINGS = {
    "data_claim": "data", "output_claim": "runs", "pod": {"resources": {"requests": SMALL}},
    "work_size": "1Gi", "retries": 1,
}  # fmt: skip
LOOK = "import os, json; print(json.load(open(os.environ['K_EVENT_PATH'] + '/event'))['data']['dataset'])"
"""What a Job does in place of a training: it reads the event as the trainer would."""


@pytest.fixture
def images(place: Place, image: str, tmp_path: Path) -> None:
    """A volume with labelled images, another for runs."""
    root = build_tiny_dataset(tmp_path / "images")
    make_claim(place.cluster, "data")
    make_claim(place.cluster, "runs")
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.glob("*/*.png"))}
    put_files(place.cluster, claimed("data"), files, image)


def publish_update(place: Place, number: int) -> None:
    """Say that a data set has changed."""
    data = json.dumps({"dataset": "file:///data"}).encode()
    event = Event(
        id=f"change-{number}", source="/test", type=DATASET_UPDATED, datacontenttype="application/json", data=data
    )
    place.platform.publish(event)


def apply_jobsink(place: Place, change: Mapping[str, Any] | None = None) -> None:
    """What `eaves render --training jobsink` writes, applied as kubectl would, and the Broker before it."""
    broker = {"apiVersion": BROKER.api_version, "kind": BROKER.kind, "metadata": {"name": "eaves"}, "spec": {}}
    place.cluster.apply(broker, manager="kubectl")
    place.eaves("render", "--training", "jobsink", "--output", "rendered")
    for path in sorted((place.folder / "rendered").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        if manifest["kind"] == JOB_SINK.kind and change:
            (container,) = manifest["spec"]["job"]["spec"]["template"]["spec"]["containers"]
            container |= change
        place.cluster.apply(manifest, manager="kubectl")
    wait_until(lambda: _are_ready(place), 120, pause_s=0.5, what="Broker, Trigger and JobSink")


def _are_ready(place: Place) -> bool:
    objects = [one for kind in (BROKER, TRIGGER, JOB_SINK) for one in place.cluster.list(kind)]
    return len(objects) == 3 and all(is_ready(one) for one in objects)


def jobs(place: Place) -> list[dict[str, Any]]:
    """Every training here."""
    return place.cluster.list(JOB, selector=f"{APP_LABEL}={NAME}")


def finished(place: Place, count: int, timeout_s: float = 600) -> list[dict[str, Any]]:
    """So many Jobs, once all have ended."""

    def all_ended() -> bool:
        found = jobs(place)
        return len(found) >= count and all(map(find_ending, found))

    wait_until(all_ended, timeout_s, pause_s=1, what=f"the end of {count} Jobs")
    found = jobs(place)
    assert [find_ending(one) for one in found] == ["Complete"] * count, [one["status"] for one in found]
    return found


@pytest.mark.usefixtures("images")
def test_a_training_runs_as_a_job_to_its_end_and_its_run_comes_here(place: Place, trainer_image: str) -> None:
    place.configure(train=TRAIN, job=JOB_SETTINGS, knative={"trainer_image": trainer_image})
    first = place.eaves("train", "--on", "knative")
    run = Path(first.stdout.strip())
    assert run.joinpath("report.html").is_file()
    assert json.loads(run.joinpath("metrics.json").read_text())["val_accuracy"] >= 0.0
    (job,) = finished(place, 1)
    (pod,) = pods_of(place.cluster, job)
    assert pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] is True
    again = place.eaves("train", "--on", "knative")
    assert "exists already" in again.stderr
    assert again.stdout == first.stdout
    assert [one["metadata"]["uid"] for one in jobs(place)] == [job["metadata"]["uid"]]


@pytest.mark.usefixtures("images")
def test_an_event_of_a_changed_data_set_trains_once_however_often_it_comes(place: Place, trainer_image: str) -> None:
    place.configure(
        train=TRAIN,
        job=JOB_SETTINGS,
        data={"allowed_prefixes": ["file:///data"]},
        knative={"trainer_image": trainer_image},
    )
    apply_jobsink(place)
    for _ in range(2):
        publish_update(place, 1)
    (job,) = finished(place, 1)
    (pod,) = pods_of(place.cluster, job)
    assert any("this model " in line for line in place.cluster.logs(pod["metadata"]["name"]))
    publish_update(place, 1)  # after its end too
    publish_update(place, 2)
    assert len(finished(place, 2)) == 2
    assert len(place.cluster.list(POD, selector=f"{APP_LABEL}={NAME}")) == 2


@pytest.mark.usefixtures("images")
def test_an_event_reaches_a_job_of_its_own_through_broker_trigger_and_jobsink(place: Place, image: str) -> None:
    """The way without a training on it, for those who have no trainer's container image."""
    place.configure(
        train=TRAIN, job=JOB_SETTINGS, data={"allowed_prefixes": ["file:///data"]}, knative={"trainer_image": image}
    )
    apply_jobsink(place, {"command": ["python", "-I", "-c", LOOK], "args": []})
    for number in (1, 1, 2):
        publish_update(place, number)
    said = {
        line
        for job in finished(place, 2, 180)
        for pod in pods_of(place.cluster, job)
        for line in place.cluster.logs(pod["metadata"]["name"])
    }
    assert said == {"file:///data"}
    assert len(jobs(place)) == 2
