"""What the edge is unsure of comes back as a better model: the whole loop once, in a cluster.

A site's agent predicts images of a volume; its relay sends those that it chooses over a link to a receiver, which puts
them into a folder of photos. A person labels them, an event of it starts a pipeline on that volume, and the published
model becomes a canary at the site, which the labels of the audit sample judge. The person has no other rights at the
site than examples/roles/deploy.yaml gives. tests/browser/test_loop.py has the same on one machine, by the pages.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from eaves.dataset_folder import is_audit
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.labels import LabelBook
from eaves.oci.copy import open_location
from eaves.oci.registry.transport import Access
from knative.resources.standalone_servers import RECEIVED
from knative.training.job_follower import find_ending
from tests.container_images.packaging import VERSION
from tests.e2e.docs.services import push_base
from tests.e2e.link import RECEIVER, Cloud, start_cloud
from tests.e2e.places import NAME, SITE, Namespaces, Place
from tests.e2e.relay.test_relay import link_of
from tests.e2e.training.test_pipeline import Factory
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.artifacts import CLASSES
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(3600)
FIRST, EDGE = 16, 80
"""Number of digits of each class that the first model is trained on, few enough to be unsure of some, and that the
camera at the edge sees later."""
SECRET, CLAIM, PERSON = "link", "camera", "person"
ROLES = Path(__file__).parents[3] / "examples/roles/deploy.yaml"
FAST: dict[str, Any] = {
    # An edge gets more images and chooses 1 % of them for the audit sample.
    "choose": {"audit_percent": 20, "images_per_hour": 3600},
    # A step decides by 24 requests of the new model and takes a second at least.
    "rollout": {"steps": ["50"], "step_s": 1, "min_requests": 24, "max_error_increase": 0.5, "max_latency_ratio": 50},
}


class CloudFactory(Factory):
    """Pipelines whose images are those that a receiver has put into its folder, and that run where it runs."""

    train = MappingProxyType({"arch": "efficientnet_lite0", "mode": "sums"})
    data_claim, data = f"received-{RECEIVER}-0", "dataset"

    def _put_images(self, image: str, python: str, folder: Path) -> None:
        make_claim(self.cluster, "runs")
        self.base = push_base(f"{self.registry}/python:1", folder / "base", python=python)


class Person:
    """A person with a copy of what the receiver has, and rights at the site."""

    def __init__(self, site: Place, cloud: Place, folder: Path) -> None:
        from sklearn.datasets import load_digits

        self.site, self._cloud = site, cloud
        self.copy, self.photos = site.folder / "received", site.folder / "received" / "dataset"
        self.truth: dict[str, int] = {}
        digits, self._later = load_digits(), dict[str, bytes]()
        for label in range(CLASSES):
            for place, number in enumerate(np.flatnonzero(digits.target == label)[: FIRST + EDGE]):
                path = (self.photos / str(label) if place < FIRST else folder) / f"{number:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).save(path)
                self.truth[hashlib.sha256(path.read_bytes()).hexdigest()] = label
                if place >= FIRST:
                    self._later[path.name] = path.read_bytes()
        cloud.kubectl("cp", self.photos, f"{RECEIVER}-0:{RECEIVED}/dataset", "-c", RECEIVER)

    def see(self, images: int, image: str) -> None:
        """Let the camera see so many further images."""
        seen = dict(sorted(self._later.items())[:images])
        self._later = {name: data for name, data in self._later.items() if name not in seen}
        put_files(self.site.cluster, claimed(CLAIM), seen, image)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a type that came over the link, by a new copy of what the receiver has, which may grow."""
        self._cloud.kubectl("cp", f"{RECEIVER}-0:{RECEIVED}", self.copy, "-c", RECEIVER, codes=(0, 1))
        lines = (
            line for path in self.copy.glob("*.jsonl") for line in path.read_text().rpartition("\n")[0].splitlines()
        )
        return [one for one in map(json.loads, lines) if one["type"] == kind]

    def chosen(self) -> dict[str, str]:
        """The photos that came over the link, and their classes."""
        found = (path for path in self.photos.rglob("*.png") if path.parent.name in (self.photos.name, "audit"))
        return {
            path.relative_to(self.photos).as_posix(): str(self.truth[hashlib.sha256(path.read_bytes()).hexdigest()])
            for path in found
        }

    def wait_for_arrivals(self, seen: int) -> None:
        """Wait until so many images are predicted, and those that were chosen of them are photos."""

        def have_arrived() -> bool:
            link = link_of(self.site)
            if link is None or link.backlog_events or len(self.events(IMAGE_CLASSIFIED)) < seen:
                return False
            counted = sum(one.audit + one.unsure for agent in self.site.status().agents for one in agent.choices)
            return len(self.events(IMAGE_CAPTURED)) == counted == len(self.chosen())

        wait_until(have_arrived, 300, pause_s=3, what="predictions and the chosen images")

    def label(self) -> None:
        """Label every photo that came over the link, and give the labels to the receiver's folder."""
        book = LabelBook(self.photos)
        for file, label in self.chosen().items():  # photos that are labelled together are one group
            book.put({file: label}, who="ada")
        theirs = f"{RECEIVER}-0:{RECEIVED}/dataset/labels.csv"
        self._cloud.kubectl("cp", self.photos / "labels.csv", theirs, "-c", RECEIVER)


def log_in(site: Place) -> Place:
    """The same project of an account that has the rights to deploy to its namespace."""
    account = f"--serviceaccount={site.cluster.namespace}:{PERSON}"
    site.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(next(yaml.safe_load_all(ROLES.read_text()))).encode())
    site.kubectl("create", "serviceaccount", PERSON)
    site.kubectl("create", "rolebinding", PERSON, "--role=eaves-deploy", account)
    return site.log_in(PERSON)


@pytest.fixture
def factory(
    namespaces: Namespaces, agent_image: str, trainer_image: str, trainer_python: str, registry: str, tmp_path: Path
) -> Iterator[tuple[CloudFactory, Cloud]]:
    """A receiver, and the pipelines beside it."""
    if not trainer_python.startswith(f"{VERSION}."):
        pytest.skip(f"the trainer has Python {trainer_python}, and functions get that of the tests, {VERSION}")
    place = Place(cluster=namespaces.open("loop"), kubeconfig=namespaces.kubeconfig, folder=tmp_path / "factory")
    place.folder.mkdir()
    cloud = start_cloud(
        place.cluster, site=SITE, image=agent_image, folder=tmp_path / "cloud", kubeconfig=namespaces.kubeconfig
    )
    yield CloudFactory(place, trainer_image, trainer_python, place.folder, registry), cloud
    namespaces.close(place.cluster.namespace)


def list_layers(image: str) -> dict[str, int]:
    """The layers of a container image, and their sizes, bytes."""
    found = open_location(image, Access(plain_http=True))
    return {one["digest"]: one["size"] for one in json.loads(found.store.read(found.resolve()))["layers"]}


def test_images_that_the_edge_is_unsure_of_become_a_model_that_serves_every_request(
    factory: tuple[CloudFactory, Cloud], place: Place, trainer_image: str, image: str, agent_image: str, tmp_path: Path
):
    pipelines, cloud = factory
    person, known = Person(log_in(place), pipelines.place, tmp_path / "later"), set[str]()
    site, repository = person.site, f"loop-{secrets.token_hex(3)}"
    pipelines.apply(pipelines.render("pipeline", trainer_image, repository, max_accuracy_drop=30))
    job = pipelines.finished(known)
    assert find_ending(job) == "Complete", pipelines.log(job)
    (published,) = wait_until(lambda: pipelines.sink.received, 60, pause_s=0.5, what="the first model's event")
    first = published.json()["image"]

    make_claim(site.cluster, CLAIM)
    cloud.make_secret(site.cluster, SECRET)
    site.configure(
        data={"path": "received/dataset"},
        sources=[{"name": "camera", "claim": CLAIM, "spool_size": "200Mi"}],
        relay={"to": cloud.url, "secret": SECRET, "spool_size": "500Mi", "images": "chosen"},
        knative={"agent_image": agent_image},
        **FAST,
    )
    site.deploy(first)
    wait_until(site.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    person.see(180, image)
    person.wait_for_arrivals(180)
    audited = sum(map(is_audit, person.chosen()))
    unsure = len(person.chosen()) - audited
    assert 15 <= audited <= 60, "about a fifth"
    assert unsure >= 10
    assert {one["chosen"] for one in person.events(IMAGE_CAPTURED)} == {"audit", "unsure"}

    person.label()
    pipelines.apply(pipelines.render("jobsink", trainer_image, repository, max_accuracy_drop=30))
    wait_until(pipelines.ready, 180, pause_s=0.5, what="JobSink and Trigger")
    pipelines.publish_update(1)
    job = pipelines.finished(known)
    assert find_ending(job) == "Complete", pipelines.log(job)
    assert f"{audited} labelled photos of the audit sample count as held out" in pipelines.log(job)
    assert "the new model is right on" in pipelines.log(job), "the gate has compared it with the first one"
    wait_until(lambda: len(pipelines.sink.received) > 1, 60, pause_s=0.5, what="the second model's event")
    second = pipelines.sink.received[-1].json()["image"]
    assert second.partition("@")[0] == first.partition("@")[0]
    assert second != first

    site.deploy(second)
    said: list[str] = []

    def advance(word: str) -> bool:
        (row,) = site.read("reconcile")
        said.append(row["what"])
        return word in row["what"]

    wait_until(lambda: advance("-00002 50 %"), 240, pause_s=2, what="the canary")
    person.see(36, image)
    person.wait_for_arrivals(216)
    later = sum(map(is_audit, person.chosen())) - audited
    assert later
    person.label()
    judged = site.eaves("rollout", "--audit", "--on", "knative", "--plain-http").stderr
    assert f"on {audited + later} audit images the new model is wrong on" in judged

    def is_promoted() -> bool:
        person.see(10, image)
        return advance("-00002 100 %")

    wait_until(is_promoted, 240, pause_s=2, what="the promotion")
    assert any(f"on {audited + later} audit images" in line for line in said), said
    assert site.status().traffic == (f"{NAME}-00002 100 %",)
    link, old, new = link_of(site), list_layers(first), list_layers(second)
    assert link is not None
    update = sum(size for digest, size in new.items() if digest not in old)
    log.info("link %d bytes, update %d bytes, audit %d, unsure %d", link.bytes_sent, update, audited + later, unsure)
