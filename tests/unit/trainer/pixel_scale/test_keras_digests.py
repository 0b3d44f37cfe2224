"""Keras's own files of weights, known by the digests in Keras's own source."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from trainer.model.architectures import ARCHITECTURES
from trainer.pixel_scale.keras_digests import KERAS_MD5, is_published_by_keras

MODULES = {
    "inception_v3": "inception_v3",
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_v2_b0": "efficientnet_v2",
    "resnet50_v2": "resnet",
    "xception": "xception",
    "densenet121": "densenet",
}


@pytest.mark.parametrize(
    "arch", [name for name, line in ARCHITECTURES.items() if line.pretrained and line.packaged is None]
)
def test_the_digest_stands_in_kerass_source(arch: str) -> None:
    if arch == "mobilenet_v2":  # Keras downloads it unchecked
        source = inspect.getsource(importlib.import_module("keras.src.applications.mobilenet_v2"))
        assert "file_hash" not in source
        assert arch not in KERAS_MD5
        return
    source = inspect.getsource(importlib.import_module(f"keras.src.applications.{MODULES[arch]}"))
    assert f'"{KERAS_MD5[arch]}"' in source


def test_a_file_is_known_by_its_bytes_and_for_its_own_architecture_only(tmp_path: Path) -> None:
    file = tmp_path / "any name.h5"
    file.write_bytes(b"abc")
    digests = {"xception": "900150983cd24fb0d6963f7d28e17f72", "inception_v3": "00"}  # of "abc": RFC 1321, A.5
    assert is_published_by_keras("xception", file, digests)
    assert not is_published_by_keras("inception_v3", file, digests)
    assert not is_published_by_keras("mobilenet_v2", file, digests)
    assert not is_published_by_keras("xception", file)
    file.write_bytes(b"abcd")
    assert not is_published_by_keras("xception", file, digests)
    assert not is_published_by_keras("xception", tmp_path / "nowhere.h5", digests)
