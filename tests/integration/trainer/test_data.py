"""Data where they live: a real S3 endpoint and a real web server, both over HTTP."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eaves.errors import StorageError
from tests.fakes.http.server import Asked, FakeServer, open_server, respond
from trainer.data import remote
from trainer.data.dataset import Dataset, load_dataset
from trainer.progress import SilentProgress
from trainer.settings import DataSettings

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")


def encoded(seed: int) -> bytes:
    """A picture like no other."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


PHOTOS = {f"daisy/{number}.jpg": encoded(number) for number in range(8)}
PHOTOS |= {f"rose/{number}.jpg": encoded(100 + number) for number in range(8)}


def load(uri: str, cache: Path) -> Dataset:
    return load_dataset(DataSettings(path=uri), val_fraction=0.3, seed=0, cache=cache)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty bucket; s3fs learns where it is from the environment, as in a Job."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket(hashlib.sha256(request.node.name.encode()).hexdigest()[:20])
    made.create()
    yield made
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def upload(bucket: Any, files: dict[str, bytes], prefix: str = "photos/") -> str:
    for name, data in files.items():
        bucket.put_object(Key=prefix + name, Body=data)
    return f"s3://{bucket.name}/{prefix}".rstrip("/")


class Web:
    """A web server for files that a test may lack, break off or refuse.

    Attributes:
        files: Content by path.
        cut: Paths whose next answer breaks off.
        down: Paths that are answered with 503.
    """

    def __init__(self, server: FakeServer) -> None:
        self.files: dict[str, bytes] = {}
        self.cut, self.down = set[str](), set[str]()
        self.server, server.answer = server, self._answer

    def downloads(self) -> list[str]:
        return [asked.target for asked in self.server.asked if asked.method == "GET"]

    def _answer(self, asked: Asked) -> bytes:
        if asked.target in self.down or asked.target not in self.files:
            return respond(503 if asked.target in self.down else 404)
        data = self.files[asked.target]
        if asked.method == "HEAD":
            return respond(length=len(data))
        if asked.target in self.cut:
            self.cut.remove(asked.target)
            return respond(body=data[:100], length=len(data), Connection="close")
        return respond(body=data)


@pytest.fixture
def web() -> Iterator[Web]:
    with open_server(lambda _: b"") as server:
        yield Web(server)


def times(cache: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in cache.rglob("*.jpg")}


def test_a_folder_per_class_in_a_bucket(bucket: Any, tmp_path: Path):
    uri = upload(bucket, PHOTOS | {"daisy/notes.txt": b"x", "daisy/.hidden.jpg": b"x"})
    upload(bucket, {"a.jpg": b"x"}, prefix="photos-of-others/")
    dataset = load(uri, tmp_path / "cache")
    assert dataset.labels == ("daisy", "rose")
    assert {item.path.relative_to(dataset.root).as_posix() for item in dataset.examples} == set(PHOTOS)
    assert [fault.file for fault in dataset.faults] == ["daisy/notes.txt"]
    before = times(tmp_path / "cache")
    assert len(before) == 16
    assert load(uri, tmp_path / "cache").digest() == dataset.digest()
    assert times(tmp_path / "cache") == before, "nothing was downloaded twice"


def test_only_what_changed_in_a_bucket_is_downloaded_and_what_went_is_gone(bucket: Any, tmp_path: Path):
    uri = upload(bucket, PHOTOS)
    load(uri, tmp_path / "cache")
    before = times(tmp_path / "cache")
    upload(bucket, {"daisy/0.jpg": encoded(999)})
    bucket.Object("photos/rose/1.jpg").delete()
    dataset = load(uri, tmp_path / "cache")
    after = times(tmp_path / "cache")
    assert [Path(file).name for file in after if after[file] != before[file]] == ["0.jpg"]
    assert len(dataset.examples) == 15
    assert not dataset.faults


def test_a_folder_with_labels_in_a_bucket(bucket: Any, tmp_path: Path):
    labels = {"labels.csv": b"file,label\ndaisy/0.jpg,rose\nnew.jpg,rose\n", "new.jpg": encoded(200)}
    dataset = load(upload(bucket, PHOTOS | labels), tmp_path)
    assert {name: dataset.counts("train")[name] + dataset.counts("val")[name] for name in dataset.labels} == {
        "daisy": 7,
        "rose": 10,
    }
    assert dataset.faults == ()


def test_keys_that_reach_out_are_left_out(bucket: Any, tmp_path: Path):
    uri = upload(bucket, PHOTOS | {"../up.jpg": b"x", "rose/../../../up.jpg": b"x", "rose//twice.jpg": b"x"})
    dataset = load(uri, tmp_path / "cache")
    assert len(dataset.examples) == 16
    assert {fault.file for fault in dataset.faults} >= {"rose/../../../up.jpg"}
    assert not list(tmp_path.rglob("up.jpg"))


def publish(web: Web, *others: str) -> str:
    """The photos and a manifest of them and of others."""
    rows = ["path,label", *(f"{name},{name.split('/')[0]}" for name in (*PHOTOS, *others))]
    web.files = {f"/sets/{name}": data for name, data in PHOTOS.items()}
    web.files["/sets/m.csv"] = "\n".join(rows).encode()
    return f"{web.server.url}/sets/m.csv"


def test_an_image_that_cannot_be_had_just_now_ends_the_training_and_is_no_fault(web: Web, tmp_path: Path):
    uri = publish(web)
    web.down.add("/sets/rose/1.jpg")
    with pytest.raises(StorageError, match="503"):
        remote.mirror(uri, tmp_path / "cache" / "remote", SilentProgress(), attempts=1)
    web.down.clear()
    assert len(load(uri, tmp_path / "cache").examples) == 16
    came = [path for path in web.downloads() if "rose/1.jpg" not in path]
    assert len(came) == len(set(came)), "what came before the failure is kept"


def test_a_manifest_over_http(web: Web, tmp_path: Path):
    too_long = f"rose/{'n' * 5000}.jpg"
    uri = publish(web, "rose/gone.jpg", too_long)
    dataset = load(uri, tmp_path / "cache")
    assert len(dataset.examples) == 16
    assert [fault.file for fault in dataset.faults] == ["rose/gone.jpg", too_long]
    load(uri, tmp_path / "cache")
    came = [path for path in web.downloads() if "gone" not in path and "nnn" not in path]
    assert len(came) == len(set(came)) == 17


def test_a_download_that_breaks_off_is_tried_again(web: Web, tmp_path: Path):
    uri = publish(web)
    web.cut.add("/sets/rose/1.jpg")
    assert len(load(uri, tmp_path / "cache").examples) == 16
    assert web.downloads().count("/sets/rose/1.jpg") == 2
