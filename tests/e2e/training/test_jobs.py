"""Trainings on a real cluster: a Job whose pod is lost on the way, and an event that becomes one.

`--trainer-image`: what `make image` builds for the trainer, at a registry that the cluster pulls from.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.events import DATASET_UPDATED, Event
from knative.client.cluster import Cluster
from knative.client.kinds import BROKER, CLAIM, CONFIG_MAP, JOB, JOB_SINK, POD, TRIGGER
from knative.platform import KnativePlatform
from knative.resources.pod import USER, build_security
from knative.settings import JobSettings, KnativeSettings, SiteSettings
from knative.status.conditions import condition
from knative.training.job import TrainingJob, build_job, render_training
from knative.training.job_follower import create_job, find_ending, follow_job, pods_of
from knative.training.run_download import download_run
from tests.e2e.harness import MANAGER, is_ready
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until
from trainer.progress import SilentProgress
from trainer.settings import DataSettings, TrainSettings

pytestmark = pytest.mark.timeout(900)
DIGITS = "/data/digits"

SMALL = {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}


@pytest.fixture(scope="module")
def training(pytestconfig: pytest.Config, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    """A tiny training whose images and runs are on volumes."""
    image = str(pytestconfig.getoption("--trainer-image") or "")
    if not image:
        pytest.skip("needs the trainer's container image: --trainer-image (or EAVES_E2E_TRAINER_IMAGE)")
    for name in ("photos", "models"):
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"apiVersion": "v1", "kind": CLAIM.kind, "metadata": {"name": name}, "spec": spec}
        cluster.apply(claim, manager=MANAGER)
    load_images(cluster, image, build_tiny_dataset(tmp_path_factory.mktemp("digits")))
    return TrainingJob(
        name="digits",
        site="test",
        namespace=cluster.namespace,
        data=DataSettings(path="photos", allowed_prefixes=("file:///data",)),
        train=TrainSettings(arch="small_cnn", image_size=16, batch_size=8, epochs=12, checkpoint_s=1),
        job=JobSettings(
            data_claim="photos",
            data="digits",
            output_claim="models",
            pod=SMALL,
        ),
        knative=KnativeSettings(trainer_image=image),
    )


def load_images(cluster: Cluster, image: str, folder: Path) -> None:
    """Put them onto the volume `photos`, by a pod that unpacks a ConfigMap."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    content = {"images.zip": base64.b64encode(packed.getvalue()).decode()}
    about = {"apiVersion": "v1", "kind": CONFIG_MAP.kind, "metadata": {"name": "images"}}
    cluster.apply({**about, "binaryData": content}, manager=MANAGER)
    container = {
        "name": "loader",
        "image": image,
        "command": ["python", "-m", "zipfile", "-e", "/packed/images.zip", DIGITS],
        "securityContext": build_security(),
        "volumeMounts": [{"name": "packed", "mountPath": "/packed"}, {"name": "photos", "mountPath": "/data"}],
    }
    volumes = [
        {"name": "packed", "configMap": {"name": "images"}},
        {"name": "photos", "persistentVolumeClaim": {"claimName": "photos"}},
    ]
    spec: dict[str, Any] = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    spec |= {"automountServiceAccountToken": False, "securityContext": {"fsGroup": USER}}
    cluster.apply({"apiVersion": "v1", "kind": POD.kind, "metadata": {"name": "loader"}, "spec": spec}, manager=MANAGER)
    wait_until(lambda: phase_of(cluster, "loader") == "Succeeded", 600, pause_s=1, what="the images on their volume")


def phase_of(cluster: Cluster, pod: str) -> str:
    return str((cluster.get(POD, pod) or {}).get("status", {}).get("phase", ""))


class Watched:
    """A Job that is followed in a thread of its own."""

    def __init__(self, cluster: Cluster, name: str, pool: ThreadPoolExecutor) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []
        self.result = pool.submit(follow_job, cluster, name, on_line=self.lines.append, notify=self.said.append)

    def done(self) -> int:
        return max(self.steps(), default=0)

    def steps(self) -> list[int]:
        return [int(found[1]) for line in self.lines if (found := re.match(r"Training: (\d+) of", line))]


@pytest.fixture
def watch(cluster: Cluster) -> Iterator[Callable[[str], Watched]]:
    with ThreadPoolExecutor() as pool:
        yield lambda name: Watched(cluster, name, pool)


def test_a_training_whose_pod_is_lost_continues_and_its_run_comes_here(
    cluster: Cluster, training: TrainingJob, watch: Callable[[str], Watched], tmp_path: Path
) -> None:
    longer = replace(training, train=replace(training.train, epochs=1500))
    manifest = build_job(longer)
    name = manifest["metadata"]["name"]
    said: list[str] = []
    for _ in range(2):
        create_job(cluster, manifest, again=False, notify=said.append)
    assert said[1] == f"the Job {name} exists already and is running"
    watched = watch(name)
    wait_until(lambda: watched.done() > 0, 400, pause_s=0.5, what="the first steps")
    (first,) = pods_of(cluster, cluster.get(JOB, name) or {})
    cluster.delete(POD, first["metadata"]["name"])
    job = watched.result.result(600)
    assert find_ending(job) == "Complete", condition(job, "Failed")
    assert job["status"].get("failed", 0) == 0, "making room costs no attempt"
    assert any("continues" in text for text in watched.said)
    resumed = list(filter(None, watched.steps()))
    assert resumed == sorted(resumed), "it went on where it was"
    run = download_run(cluster, longer, job, tmp_path / "run", notify=said.append, progress=SilentProgress())
    assert (run.name, run.epochs) == ("digits", 1500)
    assert (run.path / "report.html").stat().st_size > 1000
    assert not [pod for pod in cluster.list(POD) if "-read-" in pod["metadata"]["name"] and alive(pod)]


def alive(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def test_an_event_of_changed_images_becomes_a_training_and_one_of_others_does_not(
    cluster: Cluster, training: TrainingJob
) -> None:
    settings = KnativeSettings(trainer_image=training.knative.trainer_image, broker="training")
    listening = replace(training, knative=settings)
    broker = {"apiVersion": BROKER.api_version, "kind": BROKER.kind, "metadata": {"name": "training"}, "spec": {}}
    for manifest in (broker, *render_training(listening, "jobsink")):
        cluster.apply(manifest, manager=MANAGER)
    wait_until(lambda: all_ready(cluster), 180, pause_s=1, what="Broker, Trigger and JobSink")
    platform = KnativePlatform(cluster, settings, SiteSettings(name="test", namespace=cluster.namespace))
    for number, dataset in enumerate(("file:///data/digits", "s3://elsewhere/photos")):
        data = json.dumps({"dataset": dataset}).encode()
        platform.publish(
            Event(
                id=str(number), source="/eaves/test/photos", type=DATASET_UPDATED, data=data,
                datacontenttype="application/json",
            )
        )  # fmt: skip
    jobs = wait_until(lambda: made_by_sink(cluster), 300, pause_s=1, what="both Jobs' ends")
    assert sorted(find_ending(job) for job in jobs) == ["Complete", "Failed"]
    (failed,) = (job for job in jobs if find_ending(job) == "Failed")
    assert condition(failed, "Failed")["reason"] == "PodFailurePolicy", "images from elsewhere are not tried again"


def made_by_sink(cluster: Cluster) -> list[dict[str, Any]]:
    """Both Jobs, once they have ended."""
    jobs = cluster.list(JOB, selector="eaves.dev/app=digits,!eaves.dev/run")
    return jobs if len(jobs) == 2 and all(find_ending(job) for job in jobs) else []


def all_ready(cluster: Cluster) -> bool:
    kinds = (BROKER, TRIGGER, JOB_SINK)
    return all(is_ready(one) for kind in kinds for one in cluster.list(kind)) and bool(cluster.list(JOB_SINK))
