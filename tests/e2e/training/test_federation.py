"""One model of three sites that send no image: a CronJob at each, a collector beside the receiver, and a late site.

The CronJobs are those that `eaves federate render` writes, applied by kubectl and started by hand. The gate has its
default settings, and the collector pushes each model that passes it. tests/integration/relay/test_federation.py has the
same on one machine.
"""

import hashlib
import io
import json
import logging
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eaves.federation_events import SiteFile, parse_file_name
from knative.client.kinds import JOB
from knative.resources.federation import PART
from knative.resources.metadata import PART_LABEL
from knative.resources.pod import build_security
from knative.resources.standalone_servers import RECEIVED
from knative.training.job_follower import find_ending, pods_of
from tests.cli import run_eaves
from tests.container_images.packaging import VERSION, need
from tests.e2e.conftest import PutImage, open_project
from tests.e2e.docs.services import push_base, put_wheels
from tests.e2e.link import RECEIVER, Cloud, change_link, kill_pod, start_clouds, start_link
from tests.e2e.places import NAME, Namespaces, Place
from tests.e2e.pods import make_secret, start_script
from tests.e2e.relay.test_relay import link_of
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.inputs.settings import settings_from
from tests.once import build_once_here
from tests.waiting import wait_until

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(3600)
CLASSES_OF = {"lyon": range(9), "mill": range(9), "turin": (8, 9)}
"""Digits of which a site has photos; only the last site, which is late, has the digit 9."""
FIRST, LATER = 16, 120
"""Number of digits of each class that the first model is trained on, and that the sites have together."""
PHOTOS, SECRET, WHEELS, GATE, GATE_PORT = "photos", "link", "wheels", "gate", 8080
LIST = f"""
import hashlib, json, pathlib
files = (path for path in pathlib.Path('{RECEIVED}').rglob('*') if path.is_file())
print(json.dumps({{str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}}))
"""


def draw_digits() -> dict[str, dict[str, bytes]]:
    """The photos of each site, and of `base`: paths below a folder for each class to PNGs."""
    from sklearn.datasets import load_digits

    digits, count, drawn = load_digits(), Counter[int](), {name: dict[str, bytes]() for name in ("base", *CLASSES_OF)}
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        owners = [site for site, classes in CLASSES_OF.items() if label in classes]
        place, count[label] = count[label], count[label] + 1
        owner = "base" if place < FIRST else owners[place % len(owners)]
        if place < FIRST + LATER and not (owner == "base" and label == 9):
            file = io.BytesIO()
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(file, "PNG")
            drawn[owner][f"{label}/{number:04d}.png"] = file.getvalue()
    return drawn


def build_base_model(root: Path) -> Path:
    """Train on few photos of nine classes, with a frozen backbone, and convert; returns the artifact."""
    from converters.convert import convert
    from converters.settings import ConvertSettings
    from trainer.settings import DataSettings, TrainSettings
    from trainer.train import train

    for path, content in draw_digits()["base"].items():
        (root / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / path).write_bytes(content)
    settings = settings_from(TrainSettings, {"arch": "efficientnet_lite0", "mode": "sums"})
    run = train(DataSettings(path=root / "photos"), settings, root / "run", name=NAME)
    return convert(run.path, root / "artifact", ConvertSettings(precision="fp32")).path


class Scheduled:
    """A CronJob that `eaves federate render` has written, at a place.

    Args:
        place: The place.
        folder: Folder for the objects.
        options: Options of the command, without dashes.
    """

    def __init__(self, place: Place, folder: Path, **options: str) -> None:
        self.place, self._number = place, 0
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        run_eaves("federate", "render", *words, "--output", folder)
        place.kubectl("apply", "-f", folder)

    def start(self) -> dict[str, Any]:
        """Start a Job of it."""
        self._number += 1
        name = f"by-hand-{self._number}"
        self.place.kubectl("create", "job", name, f"--from=cronjob/{PART}")
        job = self.place.cluster.get(JOB, name)
        assert job is not None
        return job

    def run(self, ending: str = "Complete") -> str:
        """Run a Job of it to its end, and return its log; its pod has no more rights than it needs."""
        return self.finish(self.start(), ending)

    def finish(self, job: dict[str, Any], ending: str = "Complete") -> str:
        """Wait for a Job's end, and return its log."""
        name = job["metadata"]["name"]
        done = wait_until(
            lambda: (one := self.place.cluster.get(JOB, name)) and find_ending(one), 600, pause_s=1, what=name
        )
        said = self.read_log(job)
        log.info("%s %s: %s\n%s", self.place.cluster.namespace, name, done, said)
        assert done == ending, said
        return said

    def read_log(self, job: dict[str, Any]) -> str:
        """What a Job's pod has written so far; empty without a pod."""
        for pod in pods_of(self.place.cluster, job):
            check_rights(pod["spec"])
            states = pod["status"].get("containerStatuses", ())
            if any("waiting" not in one["state"] for one in states):
                return "\n".join(self.place.cluster.logs(pod["metadata"]["name"], container=PART, lines=200))
        return ""


def check_rights(spec: dict[str, Any]) -> None:
    """Nothing in a pod can ask the API server, write the root file system, or has a capability."""
    assert not spec["automountServiceAccountToken"]
    assert not [one for one in spec["volumes"] if "projected" in one]
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == build_security()


class FederatedSite:
    """A namespace with an app, its relay, labelled photos on a volume, and the CronJob of the site."""

    def __init__(self, place: Place, cloud: Cloud, *, photos: dict[str, bytes], agent_image: str, base: str) -> None:
        self.place, self.cloud, self.photos, self.name = place, cloud, photos, cloud.site
        make_claim(place.cluster, PHOTOS)
        put_files(place.cluster, claimed(PHOTOS), photos, base)
        cloud.make_secret(place.cluster, SECRET)
        relay = {"to": cloud.url, "secret": SECRET, "spool_size": "500Mi", "images": "none"}
        place.configure(site=self.name, relay=relay, knative={"agent_image": agent_image})
        place.deploy(base)
        self.relay = f"http://{NAME}-relay.{place.cluster.namespace}.svc.cluster.local"

    def schedule(self, folder: Path, **images: str) -> None:
        given = {"site": self.name, "relay": self.relay, "to": self.cloud.url}
        self.job = Scheduled(self.place, folder, **given, images_claim=PHOTOS, credentials_secret=SECRET, **images)

    def add_gate(self, image: str) -> None:
        """Put a link between the site's CronJob and its relay."""
        target = self.relay.removeprefix("http://")
        start_link(self.place.cluster, GATE, image, GATE_PORT, f"{target}:80", labels={PART_LABEL: PART})
        self.relay = f"http://{GATE}.{self.place.cluster.namespace}.svc.cluster.local:{GATE_PORT}"

    def kill_while_sending(self) -> float:
        """Start a Job, and end its pod while the relay has a part of the sums; returns the time, Unix seconds."""
        change_link(self.place.cluster, GATE, "set?mbit_s=0.2")
        job = self.job.start()

        def is_sending() -> bool:
            return bool(change_link(self.place.cluster, GATE, "set?mbit_s=0.2")["bytes_up"] > 10_000)

        wait_until(is_sending, 300, pause_s=0.5, what="the first bytes of the sums")
        (pod,) = pods_of(self.place.cluster, job)
        kill_pod(self.cloud.kubectl, self.place.cluster, pod["metadata"]["name"])
        killed = self.place.cluster.clock()
        wait_until(lambda: find_ending(self.place.cluster.get(JOB, job["metadata"]["name"]) or {}), 120, what="the end")
        change_link(self.place.cluster, GATE, "set?mbit_s=20")
        return killed

    def serve(self, image: str) -> None:
        """Deploy a model, and give it all requests at once."""
        self.place.deploy(image)
        self.place.eaves("promote", NAME)

    def predict(self, path: str) -> dict[str, Any]:
        file = self.place.folder / "sent.png"
        file.write_bytes(self.photos[path])
        (row,) = self.place.read("send", file)
        return dict(row["event"])


class Collector:
    """The receiver, and the CronJob beside it."""

    def __init__(self, place: Place, folder: Path, **images: str) -> None:
        self.place, self.job = place, Scheduled(place, folder, **images)
        self._known: dict[tuple[str, str], int] = {}

    def received(self) -> dict[str, str]:
        """The files on the receiver's volume, and the digests of their content."""
        words = ("exec", f"{RECEIVER}-0", "-c", RECEIVER, "--", "python", "-c", LIST)
        return dict(json.loads(self.place.kubectl(*words)))

    def files(self, kind: str) -> list[SiteFile]:
        """What sites have sent, `sums` or `judgements`."""
        paths = [Path(path) for path in self.received() if f"/{kind}/" in path]
        return [found for path in paths if (found := parse_file_name(path.name))]

    def wait_for(self, kind: str, *sites: FederatedSite) -> None:
        """Wait for a file of each of these sites that is newer than those that were waited for before."""

        def find_newest() -> dict[str, int]:
            files = sorted(self.files(kind), key=lambda one: one.sequence)
            return {one.site: one.sequence for one in files}

        def is_there() -> bool:
            found = find_newest()
            return all(found.get(site.name, 0) > self._known.get((kind, site.name), 0) for site in sites)

        wait_until(is_there, 120, pause_s=1, what=kind)
        self._known |= {(kind, site): sequence for site, sequence in find_newest().items()}

    def make(self) -> tuple[str, str]:
        """Run a Job that makes a model; returns the version and the container image, which it has pushed."""
        said = self.job.run()
        (version,) = re.findall(rf"^{RECEIVED}/artifacts/(.+)$", said, re.MULTILINE)
        (image,) = re.findall(r"^\S+@sha256:[0-9a-f]{64}$", said, re.MULTILINE)
        return version, image


def start_wheels(place: Place, image: str, python: str) -> None:
    """Make what the collector needs to build a container image: wheels, and a Secret with where pip finds them."""
    start_script(place.cluster, WHEELS, image, "registry_server.py")
    pip = put_wheels(place.cluster, WHEELS, python.rpartition(".")[0], place.folder / WHEELS)
    make_secret(place.cluster, "pip", pip)


@pytest.fixture
def sites(
    namespaces: Namespaces, put_image: PutImage, agent_image: str, trainer_image: str, trainer_python: str,
    registry: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Collector, list[FederatedSite]]]:  # fmt: skip
    """A receiver with its collector, and three sites that serve the first model."""
    need("kubectl")
    if not trainer_python.startswith(f"{VERSION}."):
        pytest.skip(f"the trainer has Python {trainer_python}, and functions get that of the tests, {VERSION}")
    ground = push_base(f"{registry}/python:1", tmp_path / "ground", python=trainer_python)
    base = put_image(build_once_here(tmp_path_factory, "federated", build_base_model))
    images = {"image": trainer_image, "function_image": base}
    with ExitStack() as stack:

        def open_place(name: str) -> Place:
            (tmp_path / name).mkdir()
            place = open_project(namespaces, tmp_path / name)
            stack.callback(namespaces.close, place.cluster.namespace)
            return place

        middle, photos, made = open_place("cloud"), draw_digits(), []
        clouds = start_clouds(
            middle.cluster, sites=[*CLASSES_OF], image=agent_image, folder=tmp_path / "tls",
            kubeconfig=namespaces.kubeconfig,
        )  # fmt: skip
        for cloud in clouds:
            place = open_place(cloud.site)
            site = FederatedSite(place, cloud, photos=photos[cloud.site], agent_image=agent_image, base=base)
            if cloud.site == "mill":
                site.add_gate(agent_image)
            site.schedule(place.folder / "rendered", **images)
            made.append(site)
        start_wheels(middle, base, trainer_python)
        repository = f"{registry}/federated-{secrets.token_hex(3)}"
        options = f"--to={repository}:{{version}},--base={ground},--plain-http"
        yield Collector(middle, middle.folder / "rendered", **images, options=options, secret="pip"), made


def test_three_sites_that_send_no_image_serve_one_model_that_knows_what_only_a_late_site_has(
    sites: tuple[Collector, list[FederatedSite]],
):
    collector, (lyon, mill, turin) = sites
    assert "no site has sent anything" in collector.job.run()
    turin.cloud.link("cut")
    assert "sent the sums" in turin.job.run("Failed"), "its relay takes them; the receiver can't be asked for a head"
    killed = mill.kill_while_sending()
    assert "the sums have not changed" in mill.job.run()
    assert "sent the sums" in lyon.job.run()
    collector.wait_for("sums", lyon, mill)
    assert len(collector.files("sums")) == 2, "the late site's sums are not here yet"
    (sent,) = [one for one in collector.files("sums") if one.site == "mill"]
    assert sent.sequence / 1000 < killed, "the bytes are those of the Job that was killed"

    assert "not yet by lyon, mill" in collector.job.run()
    for site in (lyon, mill):
        assert "sent a judgement" in site.job.run()
    collector.wait_for("judgements", lyon, mill)
    first, image = collector.make()
    lyon.serve(image)
    assert lyon.predict(min(lyon.photos))["modelversion"] == first, "the late site is not waited for"

    turin.cloud.link("restore")
    collector.wait_for("sums", turin)
    assert "not yet by lyon, mill, turin" in collector.job.run()
    for site in (lyon, mill):
        assert "sent a judgement" in site.job.run()
    collector.wait_for("judgements", lyon, mill)
    assert "nothing is known about 9" in collector.job.run(), "only the late site can judge the new class"
    assert "sent a judgement" in turin.job.run()
    collector.wait_for("judgements", turin)
    version, image = collector.make()

    before = collector.received()
    assert len(collector.files("sums")) == 3, "nothing is here twice"
    for site in (lyon, mill, turin):
        assert site.job.run().count("not changed") == 2, "neither sums nor judgement"
    assert "is this model" in collector.job.run()
    assert collector.received() == before, "whatever is repeated changes nothing"
    photos = {hashlib.sha256(photo).hexdigest() for site in (lyon, mill, turin) for photo in site.photos.values()}
    assert not photos & set(before.values())
    assert not [path for path in before if path.endswith(".png") and "/artifacts/" not in path]

    nines = [path for path in turin.photos if path.startswith("9/")][:6]
    for site in (lyon, mill, turin):
        site.serve(image)
        site.photos |= {path: turin.photos[path] for path in nines}
        answers = [site.predict(path) for path in nines]
        assert {one["modelversion"] for one in answers} == {version}
        assert [one["label"] for one in answers].count("9") > 4
        link = link_of(site.place)
        assert link is not None
        log.info("%s: link %d bytes", site.name, link.bytes_sent)
