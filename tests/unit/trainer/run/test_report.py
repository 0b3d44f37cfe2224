"""The report, read back as a browser would."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.page import Page, assert_self_contained
from trainer.data.splitting import HeldOutAnswer
from trainer.run.metrics import measure_quality, summarize
from trainer.run.report import build_report

PHOTO = "a & <b>.png"
HOSTILE = ["<script>alert(1)</script>", 'a & "b"', "🌻 sun", "x" * 200]


def build_facts(folder: Path, labels: list[str], *, wrong: int = 0, faults: int = 0) -> dict[str, Any]:
    """Four images a class, of which the first `wrong` ones in all are taken for the next class."""
    truth = np.repeat(np.arange(len(labels)), 4)
    answer = truth.copy()
    answer[:wrong] = (truth[:wrong] + 1) % len(labels)
    logits = (np.eye(len(labels))[answer] * 5).astype(np.float32)
    Image.new("RGBA", (300, 200), "red").save(folder / PHOTO)
    counts = dict.fromkeys(labels, 4)
    about = {
        "name": "flowers <1>",
        "arch": "small_cnn",
        "mode": "full",
        "epochs": 2,
        "labels": labels,
        "selection": {
            "reasons": [],
            "doubt": "",
            "pixels_become": "0 to 1",
            "scale": "unit",
            "images": 0,
            "figures": [],
        },
        "dataset": {"train": counts, "val": counts, "root": str(folder)},
        "data_faults": [{"file": f"<{number}>.png", "reason": "corrupt & small"} for number in range(faults)],
        "versions": {"python": "3"},
        "hardware": {"processor": "A & B"},
    }
    epoch = {"loss": 2.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.25}
    return {
        "about": about,
        "measured": measure_quality(truth, logits, labels),
        "history": [epoch, epoch | {"loss": 1.0, "val_loss": 1.5}],
        "answers": [
            HeldOutAnswer(digest="", file=PHOTO, label=labels[one], predicted=labels[other], score=0.9)
            for one, other in zip(truth, answer, strict=True)
        ],
        "seconds": {"fit": 1.25},
        "config": {"train": {"arch": "small_cnn", "weights": "</td>"}},
    }


def test_names_are_shown_as_they_are_and_run_nothing(tmp_path: Path):
    html = build_report(**build_facts(tmp_path, HOSTILE, wrong=3, faults=1))
    assert_self_contained(html)
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    for name in [*HOSTILE, "flowers <1>", "<0>.png", "corrupt & small", "A & B", "</td>", "a & <b>.png"]:
        assert name in page.text
    titles = {attrs.get("title") for _, attrs in page.tags}
    assert set(HOSTILE) <= titles


def test_the_figure_at_the_top_is_the_one_that_the_verdict_is_about(tmp_path: Path):
    """The headline said 95 % of 20 held-out images, above every bound, and the verdict "not shown to be usable"."""
    facts = build_facts(tmp_path, ["a", "b"])
    crossed = summarize(np.repeat([0, 1], 10), np.repeat([0, 1, 0], [10, 5, 5]), ["a", "b"])
    page = Page(build_report(**facts | {"measured": facts["measured"] | {"cross_validation": crossed}}))
    assert page.words.index("75.0 % accuracy in cross-validation") < page.words.index("100.0 %")
