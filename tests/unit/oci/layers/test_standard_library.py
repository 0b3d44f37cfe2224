"""The standard library of a base as byte code, which shows neither place nor times."""

import importlib.util
import io
import marshal
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType

import pytest

from eaves.errors import StandardLibraryError
from eaves.oci.descriptor import LAYER, LAYER_GZIP, build_descriptor
from eaves.oci.layers.bytecode import (
    compile_folder,
    compile_standard_library,
    find_compiler,
    find_standard_library,
)
from eaves.oci.layers.image import Image
from eaves.oci.layout import Layout, create_layout
from tests.container_images.packaging import VERSION

ROOT = f"usr/local/lib/python{VERSION}"


def test_the_byte_code_is_of_the_bases_own_source_and_never_checked():
    library = {f"{ROOT}/json.py": b"VALUE = 'of this base'"}
    (file,) = compile_standard_library(library, find_compiler(VERSION))
    assert file.path == f"{ROOT}/__pycache__/json.cpython-{VERSION.replace('.', '')}.pyc"
    assert isinstance(file.content, bytes)
    assert file.content[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(file.content[4:8], "little") == 0b01, "unchecked, by PEP 552"
    code = marshal.loads(file.content[16:])
    assert isinstance(code, CodeType)
    assert (code.co_filename, "of this base" in code.co_consts) == (f"/{ROOT}/json.py", True)


def test_a_source_that_does_not_compile_is_an_error():
    library = {f"{ROOT}/json.py": b"match = ("}
    with pytest.raises(StandardLibraryError, match="the base's standard library can't be compiled"):
        compile_standard_library(library, find_compiler(VERSION))


def base_of(folder: Path, *layers: Mapping[str, str] | bytes) -> tuple[Layout, Image]:
    """A base with these layers, lowest first: files by their paths, or a layer's bytes."""
    layout = create_layout(folder / "base")
    descriptors = []
    for number, files in enumerate(layers):
        if isinstance(files, bytes):
            content = files
        else:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz" if number % 2 else "w") as tar:
                for path, text in files.items():
                    info = tarfile.TarInfo(path)
                    info.size = len(text)
                    tar.addfile(info, io.BytesIO(text.encode()))
            content = buffer.getvalue()
        descriptors.append(build_descriptor(content, LAYER_GZIP if number % 2 else LAYER))
        layout.write_bytes(content, descriptors[-1])
    empty = build_descriptor(b"{}", LAYER)
    return layout, Image(descriptor=empty, config=empty, layers=tuple(descriptors), values={})


def found_in(tmp_path: Path, *layers: Mapping[str, str] | bytes) -> tuple[Mapping[str, bytes], str, Sequence[str]]:
    """Library and glibc of a base with these layers, and the lines of progress."""
    layout, image = base_of(tmp_path, *layers)
    lines: list[str] = []
    return *find_standard_library(layout, image, VERSION, lines.append), lines


def libc(version: str) -> str:
    """What libc.so.6 of Debian says about itself, among other bytes."""
    return (
        f"\0GLIBC_2.99\0GNU C Library (Debian GLIBC {version}-9+deb12u9) stable release version {version}.\nCopyright"
    )


def test_it_is_found_in_the_highest_layer_and_lower_ones_are_not_fetched(tmp_path: Path):
    files = {f"./{ROOT}/os.py": "A = 1", f"{ROOT}/json/__init__.py": "B = 1", f"{ROOT}/test/x.py": "", "etc/os.py": ""}
    debian = {"usr/lib/aarch64-linux-gnu/libc.so.6": libc("2.36"), "usr/lib/aarch64-linux-gnu/libc.so": "GNU ld script"}
    library, glibc, lines = found_in(tmp_path, {"bin/sh": ""}, debian, files, {"etc/hosts": ""})
    assert library == {f"{ROOT}/os.py": b"A = 1", f"{ROOT}/json/__init__.py": b"B = 1"}
    assert glibc == "2.36"
    assert len(lines) == 3, "the lowest layer has none of it"


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (({"lib/x86_64-linux-gnu/libc-2.31.so": libc("2.31")},), "2.31"),
        (({"usr/lib64/libc.so.6": libc("2.34")}, {"usr/lib64/libc.so.6": libc("2.39")}), "2.39"),
        (({"lib/ld-musl-aarch64.so.1": "musl libc", "opt/mylibc.so.6": libc("2.36")},), ""),
        (({"lib/libc.so.6": "something else"},), ""),
    ],
    ids=["Debian 11", "upgraded by an upper layer", "Alpine", "another library"],
)
def test_glibc_says_its_version(tmp_path: Path, layers: Sequence[Mapping[str, str]], expected: str):
    assert found_in(tmp_path, *layers, {f"{ROOT}/os.py": ""})[1] == expected


@pytest.mark.parametrize("outside", ["../../../lib/python{}/os.py", "usr/../../../lib/python{}/os.py"])
def test_a_path_that_leads_out_of_the_root_is_not_read(tmp_path: Path, outside: str):
    """A file is compiled below its path in a temporary folder, so such a path would write anywhere on this machine."""
    with pytest.raises(StandardLibraryError, match="no layer of the base contains"):
        found_in(tmp_path, {outside.format(VERSION): "evil"})
    library, *_ = found_in(tmp_path / "more", {f"{ROOT}/os.py": "", f"{ROOT}/json/../../../../evil.py": "evil"})
    assert library == {f"{ROOT}/os.py": b""}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"usr/lib/python3.9/os.py": ""}, rf"no layer of the base contains lib/python{VERSION}/os\.py"),
        (b"(\xb5/\xfd of zstd", "can't be read"),
        (b"\x1f\x8b cut", "can't be read"),
    ],
    ids=["another version", "zstd", "damaged"],
)
def test_a_base_without_one_that_can_be_read_is_an_error(
    tmp_path: Path, layer: Mapping[str, str] | bytes, message: str
):
    with pytest.raises(StandardLibraryError, match=message):
        found_in(tmp_path, layer)


OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
SOURCE = """
class Names:
    def __init__(self):
        self.alpha = self.beta = self.gamma = self.delta = None

WORDS = {"one", "two", "three"}
def inside(x): return x in {"one", "two", "three", "four"}
"""


def compiled(root: Path, *, changed_at: int) -> bytes:
    source = root / "opt/code/a.py"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    os.utime(source, (changed_at, changed_at))
    compile_folder(find_compiler(OWN), root)
    return Path(importlib.util.cache_from_source(str(source))).read_bytes()


def test_neither_place_nor_settings_nor_times_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = compiled(tmp_path / "a", changed_at=1_000_000_000)
    settings = {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "TZ": "Asia/Tokyo", "PYTHONPYCACHEPREFIX": "/nowhere"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        assert compiled(tmp_path / "other/place", changed_at=1_700_000_000) == first
    finally:
        os.umask(before)
    assert b"/opt/code/a.py" in first
    assert str(tmp_path).encode() not in first
