"""Two runs, compared on the images that both hold out."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.console.catalog.runs.comparison import compare_runs
from eaves.console.catalog.runs.files import RunFiles, load_files
from tests.fakes.models.run import write_run

RIGHT, WRONG = ("daisy", "daisy"), ("daisy", "rose")


def load(path: Path, answers: list[tuple[str, str]], **changes: object) -> RunFiles:
    return load_files(write_run(path, answers=answers, **changes).path, path.name)  # type: ignore[arg-type]


def test_a_clear_difference_is_shown_with_its_evidence(tmp_path: Path) -> None:
    first = load(tmp_path / "a", [RIGHT] * 10 + [WRONG] * 30)
    second = load(tmp_path / "b", [RIGHT] * 36 + [WRONG] * 4)
    found = compare_runs(first, second)
    assert found.is_shown
    assert found.verdict.startswith("The second run is better: +65.0 points of accuracy, 95% interval +")
    assert "on 40 images that neither run was trained on" in found.verdict
    assert found.verdict.endswith("Only the first is right on 0, only the second on 26.")
    assert [share.right for share in found.shared] == [10, 36]
    assert [(row.label, row.lost, row.gained, row.text) for row in found.classes] == [("daisy", 0, 26, "better")]
    assert found.differing_count == 26
    back = compare_runs(second, first)
    assert back.verdict.startswith("The second run is worse: \N{MINUS SIGN}65.0 points")
    assert back.classes[0].text == "worse"


def test_few_images_tell_nothing(tmp_path: Path) -> None:
    found = compare_runs(load(tmp_path / "a", [RIGHT, WRONG, WRONG]), load(tmp_path / "b", [RIGHT, RIGHT, WRONG]))
    assert not found.is_shown
    assert found.verdict.startswith("There are too few images to tell which run is better: +33.3 points")
    assert found.classes[0].text == "too few images to tell"


def test_many_equal_answers_show_that_the_runs_are_equally_good(tmp_path: Path) -> None:
    answers = [RIGHT] * 1000
    found = compare_runs(load(tmp_path / "a", answers), load(tmp_path / "b", answers))
    assert found.verdict.startswith("The runs are equally good: 0.0 points of accuracy, 95% interval \N{MINUS SIGN}0.")
    assert found.classes[0].text == "the same images are right"


def test_only_images_that_both_hold_out_count(tmp_path: Path) -> None:
    found = compare_runs(load(tmp_path / "a", [RIGHT] * 3), load(tmp_path / "b", [RIGHT] * 5))
    assert [share.images for share in found.shared] == [3, 3]
    assert [share.images for share in found.own] == [3, 5]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keep_answers": False}, "was made by an earlier version of Eaves and keeps no held_out.jsonl"),
        ({"labels": ("daisy", "rose")}, "The runs have different classes"),
    ],
)
def test_runs_that_cannot_be_compared_say_why(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    found = compare_runs(load(tmp_path / "a", [RIGHT, WRONG]), load(tmp_path / "b", [RIGHT, WRONG], **changes))
    assert reason in found.verdict
    assert not found.shared
    assert not found.classes
    assert len(found.curves) == 2


def test_the_settings_that_differ_are_listed(tmp_path: Path) -> None:
    first, second = load(tmp_path / "a", [RIGHT]), load(tmp_path / "b", [RIGHT], about={"epochs": 9})
    assert compare_runs(first, second).settings == (("train.epochs", "2", "9"),)
