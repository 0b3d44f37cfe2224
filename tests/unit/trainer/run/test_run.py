"""The run directory: whole or not at all, and checked when opened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import RunError
from eaves.recipe import Recipe
from trainer.run.run import Run, clear_unfinished, finish, new_run, open_run

ABOUT: dict[str, Any] = {
    "name": "flowers",
    "arch": "small_cnn",
    "mode": "full",
    "epochs": 1,
    "learning_rate": 0.1,
    "weights": {"kind": "none"},
    "labels": ["daisy", "roses"],
    "recipe": Recipe(height=32, width=32).to_dict(),
    "dataset": {"sha256": "00"},
    "data_faults": [{"file": "a.png", "reason": "corrupt"}],
    "val_accuracy": 0.5,
    "versions": {},
    "fingerprint": "",
    "code": "",
    "hardware": {},
    "verdict": {},
    "calibration": {},
    "selection": {},
    "head": "",
}


def write(output: Path) -> Run:
    with new_run(output) as work:
        (work / "model").mkdir()
        (work / "model" / "saved_model.pb").write_bytes(b"graph")
        (work / "samples.json").write_text('{"samples/000.png": {"label": "daisy", "sha256": "11"}}')
        return finish(work, output, ABOUT)


def test_what_is_written_is_what_is_opened(tmp_path: Path):
    written = write(tmp_path / "run")
    opened = open_run(tmp_path / "run")
    assert opened == written
    assert opened.labels == ("daisy", "roses")
    assert opened.recipe == Recipe(height=32, width=32)
    assert set(opened.files) == {"model/saved_model.pb", "samples.json"}
    assert opened.samples()[0].label == "daisy"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_what_is_there_is_not_touched(tmp_path: Path):
    write(tmp_path / "run")
    with pytest.raises(RunError, match="holds a run"):
        write(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match="is not a run"):
        write(tmp_path / "other")


def test_a_failure_leaves_nothing(tmp_path: Path):
    def fail() -> None:
        with new_run(tmp_path / "run") as work:
            (work / "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(tmp_path: Path):
    with new_run(tmp_path / "run") as work:
        (work / "mine").write_text("x")
        with pytest.raises(RunError, match="another process"), new_run(tmp_path / "run"):
            pass
        assert (work / "mine").is_file()


def change_manifest(key: str, value: Any) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        values = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(values | {key: value}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "it has no run.json"),
        (lambda run: (run / "model" / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda run: (run / "model" / "saved_model.pb").write_bytes(b"grape"), "has changed since it was written"),
        (change_manifest("schema_version", 99), "schema version 99"),
        (change_manifest("recipe", {"height": 1, "new": 2}), "unknown fields"),
    ],
)
def test_damage_is_reported(tmp_path: Path, damage: Callable[[Path], Any], message: str):
    write(tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(RunError, match=message):
        open_run(tmp_path / "run")


def leave_unfinished(run: Path, *checkpoints: str) -> Path:
    place = run.with_name(f".{run.name}.unfinished")
    (place / "run").mkdir(parents=True)
    (place / "run" / "half").write_text("x")
    (place / "checkpoints").mkdir()
    for name in ("selection.json", *checkpoints):
        (place / "checkpoints" / name).write_text("{}")
    return place


def test_what_ended_trainings_have_left_is_named_and_removed_unless_it_can_be_continued(tmp_path: Path):
    gone, kept = leave_unfinished(tmp_path / "gone"), leave_unfinished(tmp_path / "kept", "config.json")
    own = leave_unfinished(tmp_path / "own")
    with new_run(tmp_path / "busy") as work:
        (work / "mine").write_text("x")
        said = list(clear_unfinished(tmp_path / "own"))
        assert (work / "mine").is_file(), "it is being written"
    assert [f"its command with --run {tmp_path / 'kept'} continues it" in line for line in said] == [False, True]
    assert (not gone.exists(), own.is_dir()) == (True, True)
    assert sorted(entry.name for entry in kept.iterdir()) == ["checkpoints"]
    assert (kept / "checkpoints" / "config.json").is_file()
