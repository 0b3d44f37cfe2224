"""Finds the licences of the parts of an artifact."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")
UNKNOWN = "NOASSERTION"
"""SPDX's value for a licence that is not stated. Source: SPDX 2.3, section 7.13."""
_LONGEST = 100
_CLASSIFIER = "License :: OSI Approved :: "


def installed() -> list[str]:
    """Return the conversion's tools that are installed; TensorFlow may be missing, because ONNX files don't need it."""
    return [name for name in TOOLS if any(metadata.distributions(name=name))]


def read_licences(distributions: Iterable[str]) -> dict[str, str]:
    """Return each installed distribution's licence from its metadata: an SPDX expression, or a short name."""
    return {name: _licence(metadata.metadata(name)) for name in distributions}


def _licence(about: metadata.PackageMetadata) -> str:
    """Return the licence in a distribution's metadata.

    Source: packaging.python.org, core metadata: License-Expression replaces License and the classifiers.
    """
    stated, loose = (_stated(about, field) for field in ("License-Expression", "License"))
    if stated or (loose and len(loose) <= _LONGEST and "\n" not in loose):
        return stated or loose
    named = [
        entry.removeprefix(_CLASSIFIER) for entry in about.get_all("Classifier", []) if entry.startswith(_CLASSIFIER)
    ]
    return ", ".join(named) or UNKNOWN


def _stated(about: metadata.PackageMetadata, field: str) -> str:
    return str(dict(about.json).get(field.lower().replace("-", "_"), ""))
