"""Recognises, by digest, the weights files that Keras publishes; they expect the architecture's own pixel scale."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

KERAS_MD5: dict[str, str] = {
    "inception_v3": "bcbd6486424b2319ff4ef7d526e38f63",
    "mobilenet_v3_small": "d3e8ec802a04aa4fc771ee12a9a9b836",
    "mobilenet_v3_large": "07fb09a5933dd0c8eaafa16978110389",
    "efficientnet_v2_b0": "893217f2bb855e2983157299931e43ff",
    "resnet50_v2": "fac2f116257151a9d068a22e544a4917",
    "xception": "b0042744bf5b25fce3cb969f33bebb97",
    "densenet121": "30ee3e1110167f948a6b9946edeeb738",
}
"""Name of each architecture to the md5, hex, of the weights file without classifier (`include_top=False`) that Keras
publishes. Keras lists no md5 for MobileNetV2, so the scale of its file is measured.

Source: Keras 3.15.1, keras/src/applications/: inception_v3.py, mobilenet_v3.py, efficientnet_v2.py, resnet.py,
xception.py and densenet.py, `file_hash`.
"""


def is_published_by_keras(arch: str, file: Path, digests: Mapping[str, str] = KERAS_MD5) -> bool:
    """Return whether a file of weights is the file that Keras publishes for an architecture.

    Args:
        arch: Name of the architecture.
        file: Path of the file; the result is False when it doesn't exist.
        digests: Name of each architecture to the md5 of the file that Keras publishes for it, hex.
    """
    expected = digests.get(arch)
    if expected is None or not file.is_file():
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, _md5).hexdigest() == expected


def _md5() -> hashlib._Hash:
    """Return an md5 hash, which Keras uses for its files; no security depends on it."""
    return hashlib.md5(usedforsecurity=False)
