"""A complete run that no training made, with photos, the answers to them and a confusion matrix that fits them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eaves.base.statistics import wilson
from eaves.recipe import Recipe
from tests.fakes.models.artifact import encode_png
from trainer.data.splitting import HELD_OUT_FILE, HeldOutAnswer, render_lines
from trainer.run.run import Run, finish, new_run, render_json

LABELS = ("daisy", "rose", "tulip")
ANSWERS = (("daisy", "daisy"), ("daisy", "daisy"), ("daisy", "rose"), ("rose", "rose"), ("rose", "tulip"))
"""True and predicted class of each held-out photo; `tulip` has none."""


def write_run(
    output: Path,
    *,
    photos: Path | None = None,
    answers: Sequence[tuple[str, str]] = ANSWERS,
    labels: Sequence[str] = LABELS,
    keep_answers: bool = True,
    held_out: Sequence[HeldOutAnswer] = (),
    about: Mapping[str, Any] | None = None,
) -> Run:
    """Write a run whose photo NUMBER is the same for every run.

    Args:
        output: Directory of the run.
        photos: Folder for the held-out photos; None writes none, as on a machine that didn't train.
        answers: True and predicted class of each held-out photo.
        labels: Class names.
        keep_answers: Whether the run keeps its answers; older versions don't.
        held_out: Answers that it keeps in place of `answers`.
        about: Fields of run.json to replace.
    """
    given = list(_write_photos(photos, answers))
    confusion = [[sum(pair == (row, column) for pair in answers) for column in labels] for row in labels]
    root = str(photos) if photos else "/nowhere/photos"
    values = {
        "name": "flowers",
        "arch": "small_cnn",
        "mode": "full",
        "epochs": 2,
        "learning_rate": 0.1,
        "weights": {"kind": "none"},
        "labels": list(labels),
        "recipe": Recipe(height=32, width=32).to_dict(),
        "dataset": {"sha256": "00", "root": root, "train": dict.fromkeys(labels, 9), "val": dict.fromkeys(labels, 2)},
        "data_faults": [],
        "val_accuracy": 0.6,
        "versions": {},
        "fingerprint": "",
        "code": "",
        "hardware": {},
        "calibration": {},
        "selection": {},
        "head": "",
        "verdict": {"kind": "weak", "text": "this model is weak: 0.60 on 5 held-out images"},
        **(about or {}),
    }
    with new_run(output) as work:
        (work / "samples").mkdir()
        (work / "samples/000.png").write_bytes(build_photo(0))
        (work / "samples.json").write_bytes(
            render_json({"samples/000.png": {"label": answers[0][0], "sha256": given[0].digest}})
        )
        interval = wilson(sum(row[at] for at, row in enumerate(confusion)), sum(map(sum, confusion)))
        measured = {"confusion": confusion, "val_accuracy_interval_95": interval, "seconds": {"fit": 30.0}}
        (work / "metrics.json").write_bytes(render_json(measured))
        epoch = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.2, "val_accuracy": 0.4}
        history = [epoch, {**epoch, "accuracy": 0.7}]
        (work / "history.json").write_bytes(render_json(history))
        (work / "config.json").write_bytes(render_json({"train": {"arch": values["arch"], "epochs": values["epochs"]}}))
        if keep_answers:
            (work / HELD_OUT_FILE).write_text(render_lines(held_out or given))
        return finish(work, output, values)


def build_photo(number: int) -> bytes:
    """Return the bytes of a photo; each number gives another one."""
    return encode_png((number % 256, number // 256, 90), size=(16, 12))


def _write_photos(photos: Path | None, answers: Sequence[tuple[str, str]]) -> Sequence[HeldOutAnswer]:
    made = []
    for number, (label, predicted) in enumerate(answers):
        data = build_photo(number)
        file = f"{label}/{number}.png"
        if photos is not None:
            (photos / label).mkdir(parents=True, exist_ok=True)
            (photos / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        score = 0.5 + number / 100
        made.append(HeldOutAnswer(digest=digest, file=file, label=label, predicted=predicted, score=score))
    return made
