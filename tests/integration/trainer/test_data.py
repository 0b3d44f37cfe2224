"""Data where they live: a real S3 endpoint and a real web server, both over HTTP."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eaves.errors import StorageError
from trainer.data import remote
from trainer.data.dataset import Dataset, load_dataset
from trainer.progress import SilentProgress
from trainer.settings import DataSettings

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

Requests = list[tuple[str, str]]
"""(method, path) of each request that a server got."""


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


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, seen: Requests, cut: set[str], down: set[str], **kwargs: Any) -> None:
        self._seen, self._cut, self._down = seen, cut, down
        super().__init__(*args, **kwargs)

    def log_message(self, *args: Any) -> None:
        """Nothing: the test looks at what was seen."""

    def do_GET(self) -> None:
        self._seen.append(("GET", self.path))
        if self.path in self._down:
            self.send_error(503)
            return
        if self.path in self._cut:
            self._cut.remove(self.path)
            data = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:100])
            self.close_connection = True
            return
        super().do_GET()

    def do_HEAD(self) -> None:
        self._seen.append(("HEAD", self.path))
        if self.path in self._down:
            self.send_error(503)
            return
        super().do_HEAD()


class Web:
    """A web server for a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, Requests()
        self.cut, self.down = set[str](), set[str]()
        handler = functools.partial(_Handler, directory=str(folder), seen=self.seen, cut=self.cut, down=self.down)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def downloads(self) -> list[str]:
        return [path for method, path in self.seen if method == "GET"]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "web").mkdir()
    server = Web(tmp_path / "web")
    yield server
    server.stop()


def times(cache: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in cache.rglob("*.jpg")}


def test_a_folder_per_class_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
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


def test_only_what_changed_in_a_bucket_is_downloaded_and_what_went_is_gone(bucket: Any, tmp_path: Path) -> None:
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


def test_keys_that_reach_out_are_left_out(bucket: Any, tmp_path: Path) -> None:
    uri = upload(bucket, PHOTOS | {"../up.jpg": b"x", "rose/../../../up.jpg": b"x", "rose//twice.jpg": b"x"})
    dataset = load(uri, tmp_path / "cache")
    assert len(dataset.examples) == 16
    assert {fault.file for fault in dataset.faults} >= {"rose/../../../up.jpg"}
    assert not list(tmp_path.rglob("up.jpg"))


def publish(web: Web, *others: str) -> str:
    """The photos and a manifest of them and of others."""
    for name, data in PHOTOS.items():
        (web.folder / "sets" / name).parent.mkdir(parents=True, exist_ok=True)
        (web.folder / "sets" / name).write_bytes(data)
    rows = ["path,label", *(f"{name},{name.split('/')[0]}" for name in (*PHOTOS, *others))]
    (web.folder / "sets" / "m.csv").write_text("\n".join(rows))
    return f"{web.url}/sets/m.csv"


def test_an_image_that_cannot_be_had_just_now_ends_the_training_and_is_no_fault(web: Web, tmp_path: Path) -> None:
    uri = publish(web)
    web.down.add("/sets/rose/1.jpg")
    with pytest.raises(StorageError, match="503"):
        remote.mirror(uri, tmp_path / "cache" / "remote", SilentProgress(), attempts=1)
    web.down.clear()
    assert len(load(uri, tmp_path / "cache").examples) == 16
    came = [path for path in web.downloads() if "rose/1.jpg" not in path]
    assert len(came) == len(set(came)), "what came before the failure is kept"


def test_a_manifest_over_http(web: Web, tmp_path: Path) -> None:
    too_long = f"rose/{'n' * 5000}.jpg"
    uri = publish(web, "rose/gone.jpg", too_long)
    dataset = load(uri, tmp_path / "cache")
    assert len(dataset.examples) == 16
    assert [fault.file for fault in dataset.faults] == ["rose/gone.jpg", too_long]
    load(uri, tmp_path / "cache")
    came = [path for path in web.downloads() if "gone" not in path and "nnn" not in path]
    assert len(came) == len(set(came)) == 17


def test_a_download_that_breaks_off_is_tried_again(web: Web, tmp_path: Path) -> None:
    uri = publish(web)
    web.cut.add("/sets/rose/1.jpg")
    assert len(load(uri, tmp_path / "cache").examples) == 16
    assert web.downloads().count("/sets/rose/1.jpg") == 2
