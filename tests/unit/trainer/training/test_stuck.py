"""When a training counts as stuck."""

from __future__ import annotations

import pytest

from eaves.errors import StuckTrainingError
from trainer.training.stuck import EPOCHS, StuckWatch

LABELS = ("ok", "scratch", "dent")
FLAT = [1.101, 1.099, 1.098, 1.0985, 1.099]


def watch(losses: list[float], answers: list[set[int]], *, steps: int = 100) -> StuckWatch:
    made = StuckWatch(labels=LABELS, steps=steps)
    for loss, given in zip(losses, answers, strict=True):
        made.add(loss, frozenset(given))
    return made


def test_a_flat_loss_and_one_answer_are_stuck() -> None:
    with pytest.raises(StuckTrainingError, match=r"after 5 epochs: .* at 1\.099 for 5 epochs.* answers 'scratch'") as e:
        watch(FLAT, [{1}] * EPOCHS)
    assert e.value.exit_code == 65
    assert "train.learning_rate" in (e.value.hint or "")


def test_a_loss_that_falls_is_not_stuck() -> None:
    watch([1.1, 1.09, 1.08, 1.07, 1.06], [{1}] * EPOCHS)


def test_several_answers_are_not_stuck() -> None:
    watch(FLAT, [{1}, {1}, {1}, {1}, {0, 1}])
    watch(FLAT, [{0}, {1}, {0}, {1}, {0}])


def test_fewer_steps_say_nothing_yet() -> None:
    made = watch(FLAT * 3, [{1}] * 15, steps=6)  # 90 steps; 17 epochs are looked at
    made.add(1.099, frozenset({1}))
    with pytest.raises(StuckTrainingError, match="after 17 epochs"):
        made.add(1.099, frozenset({1}))


def test_what_was_before_the_last_epochs_does_not_count() -> None:
    with pytest.raises(StuckTrainingError, match="after 7 epochs"):
        watch([2.0, 1.5, *FLAT], [{0, 1}, {2}] + [{1}] * EPOCHS)
