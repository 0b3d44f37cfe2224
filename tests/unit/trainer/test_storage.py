"""Files by name under a place: whole or absent, here and at a URI."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from eaves.errors import StorageError
from trainer.storage import FileStore, open_store


@pytest.fixture(params=["path", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileStore]:
    places: dict[str, str | Path] = {
        "path": tmp_path / "a b%41::c",
        "file": f"file://{tmp_path}/c",
        "memory": f"memory://{uuid4().hex}",
    }
    yield open_store(places[request.param])
    fsspec.filesystem("memory").store.clear()


def test_what_is_written_is_read(store: FileStore):
    assert not store.exists("x/1.bin")
    assert store.list() == []
    store.write("x/1.bin", b"one")
    store.write("x/1.bin", b"two")
    store.write("xy.bin", b"")
    assert store.read("x/1.bin") == b"two"
    assert store.list() == ["x/1.bin", "xy.bin"]
    assert store.list("x/") == ["x/1.bin"]
    assert store.exists("xy.bin")
    assert not store.exists("x")


def test_what_is_not_there_can_not_be_read(store: FileStore):
    with pytest.raises(StorageError, match=r"can't read .*nothing\.bin") as caught:
        store.read("nothing.bin")
    assert caught.value.exit_code == 74
    assert caught.value.hint


def test_a_place_that_cant_be_asked_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch):
    """A training that took a lost link for an empty bucket would train its run again."""
    s3fs = pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=r"can't read s3://bucket/run\.json"):
        open_store("s3://bucket").exists("run.json")
    s3fs.S3FileSystem.clear_instance_cache()
