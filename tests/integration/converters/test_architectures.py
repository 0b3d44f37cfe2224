"""Every architecture of the registry at its own size: trained, converted, proven equal, optimised; slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.model.architectures import build_run, measure
from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import check
from eaves.inference.session import open_session
from tests.inputs.artifacts import CLASSES, build_tiny_dataset
from trainer.model.architectures import ARCHITECTURES


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_converts_answers_the_same_and_leaves_little_to_do(arch: str, tmp_path: Path) -> None:
    run = build_run(arch, build_tiny_dataset(tmp_path / "digits"), tmp_path)
    artifact = convert(run.path, tmp_path / "artifact", ConvertSettings(precision="fp32"))
    row = measure(run, artifact)
    print(f"\n{row.render()}\n{row.operators}")  # noqa: T201 - seen with -s, and when it fails
    # Equal answers prove something only where answers differ.
    assert row.spread > 0.1
    assert row.max_abs_error < 1e-3 * row.spread
    assert check(artifact, open_session(artifact).answer) == CLASSES
    assert row.operators["BatchNormalization"] == 0
