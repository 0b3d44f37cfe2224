"""Images > a published model inside a cluster: as a Job that is applied, and as one that an event starts.

Registry and wheels are in the cluster too, so that pods need no network beyond it. `--trainer-image` as in
test_jobs.py.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.events import DATASET_UPDATED, MODEL_PUBLISHED, Event
from eaves.oci.copy import BEST
from knative.client.kinds import BROKER, JOB, JOB_SINK, SINK_BINDING, TRIGGER
from knative.resources.metadata import APP_LABEL, PART_LABEL
from knative.status.conditions import condition
from knative.training.job_follower import find_ending, find_exit, pods_of
from tests.container_images.packaging import build_base
from tests.e2e.docs.services import put_wheels
from tests.e2e.harness import KnativeSink, is_ready, start_sink
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.pods import apply, make_secret, start_script
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.artifacts import build_tiny_dataset
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)
TRAIN = {"arch": "small_cnn", "epochs": 12, "image_size": 16, "batch_size": 8, "augment": False}
ENDS_S = 1200.0


class Factory:
    """A namespace with images on a volume, a registry, wheels, a Broker and a subscriber of what is published."""

    train: Mapping[str, Any] = TRAIN
    data_claim, data, base = "data", "digits", "oci:/data/base"

    def __init__(self, place: Place, image: str, python: str, folder: Path, registry: str = "") -> None:
        self.place, self.cluster = place, place.cluster
        start_script(self.cluster, "registry", image, "registry_server.py")
        start_sink(self.cluster, image)
        self.sink = KnativeSink(self.cluster, "/published")
        self.registry = registry or f"registry.{self.cluster.namespace}.svc.cluster.local"
        self._put_images(image, python, folder)
        self._put_wheels(python, folder)
        apply(self.cluster, BROKER, "eaves", spec={})
        filtered = {"filter": {"attributes": {"type": MODEL_PUBLISHED}}, "subscriber": {"uri": self.sink.url}}
        apply(self.cluster, TRIGGER, "published", spec={"broker": "eaves", **filtered})
        wait_until(self.ready, 180, pause_s=0.5, what="the Broker and the Trigger")

    def _put_images(self, image: str, python: str, folder: Path) -> None:
        root = build_tiny_dataset(folder / "images")
        build_base(folder / "base", python=python)
        for name in ("data", "runs"):
            make_claim(self.cluster, name)
        files = {f"digits/{path.relative_to(root).as_posix()}": path for path in root.glob("*/*.png")}
        files |= {path.relative_to(folder).as_posix(): path for path in (folder / "base").rglob("*") if path.is_file()}
        put_files(self.cluster, claimed("data"), {name: path.read_bytes() for name, path in files.items()}, image)

    def _put_wheels(self, python: str, folder: Path) -> None:
        pip = put_wheels(self.cluster, "registry", python.rpartition(".")[0], folder / "wheels")
        make_secret(self.cluster, "wheels", pip)

    def render(self, kind: str, image: str, repository: str, **pipeline: float) -> list[dict[str, Any]]:
        """What `eaves render` writes for a repository of its own, applied as kubectl would."""
        job = {
            "data_claim": self.data_claim, "data": self.data, "output_claim": "runs", "secret": "wheels",
            "plain_http": True, "repository": f"{self.registry}/{repository}", "base": self.base,
            "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}}}, "work_size": "2Gi", "retries": 1,
        }  # fmt: skip
        self.place.configure(
            train=dict(self.train),
            job=job,
            convert={"precision": "fp32"},
            data={"allowed_prefixes": ["file:///data"]},
            pipeline={"max_accuracy_drop": 60.0, **pipeline},
            knative={"trainer_image": image},
        )
        folder = f"rendered-{repository}"
        self.place.eaves("render", "--training", kind, "--output", folder)
        paths = sorted((self.place.folder / folder).glob("*.yaml"))
        return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]

    def apply(self, manifests: list[dict[str, Any]]) -> None:
        """A SinkBinding is ready before the Job is made, as docs/13 says."""
        for manifest in manifests:
            self.cluster.apply(manifest, manager="kubectl")
            if manifest["kind"] == SINK_BINDING.kind:
                wait_until(self.ready, 120, pause_s=0.5, what="the SinkBinding")

    def ready(self) -> bool:
        kinds = (BROKER, TRIGGER, SINK_BINDING, JOB_SINK)
        return all(is_ready(one) for kind in kinds for one in self.cluster.list(kind))

    def finished(self, known: set[str]) -> dict[str, Any]:
        """The one pipeline that isn't known yet, once it has ended."""

        def find() -> list[dict[str, Any]]:
            jobs = self.cluster.list(JOB, selector=f"{APP_LABEL}={NAME},{PART_LABEL}=pipeline")
            return [job for job in jobs if job["metadata"]["name"] not in known and find_ending(job)]

        (job,) = wait_until(find, ENDS_S, pause_s=2, what="the pipeline's end")
        known.add(job["metadata"]["name"])
        return job

    def publish_update(self, number: int) -> None:
        """Say that the images have changed."""
        data = json.dumps({"dataset": f"file:///data/{self.data}"}).encode()
        self.place.platform.publish(
            Event(
                id=f"change-{number}", source="/test", type=DATASET_UPDATED, data=data,
                datacontenttype="application/json",
            )
        )  # fmt: skip

    def log(self, job: dict[str, Any]) -> str:
        pods = [str(pod["metadata"]["name"]) for pod in pods_of(self.cluster, job)]
        return "\n".join(line for pod in pods for line in self.cluster.logs(pod, lines=200))

    def tags(self, repository: str) -> list[str]:
        answer = self.cluster.proxy("pods/registry:8080", f"/v2/{repository}/tags/list")
        found: list[str] = json.loads(answer.body)["tags"] if answer.status == 200 else []
        return found


@pytest.fixture(scope="module")
def factory(
    namespaces: Namespaces, trainer_image: str, trainer_python: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    folder = tmp_path_factory.mktemp("factory")
    place = Place(cluster=namespaces.open("pipeline"), kubeconfig=namespaces.kubeconfig, folder=folder)
    yield Factory(place, trainer_image, trainer_python, folder)
    namespaces.close(place.cluster.namespace)


def test_images_become_a_published_model_and_a_worse_one_does_not(factory: Factory, trainer_image: str):
    known: set[str] = set()
    factory.apply(factory.render("pipeline", trainer_image, "good"))
    job = factory.finished(known)
    assert find_ending(job) == "Complete", factory.log(job)
    (event,) = wait_until(lambda: factory.sink.received, 60, pause_s=0.5, what="the event")
    reported = event.json()
    assert (event.type, event.source) == (MODEL_PUBLISHED, f"/eaves/test/{NAME}")
    assert reported["image"].startswith(f"{factory.registry}/good@sha256:")
    assert factory.tags("good") == [reported["version"], BEST]

    factory.apply(factory.render("pipeline", trainer_image, "floor", floor=1.0))
    refused = factory.finished(known)
    assert find_ending(refused) == "Failed"
    assert condition(refused, "Failed")["reason"] == "PodFailurePolicy", "another pod would find the same model"
    (pod,) = pods_of(factory.cluster, refused)
    assert find_exit(pod)["exitCode"] == 79
    assert "the model is refused" in factory.log(refused)
    assert factory.tags("floor") == []
    assert len(factory.sink.received) == 1, "no event was sent"


def test_an_event_of_changed_images_ends_as_a_published_model(factory: Factory, trainer_image: str):
    known = {job["metadata"]["name"] for job in factory.cluster.list(JOB)}
    before = len(factory.sink.received)
    factory.apply(factory.render("jobsink", trainer_image, "by-event"))
    wait_until(factory.ready, 180, pause_s=0.5, what="JobSink and Trigger")
    for number, times in ((1, 2), (2, 1)):
        for _ in range(times):
            factory.publish_update(number)
        job = factory.finished(known)
        assert find_ending(job) == "Complete", factory.log(job)
    assert "model.published" in factory.log(job)
    assert "held-out images" in factory.log(job), "the second model was compared with the first"
    wait_until(lambda: len(factory.sink.received) >= before + 2, 60, pause_s=0.5, what="both events")
    published = [event.json() for event in factory.sink.received[before:]]
    assert [*sorted({about["version"] for about in published}), BEST] == factory.tags("by-event")
    assert len(published) == 2
    assert len(factory.cluster.list(JOB_SINK)) == 1
