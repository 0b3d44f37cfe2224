"""The bytes of a layer hang on names, modes and contents, and on nothing else."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from eaves.errors import OciError
from eaves.oci.layers.layer import FAST, SMALL, Layer, LayerFile, kept_layer, write_layer
from eaves.oci.layout import Layout, create_layout

FILES = (
    LayerFile(path="opt/code/a.py", content=b"a = 1\n"),
    LayerFile(path="opt/code.d/b", content=b"", executable=True),
    LayerFile(path=f"opt/{'long' * 40}/grün.txt", content=b"x" * 70_000),
)
PLAIN = "sha256:b7c4c6360301fd60624845caf7bdfe78a28d96711b474dd47e55576bd078b6e0"
GZIP_FAST = "sha256:4b70e2f7cfb1a8f0409607a8e9602fe2329469c69387a0a3f91012c9149ab833"
GZIP_SMALL = "sha256:3d9f1464db8f1b068fcca319352f891c8ea1b8989252f30e70c0f4a5d9d2c860"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "layout")


def read(layout: Layout, digest: str) -> dict[str, tuple[int, int, float, bytes]]:
    """Name to mode, owner, time and content."""
    content = layout.blob_path(digest).read_bytes()
    plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        found = {}
        for entry in tar:
            stream = tar.extractfile(entry)
            found[entry.name] = (entry.mode, entry.uid + entry.gid, entry.mtime, stream.read() if stream else b"")
        return found


def test_a_layers_digest_is_the_same_everywhere(layout: Layout):
    """Pinned: a Python or a libdeflate that writes other bytes would change the digest of every container image."""
    packed = [write_layer(layout, files, "x", level=level) for files, level in ((FILES, FAST), (FILES[::-1], SMALL))]
    assert {one.diff_id for one in packed} == {PLAIN}
    assert [one.descriptor.digest for one in packed] == [GZIP_FAST, GZIP_SMALL]


def test_a_layer_holds_files_and_their_folders_without_times_and_owners(layout: Layout):
    for level in (FAST, SMALL):
        found = read(layout, write_layer(layout, FILES, "x", level=level).descriptor.digest)
        assert {name: content for name, (*_, content) in found.items() if content or name.endswith("b")} == {
            file.path: file.content for file in FILES
        }
        assert found["opt"][0] == found["opt/code"][0] == found["opt/code.d/b"][0] == 0o755
        assert found["opt/code/a.py"][0] == 0o644
        assert {(owner, time) for _, owner, time, _ in found.values()} == {(0, 0)}


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a//b", "opt/.wh.x"])
def test_paths_that_lead_elsewhere_are_refused(layout: Layout, path: str):
    with pytest.raises(OciError, match="can't contain"):
        write_layer(layout, [LayerFile(path=path, content=b"")], "x")


class Maker:
    """Makes a layer in a cache, and counts how often."""

    def __init__(self, cache: Layout) -> None:
        self.cache, self.times = cache, 0

    def __call__(self) -> Layer:
        self.times += 1
        return write_layer(self.cache, [LayerFile(path="a", content=b"content")], "title")


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(create_layout(tmp_path / "cache"))


def test_a_layer_is_made_once_for_all_that_it_is_made_from(make: Maker):
    first = kept_layer(make.cache, ("a", b"b"), make)
    assert kept_layer(make.cache, ("a", b"b"), make) == first
    assert make.times == 1
    for other in (("a",), ("ab",), ("b", "a"), ("a", b"b", "")):
        kept_layer(make.cache, other, make)
    assert make.times == 5


def test_a_damaged_layer_in_the_cache_is_made_again(make: Maker):
    first = kept_layer(make.cache, ("a",), make)
    blob = make.cache.blob_path(first.descriptor.digest)
    blob.write_bytes(bytes(first.descriptor.size))
    assert kept_layer(make.cache, ("a",), make) == first
    assert make.times == 2
    make.cache.read(first.descriptor)
