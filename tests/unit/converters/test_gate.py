"""What lets a model be published: a floor and the model that it replaces, each by the bound of an interval."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from converters.evaluation.metrics import Evaluation, Pairing
from converters.evaluation.models import ImagePrediction
from converters.gate import check_floor, check_replacement
from converters.settings import PipelineSettings
from eaves.errors import RefusedModelError, UndecidedModelError
from trainer.data.listing import LabelledImage
from trainer.grouped_statistics import JudgedImages
from trainer.run.metrics import summarize


def evaluated(right: int, images: int, *, classes: int = 4) -> Evaluation:
    """A model that names so many images right; the classes are equally frequent."""
    shown = tuple(
        LabelledImage(
            path=Path(f"{n}.png"), below=PurePosixPath(f"{n}.png"), label=str(n % classes), digest=f"{n:064x}"
        )
        for n in range(images)
    )
    answers = tuple(
        ImagePrediction(label=image.label if number < right else "wrong", score=1.0, time_ms=1.0)
        for number, image in enumerate(shown)
    )
    truth = np.arange(images) % classes
    predicted = np.where(np.arange(images) < right, truth, classes)
    measured = summarize(truth, predicted, [*map(str, range(classes)), "wrong"])
    return Evaluation(name="new", kind="artifact", images=shown, answers=answers, refused=(), measured=measured)


def paired(lost: int, gained: int, images: int) -> Pairing:
    numbers = np.arange(images)
    return Pairing(
        judged=JudgedImages(range(images)),
        first=(numbers < lost) | (numbers >= lost + gained),
        second=numbers >= lost,
    )


def test_a_model_passes_by_the_lower_end_of_its_interval():
    settings = PipelineSettings(floor=0.8)
    reported = check_floor(evaluated(360, 400).measured["figure"], settings)
    assert reported.startswith("accuracy 0.900 (0.866 to 0.926 with 95 % confidence) on 400 held-out images")


def test_too_few_images_are_no_evidence_of_the_same_accuracy():
    with pytest.raises(RefusedModelError, match=r"on 20 held-out images; .* pipeline\.floor \(0\.8\)"):
        check_floor(evaluated(18, 20).measured["figure"], PipelineSettings(floor=0.8))


def test_a_model_no_better_than_guessing_is_refused_without_a_floor():
    assert check_floor(evaluated(50, 100).measured["figure"], PipelineSettings())
    with pytest.raises(RefusedModelError, match=r"always answering '0' gives 0\.250") as refused:
        check_floor(evaluated(30, 100).measured["figure"], PipelineSettings())
    assert refused.value.exit_code == 79


def test_a_model_that_answers_the_same_passes_once_there_are_enough_images():
    settings = PipelineSettings(max_accuracy_drop=5.0)
    assert "at most 4.9 points" in check_replacement(paired(0, 0, 60), "flowers:1", settings)
    with pytest.raises(RefusedModelError, match=r"at most 7\.3 points") as refused:
        check_replacement(paired(0, 0, 40), "flowers:1", settings)
    assert "hold out about 59 images" in str(refused.value.hint)


def test_a_worse_model_is_refused_and_a_better_one_is_not():
    settings = PipelineSettings(max_accuracy_drop=5.0)
    with pytest.raises(RefusedModelError, match="wrong on 25 that") as refused:
        check_replacement(paired(25, 3, 200), "flowers:1", settings, note="; it may have seen some")
    assert refused.value.message.endswith("allows 5; it may have seen some")
    assert "wrong answers" in str(refused.value.hint)
    assert check_replacement(paired(3, 25, 200), "flowers:1", settings)


@pytest.mark.parametrize(
    ("lost", "gained", "images", "is_undecided"),
    [(0, 0, 40, True), (1, 0, 40, True), (3, 0, 40, False), (9, 0, 200, False)],
    ids=["the same", "one less", "loses too much", "shown to be worse, by less than is allowed"],
)
def test_a_refusal_for_lack_of_evidence_is_told_from_one_of_a_worse_model(
    lost: int, gained: int, images: int, is_undecided: bool
):
    with pytest.raises(RefusedModelError) as refused:
        check_replacement(paired(lost, gained, images), "flowers:1", PipelineSettings(max_accuracy_drop=5.0))
    assert isinstance(refused.value, UndecidedModelError) == is_undecided


def test_a_model_that_misses_a_class_is_refused_though_its_accuracy_is_high():
    truth = np.arange(400) % 4
    predicted = np.where((truth == 3) & (np.arange(400) % 16 != 3), 0, truth)
    figure = summarize(truth, predicted, list(map(str, range(4))))["figure"]
    with pytest.raises(RefusedModelError, match=r"fewer than 50% of the images of these classes are right: 3 \(25 of"):
        check_floor(figure, PipelineSettings(floor=0.7))
    assert check_floor(figure, PipelineSettings(floor=0.7, class_floor=0.0))


def test_few_groups_are_no_evidence_however_narrow_the_interval_is():
    truth = np.arange(180) % 2
    measured = summarize(truth, truth, ["0", "1"], groups=[f"part-{number % 9}" for number in range(180)])
    with pytest.raises(RefusedModelError, match="on 180 held-out images of 9 groups; at least 10 images or groups"):
        check_floor(measured["figure"], PipelineSettings())
