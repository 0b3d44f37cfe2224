"""Trainings in a cluster: a Job that somebody asks for, also one whose pod is lost, and one that an event makes.

`--trainer-image`: what `make image` builds for the trainer, at a registry that the cluster pulls from.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.events import DATASET_UPDATED, Event
from knative.client.kinds import BROKER, JOB, JOB_SINK, POD, TRIGGER
from knative.resources.metadata import APP_LABEL
from knative.status.conditions import condition
from knative.training.job_follower import find_ending, pods_of
from tests.e2e.harness import is_ready
from tests.e2e.places import NAME, Place
from tests.e2e.pods import apply
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("images")]
TRAIN: dict[str, Any] = {"arch": "small_cnn", "epochs": 4, "image_size": 16, "batch_size": 8}
LOOK = "import os, json; print(json.load(open(os.environ['K_EVENT_PATH'] + '/event'))['data']['dataset'])"
"""What a Job does in place of a training: it reads the event as the trainer would."""


@pytest.fixture
def images(place: Place, image: str, tmp_path: Path) -> None:
    """A volume with labelled images, another for runs."""
    root = build_tiny_dataset(tmp_path / "images")
    for claim in ("data", "runs"):
        make_claim(place.cluster, claim)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.glob("*/*.png"))}
    put_files(place.cluster, claimed("data"), files, image)


def configure(place: Place, trainer_image: str, **train: Any) -> None:
    job = {
        "data_claim": "data", "output_claim": "runs", "work_size": "1Gi", "retries": 1,
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}}},
    }  # fmt: skip
    trusted = {"allowed_prefixes": ["file:///data"]}
    place.configure(train={**TRAIN, **train}, job=job, data=trusted, knative={"trainer_image": trainer_image})


def publish_update(place: Place, number: int, dataset: str = "file:///data") -> None:
    """Say that a data set has changed."""
    data = json.dumps({"dataset": dataset}).encode()
    event = Event(
        id=f"change-{number}", source="/test", type=DATASET_UPDATED, datacontenttype="application/json", data=data
    )
    place.platform.publish(event)


def apply_jobsink(place: Place, change: Mapping[str, Any] | None = None) -> None:
    """What `eaves render --training jobsink` writes, applied as kubectl would, and the Broker before it."""
    apply(place.cluster, BROKER, "eaves", spec={})
    place.eaves("render", "--training", "jobsink", "--output", "rendered")
    for path in sorted((place.folder / "rendered").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        if manifest["kind"] == JOB_SINK.kind and change:
            (container,) = manifest["spec"]["job"]["spec"]["template"]["spec"]["containers"]
            container |= change
        place.cluster.apply(manifest, manager="kubectl")

    def are_ready() -> bool:
        objects = [one for kind in (BROKER, TRIGGER, JOB_SINK) for one in place.cluster.list(kind)]
        return len(objects) == 3 and all(map(is_ready, objects))

    wait_until(are_ready, 120, pause_s=0.5, what="Broker, Trigger and JobSink")


def jobs(place: Place) -> list[dict[str, Any]]:
    """Every training here."""
    return place.cluster.list(JOB, selector=f"{APP_LABEL}={NAME}")


def finished(place: Place, *endings: str) -> list[dict[str, Any]]:
    """So many Jobs, once they have ended in these ways."""

    def all_ended() -> bool:
        found = jobs(place)
        return len(found) >= len(endings) and all(map(find_ending, found))

    wait_until(all_ended, 600, pause_s=1, what=f"the end of {len(endings)} Jobs")
    found = jobs(place)
    assert sorted(map(find_ending, found)) == sorted(endings), [one["status"] for one in found]
    return found


def test_a_training_runs_as_a_job_to_its_end_and_its_run_comes_here(place: Place, trainer_image: str):
    configure(place, trainer_image)
    first = place.eaves("train", "--on", "knative")
    run = Path(first.stdout.strip())
    assert run.joinpath("report.html").is_file()
    assert json.loads(run.joinpath("metrics.json").read_text())["val_accuracy"] >= 0.0
    (job,) = finished(place, "Complete")
    (pod,) = pods_of(place.cluster, job)
    assert pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] is True
    again = place.eaves("train", "--on", "knative")
    assert "exists already" in again.stderr
    assert again.stdout == first.stdout
    assert [one["metadata"]["uid"] for one in jobs(place)] == [job["metadata"]["uid"]]


def test_a_training_whose_pod_is_lost_continues_and_its_run_comes_here(
    place: Place, trainer_image: str, tmp_path: Path
):
    configure(place, trainer_image, epochs=1500, checkpoint_s=1)
    shown = tmp_path / "shown"

    def steps() -> list[int]:
        return [int(done) for done in re.findall(r"Training: (\d+) of", shown.read_text())]

    def trains() -> bool:
        assert process.poll() is None, shown.read_text()
        return max(steps(), default=0) > 0

    with shown.open("w") as stream:
        command = place.command("train", "--on", "knative")
        process = subprocess.Popen(
            command, cwd=place.folder, env=place.environment(), stdout=subprocess.PIPE, stderr=stream, text=True
        )
    try:
        wait_until(trains, 400, pause_s=0.5, what=f"the first steps in {shown}")
        (first,) = pods_of(place.cluster, jobs(place)[0])
        place.cluster.delete(POD, first["metadata"]["name"])
        output, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, shown.read_text()
    (job,) = finished(place, "Complete")
    assert job["status"].get("failed", 0) == 0, "making room costs no attempt"
    assert "continues" in shown.read_text()
    resumed = list(filter(None, steps()))
    assert resumed == sorted(resumed), "it went on where it was"
    assert Path(output.strip(), "report.html").stat().st_size > 1000
    pods = [pod["metadata"] for pod in place.cluster.list(POD) if "-read-" in pod["metadata"]["name"]]
    assert all("deletionTimestamp" in metadata for metadata in pods)


def test_an_event_of_changed_images_trains_once_however_often_it_comes_and_one_of_others_does_not(
    place: Place, trainer_image: str
):
    configure(place, trainer_image)
    apply_jobsink(place)
    for _ in range(2):
        publish_update(place, 1)
    (job,) = finished(place, "Complete")
    (pod,) = pods_of(place.cluster, job)
    assert any("this model " in line for line in place.cluster.logs(pod["metadata"]["name"]))
    publish_update(place, 1)  # after its end too
    publish_update(place, 2)
    publish_update(place, 3, "s3://elsewhere/photos")
    (failed,) = (one for one in finished(place, "Complete", "Complete", "Failed") if find_ending(one) == "Failed")
    assert condition(failed, "Failed")["reason"] == "PodFailurePolicy", "images from elsewhere are not tried again"


def test_an_event_reaches_a_job_of_its_own_through_broker_trigger_and_jobsink(place: Place, image: str):
    """The way without a training on it, for those who have no trainer's container image."""
    configure(place, image)
    apply_jobsink(place, {"command": ["python", "-I", "-c", LOOK], "args": []})
    for number in (1, 1, 2):
        publish_update(place, number)
    said = {
        line
        for job in finished(place, "Complete", "Complete")
        for pod in pods_of(place.cluster, job)
        for line in place.cluster.logs(pod["metadata"]["name"])
    }
    assert said == {"file:///data"}
    assert len(jobs(place)) == 2
