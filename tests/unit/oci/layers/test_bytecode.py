"""Byte code that is the same for every builder, place and time."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from eaves.oci.layers.bytecode import compile_folder, find_compiler

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
SOURCE = """
class Names:
    def __init__(self):
        self.alpha = self.beta = self.gamma = self.delta = None

WORDS = {"one", "two", "three"}
def inside(x): return x in {"one", "two", "three", "four"}
"""


def compiled(root: Path, name: str = "opt/code/a.py") -> bytes:
    source = root / name
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    compile_folder(find_compiler(OWN), root)
    return Path(importlib.util.cache_from_source(str(source))).read_bytes()


def test_neither_place_nor_settings_nor_times_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled(tmp_path / "a")
    settings = {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "TZ": "Asia/Tokyo", "PYTHONPYCACHEPREFIX": "/nowhere"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        assert compiled(tmp_path / "other/place") == first
    finally:
        os.umask(before)
    assert b"/opt/code/a.py" in first
    assert str(tmp_path).encode() not in first
