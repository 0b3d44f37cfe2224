"""The model while it loads: who comes during the golden check works beside it, and is answered only once it passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.artifact import Artifact
from eaves.errors import GoldenError, ImageError, LoadingError
from tests.fakes.models.artifact import write_colours
from tests.fakes.models.model import FakeModel, build_classifier


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_colours(tmp_path / "artifact")


def test_nobody_is_answered_before_the_check_has_passed(artifact: Artifact) -> None:
    model = FakeModel(build_classifier(artifact), checking=True)
    worked = []
    with pytest.raises(LoadingError, match="being checked"), model.use():
        worked.append(not model.ready)
    with model.use():
        model.finish()
    assert worked == [True]


@pytest.mark.parametrize("error", [None, ImageError("corrupt"), ZeroDivisionError()])
def test_what_an_unproven_model_did_counts_for_nothing_when_the_check_fails(
    artifact: Artifact, error: Exception | None
) -> None:
    model = FakeModel(build_classifier(artifact), checking=True)

    def work() -> None:
        with model.use():
            model.finish(GoldenError("logits differ"))
            if error:
                raise error

    with pytest.raises(GoldenError, match="logits differ"):
        work()
    assert not model.ready
