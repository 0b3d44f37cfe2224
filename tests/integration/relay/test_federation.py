"""One model of sites that send no image: `eaves up` and a relay at each, a receiver, and `eaves federate`."""

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.link.proxy import FaultProxy
from eaves.artifact import open_artifact
from eaves.events import IMAGE_CAPTURED, Event, decode, encode_binary
from eaves.federation_events import FEDERATION_JUDGEMENT, FEDERATION_SUMS, build_federation_event
from eaves.link.client import LinkClient
from tests.cli import EAVES, run_eaves
from tests.contract.harness import LocalHarness, open_local_harness
from tests.inputs.artifacts import split_artifact
from tests.ports import find_port
from tests.processes.commands import run_command
from tests.processes.receiving import Served, receiving, write_site
from tests.waiting import wait_until
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import judge
from trainer.model.feature_sums import FeatureSums

CLASSES_OF = {"lyon": (0, 1, 2), "mill": (0, 1), "turin": (2, 3)}
"""Digits of which a site has photos; only the last site, which is late, has the digit 3."""


class FederatedSite:
    """A machine with `eaves up`, an app with a relay, and labelled photos.

    Args:
        name: Name of the site.
        folder: Folder of its files.
        harness: Its platform.
        link: What its relay is connected to.
        base: Artifact that is deployed first.
    """

    def __init__(self, name: str, folder: Path, harness: LocalHarness, link: FaultProxy, base: Path) -> None:
        self.name, self.folder, self.link, self.base = name, folder, link, base
        self.port, self._harness, self._sequence = find_port(), harness, 0
        write_site(folder / "link", "token", f"a-token-of-the-site-{name}")
        relay = {"to": f"http://127.0.0.1:{link.port}", "credentials": "link"}
        app = {"name": "digits", "site": name, "relay": relay}
        (folder / "eaves.yaml").write_text(yaml.safe_dump(app), encoding="utf-8")
        harness.start(self.port)
        self.deploy(base)

    def deploy(self, artifact: Path) -> None:
        command = [*EAVES, "deploy", str(artifact), "--state", str(self._harness.state)]
        run_command(command, cwd=self.folder, check=True, timeout=120)

    def post(self, kind: str, data: bytes) -> None:
        """Hand data over as `eaves federate site` does."""
        self._sequence += 1
        event = build_federation_event(self.name, "digits", kind, 1_790_000_000_000 + self._sequence, data)
        assert self._ask("/relays/digits", event)[0] == 202

    def predict(self, image: bytes) -> Event:
        event = Event(
            id="1", source=f"/eaves/{self.name}/x", type=IMAGE_CAPTURED, datacontenttype="image/png", data=image
        )
        status, headers, body = self._ask("/functions/digits", event)
        assert status == 200, body
        return decode(headers, body)

    def _ask(self, path: str, event: Event) -> Any:
        headers, body = encode_binary(event)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, body, {**headers, "Prefer": "reply"})
            response = connection.getresponse()
            return response.status, dict(response.headers.items()), response.read()

    def photos(self, *, held_out: bool) -> list[Path]:
        paths = sorted((self.folder / "photos").glob("*/*.png"))
        return [path for number, path in enumerate(paths) if (number % 5 == 0) == held_out]

    def send_sums(self) -> None:
        features, paths = ArtifactFeatures(open_artifact(self.base)), self.photos(held_out=False)
        labels = tuple(sorted({path.parent.name for path in paths}))
        numbers = np.array([labels.index(path.parent.name) for path in paths])
        sums = FeatureSums.empty(labels, features.origin, features.point)
        found = sums.add(features.compute(paths)[0], numbers, groups=len(paths))
        self.post(FEDERATION_SUMS, found.to_bytes(np.float32))

    def send_judgement(self) -> str:
        """Load the head over the link and judge it; return its digest."""
        with closing(LinkClient(f"http://127.0.0.1:{self.link.port}", self.folder / "link")) as client:
            content = client.fetch_head("digits")
            assert content is not None
            head, paths = MergedHead.from_bytes(content, "head.npz"), self.photos(held_out=True)
            assert client.fetch_head("digits", head.digest) is None
        artifact, names = open_artifact(self.base), [path.parent.name for path in paths]
        found, groups = ArtifactFeatures(artifact).compute(paths), [str(path) for path in paths]
        judged = judge(head, head.digest, *found, artifact.manifest.labels, names, groups, artifact.digest)
        self.post(FEDERATION_JUDGEMENT, judged.to_json())
        return head.digest


def write_photos(folder: Path, classes: Sequence[int], part: int, parts: int) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits(n_class=4)
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label in classes and number % parts == part:
            (folder / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(folder / str(label) / f"{number:04d}.png")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Served]:
    """A receiver that writes files."""
    place = tmp_path / "cloud"
    place.mkdir()
    for name in CLASSES_OF:
        write_site(place / "sites", name, f"a-token-of-the-site-{name}")
    with receiving(place, tls=False, folder=place / "received") as served:
        yield served


def received(folder: Path, kind: str) -> set[str]:
    return {path.name.partition("-")[0] for path in (folder / "federation/digits" / kind).glob("[!.]*")}


@pytest.mark.long("`eaves up`, a relay and a function at each site, and a deployment of two models there")
@pytest.mark.parametrize(
    "names", [["turin"], pytest.param([*CLASSES_OF], marks=pytest.mark.slow)], ids=["one", "three"]
)
def test_sites_that_send_no_image_get_a_model_of_all_images_also_of_a_site_that_was_late(
    names: list[str], tiny_artifact: Path, tmp_path: Path, cloud: Served
):
    base, folder = split_artifact(tiny_artifact, tmp_path / "base"), tmp_path / "cloud" / "received"
    command = ("federate", "collect", "--folder", folder, "--artifact", base, "--output", tmp_path / "made")
    without = [] if len(names) > 1 else [f"--without={label}" for label in "01"]
    collect = partial(run_eaves, *command, "--max-accuracy-drop", "100", *without)
    with ExitStack() as stack:
        sites = []
        for part, name in enumerate(names):
            write_photos(tmp_path / name / "photos", CLASSES_OF[name], part, len(names))
            link = stack.enter_context(FaultProxy("127.0.0.1", cloud.port))
            harness = stack.enter_context(open_local_harness(start=False))
            sites.append(FederatedSite(name, tmp_path / name, harness, link, base))
        late = sites[-1]
        late.link.cut()
        for site in sites:
            site.send_sums()
        punctual = set(names) - {late.name}
        wait_until(lambda: received(folder, "sums") == punctual, 60, what="the sums of those that are online")
        first = collect()
        assert not first.stdout
        for site in sites[:-1]:
            site.send_judgement()
        wait_until(lambda: received(folder, "judgements") == punctual, 60, what="their judgements")
        assert not collect().stdout, "the digit of the late site is waited for"
        late.link.restore()
        wait_until(lambda: received(folder, "sums") == {*names}, 60, what="the late sums")
        assert not collect().stdout, "nobody has judged the new head"
        assert len({site.send_judgement() for site in sites}) == 1
        wait_until(lambda: len([*(folder / "federation/digits/judgements").glob("*.json")]) == 2 * len(names) - 1, 60)
        artifact = open_artifact(Path(collect().stdout.strip()))
        for site in sites:
            site.deploy(artifact.path)
            answers = [site.predict(path.read_bytes()) for path in late.photos(held_out=True)[-10:]]
            assert {one.extensions["modelversion"] for one in answers} == {artifact.manifest.version}
            assert [json.loads(one.data)["predictions"][0]["label"] for one in answers].count("3") > 7
        assert not [path for path in folder.rglob("*") if path.suffix == ".png"]
