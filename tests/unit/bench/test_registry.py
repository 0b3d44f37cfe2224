"""Every benchmark in the list exists, and a part that can't be measured does not end the others."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bench.material import Material, Setup, parse_setup, render_setup
from bench.registry import PARTS, PRINTED, Part
from bench.report.page import anchor
from bench.report.section import UnavailableError

MATERIAL = Material(
    name="lite0",
    text="lite0, 224x224 pixels",
    run=Path("/run"),
    exported=Path("/exported.onnx"),
    fp32=Path("/fp32"),
    int8=Path("/int8"),
    updates={"fp32": Path("/update")},
    image=Path("/image.jpg"),
)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_can_be_loaded_and_says_what_it_measures(part: Part) -> None:
    assert callable(part.load())
    assert part.text.endswith(".")


def test_names_and_headings_are_unique() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert len({anchor(part.title) for part in PARTS}) == len(PARTS)
    assert not {part.name for part in PARTS} & {*PRINTED, "page", "prepare"}


@pytest.mark.parametrize("name", ["spool", "sites"])
def test_a_benchmark_that_only_prints_can_be_loaded(name: str) -> None:
    assert callable(importlib.import_module(f"bench.{PRINTED[name]}").main)


@pytest.mark.parametrize("part", [part for part in PARTS if part.needs_model], ids=lambda part: part.name)
def test_a_part_without_a_model_is_unavailable(part: Part) -> None:
    with pytest.raises(UnavailableError, match="no network"):
        part.load()(Setup(reason="no network", environ={}))


def test_a_setup_reaches_the_process_of_a_part() -> None:
    setup = Setup(models=(MATERIAL,), is_quick=True, has_peers=False, environ={"A": "b"})
    assert parse_setup(render_setup(setup), {"A": "b"}) == setup
    assert parse_setup(render_setup(Setup(reason="r", environ={})), {}).reason == "r"
