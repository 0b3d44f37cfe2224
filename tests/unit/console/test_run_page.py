"""What a model takes for what: cells, pairs, classes, and the photos of a cell."""

from __future__ import annotations

from eaves.console.catalog import PHOTOS, select_mistakes
from trainer.data.splitting import HeldOutAnswer

LABELS = ("daisy", "rose", "tulip")


def build_answers(count: int) -> dict[str, HeldOutAnswer]:
    made = (
        HeldOutAnswer(
            digest=f"{number:064x}",
            file=f"{number}.jpg",
            label="daisy",
            predicted="rose" if number % 2 else "daisy",
            score=number / count,
        )
        for number in range(count)
    )
    return {answer.digest: answer for answer in made}


def test_all_mistakes_are_shown_the_surest_first_page_by_page() -> None:
    answers = build_answers(4 * PHOTOS)
    first = select_mistakes(answers, LABELS)
    assert first.title == f"{2 * PHOTOS} images that the model gets wrong"
    assert (first.page, first.pages, len(first.photos)) == (1, 2, PHOTOS)
    assert first.photos[0].file == f"{4 * PHOTOS - 1}.jpg"
    assert all(photo.label != photo.predicted for photo in first.photos)
    last = select_mistakes(answers, LABELS, page=99)
    assert last.page == 2
    assert {photo.file for photo in first.photos}.isdisjoint(photo.file for photo in last.photos)
