"""A site sends sums of enough images once, whatever kills it, and judges the merged head."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from eaves.artifact import open_artifact
from eaves.cli.commands.federate import command
from eaves.errors import DatasetError, DeliveryError
from eaves.events import Event
from eaves.federation_events import FEDERATION_SUMS
from eaves.images.pixels import Pixels
from tests.inputs.artifacts import build_tiny_dataset, split_artifact
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import HeadJudgement
from trainer.federation.privacy import ReleasedImage
from trainer.federation.site_sums import FederatedSite, ReleaseSettings, SentFile, load_site_images
from trainer.model.feature_sums import Features, FeatureSums, SumsOrigin


class Killed(BaseException):
    """A kill of the process, as far as its files are concerned."""


class CountingFeatures(ArtifactFeatures):
    """Counts the images whose features are computed."""

    count = 0

    def compute(self, images: Iterable[Pixels]) -> tuple[Features, Features]:
        tensors = [*images]
        self.count += len(tensors)
        return super().compute(tensors)


@pytest.fixture
def features(tiny_artifact: Path, tmp_path: Path) -> CountingFeatures:
    return CountingFeatures(open_artifact(split_artifact(tiny_artifact, tmp_path / "artifact")))


def run(
    artifact: ArtifactFeatures,
    root: Path,
    send: Callable[[Event], object],
    fetch: Callable[[str, str], bytes | None] | None = None,
    **values: float,
) -> list[str]:
    settings, said = ReleaseSettings(site="here", **{"minimum": 5, **values}), list[str]()  # type: ignore[arg-type]
    site = FederatedSite(
        features=artifact, images=root / "images", state=root / "state", settings=settings, send=send, say=said.append
    )
    site.run(fetch)
    return said


def send_without_one(features: ArtifactFeatures, root: Path) -> list[Event]:
    """What a site sends of all images but one, which is beside the others afterwards."""
    build_tiny_dataset(root / "images")
    one = next((root / "images" / "0").iterdir())
    sent: list[Event] = []
    shutil.move(one, root / one.name)
    run(features, root, sent.append)
    shutil.move(root / one.name, one)
    return sent


def test_a_killed_site_sends_the_same_bytes_again_and_later_only_what_is_new(
    features: CountingFeatures, tmp_path: Path
):
    build_tiny_dataset(tmp_path / "images")
    later = tmp_path / "later"
    for folder in sorted((tmp_path / "images").iterdir()):
        (later / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:6]:
            shutil.move(path, later / folder.name / path.name)
    sent: list[Event] = []

    def refuse(event: Event) -> None:
        sent.append(event)
        raise DeliveryError("the relay is down")

    def kill(event: Event) -> None:
        sent.append(event)
        raise Killed

    for fails, error in ((refuse, DeliveryError), (kill, Killed)):
        with pytest.raises(error):
            run(features, tmp_path, fails)
    said = run(features, tmp_path, sent.append)
    assert len({(event.id, event.data) for event in sent}) == 1
    assert said[-1] == "the sums have not changed; the last file was sent only now"
    before, computed = len(sent), features.count
    assert run(features, tmp_path, sent.append)[-1] == "the sums have not changed"
    assert (len(sent), features.count) == (before, computed)
    one = next((later / "0").iterdir())
    shutil.move(one, tmp_path / "images" / "0" / one.name)
    run(features, tmp_path, sent.append)
    assert len(sent) == before
    shutil.copytree(later, tmp_path / "images", dirs_exist_ok=True)
    run(features, tmp_path, sent.append, minimum=3)
    first, last = (FeatureSums.from_bytes(event.data, "sums") for event in (sent[0], sent[-1]))
    assert features.count - computed == last.counts.sum() - first.counts.sum() > 0
    assert first.shift.tolist() == features.point.tolist()


def test_an_update_of_the_backbone_that_is_taken_back_shows_no_single_image(features: CountingFeatures, tmp_path: Path):
    """Though the other artifact has the same weights, and only another recipe."""
    sent = send_without_one(features, tmp_path)
    first, features.origin = features.origin, replace(features.origin, recipe="another")
    computed = features.count
    run(features, tmp_path, sent.append)
    features.origin = first
    run(features, tmp_path, sent.append)
    before, other, after = (FeatureSums.from_bytes(event.data, "sums") for event in sent)
    assert before.counts.sum() <= other.counts.sum() == features.count - computed
    assert (after.counts == before.counts).all()
    assert (after.products == before.products).all()


def test_features_of_removed_images_and_foreign_files_are_deleted(features: CountingFeatures, tmp_path: Path):
    build_tiny_dataset(tmp_path / "images")
    run(features, tmp_path, lambda event: None)
    (store,) = (tmp_path / "state/here").glob("*/features/*")
    (store / "notes.txt").write_text("x")
    summed = load_site_images(tmp_path / "images", {}).summed
    for image in summed[::2]:
        image.path.unlink()
    computed = features.count
    run(features, tmp_path, lambda event: None)
    held = [digest for path in store.iterdir() for digest in np.load(path)["digests"].tolist()]
    assert sorted(held) == sorted(image.digest for image in summed[1::2])
    assert features.count == computed


def test_an_artifact_of_another_method_shows_no_single_image(features: CountingFeatures, tmp_path: Path):
    """Its sums have other products, but the same totals."""
    sent = send_without_one(features, tmp_path)
    features.is_diagonal = True
    features.origin = replace(features.origin, backbone=f"{features.origin.backbone}+diagonal")
    run(features, tmp_path, sent.append)
    before = FeatureSums.from_bytes(sent[0].data, "sums")
    after = FeatureSums.from_bytes(sent[1].data, "sums", features.point.shape)
    assert (after.totals == before.totals).all()


def test_the_merged_head_is_judged_once_on_images_that_are_not_summed(features: CountingFeatures, tmp_path: Path):
    build_tiny_dataset(tmp_path / "images")
    for path in [*(tmp_path / "images/0").iterdir()]:  # a second shot of each, which is no further evidence
        Image.open(path).save(path.with_name(f"second-{path.name}"), compress_level=1)
    shutil.move(tmp_path / "images/3", tmp_path / "images/My 3")  # the head has another site's form of the name
    sent: list[Event] = []
    run(features, tmp_path, sent.append)
    sums = FeatureSums.from_bytes(sent[0].data, "sums")
    _, ridge = sums.solve([1.0])
    head = MergedHead(labels=(*sums.labels[:3], "my_3"), origin=features.origin, head=ridge.divide(0.1))
    heads: list[bytes | None] = [replace(sums, origin=SumsOrigin()).to_bytes(), head.to_bytes(), None]
    for _ in range(3):
        run(features, tmp_path, sent.append, lambda name, known: heads.pop(0))
    assert len(sent) == 2
    judgement = HeadJudgement.from_json(sent[1].data, "judgement")
    assert judgement.head == head.digest
    assert judgement.confusion[-1].sum() == 0
    assert judgement.serving == features.artifact.digest
    assert sums.groups < sums.counts.sum()
    assert 0 < judgement.confusion.sum() == 72 - sums.groups
    assert judgement.confusion.trace() > judgement.confusion.sum() / 2
    assert len(sent[1].data) < 10_000


def test_projected_sums_and_noisy_ones_are_what_they_say(features: CountingFeatures, tmp_path: Path):
    build_tiny_dataset(tmp_path / "images")
    sent: list[Event] = []
    size = features.point.shape[1] // 2
    run(features, tmp_path, sent.append)
    run(features, tmp_path, sent.append, features=size)
    shutil.rmtree(tmp_path / "images" / "3")  # noise makes no images of a class that is gone
    run(features, tmp_path, sent.append, epsilon=2.0)
    whole, small, noisy = (FeatureSums.from_bytes(event.data, "sums") for event in sent)
    assert small.origin.backbone == f"{whole.origin.backbone}/{size}"
    np.testing.assert_allclose(whole.project(size).products, small.products, rtol=1e-4, atol=1e-4)
    assert noisy.shift.shape == whole.shift.shape
    assert noisy.labels == ("0", "1", "2")
    assert abs(noisy.totals - whole.totals[:3]).max() > 1e-3


def test_copies_on_both_sides_of_a_declared_split_are_summed_at_once(tmp_path: Path):
    rng, history = np.random.default_rng(0), dict[tuple[str, str], ReleasedImage]()
    for number in range(8):
        image = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((96, 96))
        for side in ("train", "val") if number == 0 else ("train", "val")[number % 2 :][:1]:
            folder = tmp_path / side / "ab"[number // 2 % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number}.png", compress_level=1 if side == "val" else 6)
    for _ in range(2):
        images = load_site_images(tmp_path, history)
        assert (len(images.summed), len(images.held_out)) == (5, 4)
        history = {(image.digest, image.label): ReleasedImage(group="", files=1) for image in images.summed}


def test_what_was_sent_is_kept_for_any_number_of_files(tmp_path: Path):
    file = SentFile(history={("d", "a"): ReleasedImage(group="g", files=1 << 20_000)})
    (tmp_path / "sums.npz").write_bytes(file.to_bytes())
    assert SentFile.load(tmp_path / "sums.npz") == file


def test_images_of_defects_only_judge(tmp_path: Path):
    rng = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / ("ok", "scratch")[number % 2]
        folder.mkdir(exist_ok=True)
        image = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((96, 96))
        image.save(folder / f"{number}.png")
    images = load_site_images(tmp_path, {}, "ok")
    assert {(image.label, image.kind) for image in images.summed} == {("normal", "ok")}
    assert sum(image.label == "anomalous" for image in images.held_out) == 10
    known = {(image.digest, image.label): ReleasedImage(group="", files=1) for image in images.summed}
    one = next(image.path for image in images.summed)
    shutil.move(one, tmp_path / "scratch" / one.name)  # a person corrected its label
    again = load_site_images(tmp_path, known, "ok")
    assert len(again.summed) == len(images.summed) - 1
    (tmp_path / "ok").rename(tmp_path / "OK")
    other = load_site_images(tmp_path, known, "ok")
    assert [image.digest for image in other.summed] == [image.digest for image in again.summed]
    assert "the class 'OK' (9 images) counts as 'ok'" in other.notes
    (tmp_path / "OK").rename(tmp_path / "fine")
    with pytest.raises(DatasetError, match="has the class ok, only fine, scratch"):
        load_site_images(tmp_path, known, "ok")


def test_the_command_sends_the_sums_to_the_relay_once(features: CountingFeatures, tmp_path: Path):
    build_tiny_dataset(tmp_path / "images")
    taken = list[str]()

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(self.headers["ce-type"])
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        Thread(target=relay.serve_forever, daemon=True).start()
        options = ["--site", "hut", "--relay", f"http://127.0.0.1:{relay.server_port}", "--minimum", "5"]
        places = ["--artifact", features.artifact.path, "--images", tmp_path / "images", "--state", tmp_path / "state"]
        for _ in range(2):
            found = CliRunner().invoke(command, ["site", *options, *map(str, places)], catch_exceptions=False)
            assert found.exit_code == 0, found.output
        relay.shutdown()
    assert taken == [FEDERATION_SUMS]
