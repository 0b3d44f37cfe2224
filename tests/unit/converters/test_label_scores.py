"""Scores of a run's held-out images, by the label that the model gave them, for the artifact."""

from pathlib import Path

from converters.model_source import open_source
from eaves.artifact import LabelScores
from tests.fakes.models.run import write_run
from trainer.data.splitting import HeldOutAnswer

ROSES = [0.5 + 0.4 * number / 99 for number in range(100)]


def load_scores(run: Path, scores: list[float], *, group: str = "") -> tuple[LabelScores, ...]:
    """Scores of a run whose held-out images are all taken for roses."""
    answers = [
        HeldOutAnswer(digest=f"{number:064d}", file="f", label="tulip", predicted="rose", score=score, group=group)
        for number, score in enumerate(scores)
    ]
    write_run(run, held_out=answers)
    return open_source(run).label_scores


def test_the_octiles_of_each_label_are_taken_over_the_images_that_got_it(tmp_path: Path):
    none, roses, other = load_scores(tmp_path / "run", ROSES)
    assert none == other == LabelScores()
    assert (roses.groups, len(roses.edges)) == (100, 7)
    below = [sum(roses.rank(odds, 0.5) * 8 >= place for odds in roses.edges) for place in range(1, 8)]
    assert below == [7, 6, 5, 4, 3, 2, 1]
    few = load_scores(tmp_path / "few", [0.5, 0.9, 1.0], group="shoot")[1]
    assert (few.groups, few.edges) == (1, (0.0, 2.197, 30.0))


def test_a_run_without_answers_has_none(tmp_path: Path):
    assert open_source(write_run(tmp_path / "run", keep_answers=False).path).label_scores == ()
