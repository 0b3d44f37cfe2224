"""Kubernetes quantities as numbers and back."""

from __future__ import annotations

import pytest

from eaves.platform.quantities import parse_quantity
from knative.resources.pod import show_memory


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 0.25),
        ("2", 2.0),
        (4, 4.0),
        ("1.5", 1.5),
        ("24479292Ki", 24479292 * 1024.0),
        ("1Gi", 2.0**30),
        ("1G", 1e9),
        ("128e6", 128e6),
        ("1E", 1e18),
        ("0", 0.0),
        ("100n", 1e-7),
    ],
)
def test_every_notation(text: object, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "one", None, "1mi", "--1"])
def test_what_is_no_quantity(text: object) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize(("size", "text"), [(2**30, "1Gi"), (512 * 2**20, "512Mi"), (1e9, "954Mi"), (0, "0Mi")])
def test_memory_as_people_write_it(size: float, text: str) -> None:
    assert show_memory(size) == text
