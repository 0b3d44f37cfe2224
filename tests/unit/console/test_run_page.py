"""What a model takes for what: cells, pairs, classes, and the photos of a cell."""

from __future__ import annotations

from eaves.console.catalog import PHOTOS, build_cells, build_pairs, select_mistakes
from trainer.evaluation.held_out import HeldOutAnswer

LABELS = ("daisy", "rose", "tulip")
CONFUSION = ((8, 2, 0), (1, 3, 1), (0, 0, 0))


def test_a_cell_says_what_it_counts() -> None:
    cells = build_cells(LABELS, CONFUSION)
    assert [[cell.count for cell in row] for row in cells] == [[8, 2, 0], [1, 3, 1], [0, 0, 0]]
    assert cells[0][1].text == "2 of 10 images of daisy taken for rose"
    assert cells[0][0].text == "8 of 10 images of daisy found"
    assert [cell.heat for cell in cells[0]] == [4, 1, 0]
    assert [cell.heat for cell in cells[2]] == [0, 0, 0]


def test_pairs_are_the_confused_classes_the_most_frequent_first() -> None:
    assert [(cell.truth, cell.predicted, cell.count) for cell in build_pairs(LABELS, CONFUSION)] == [
        (0, 1, 2),
        (1, 0, 1),
        (1, 2, 1),
    ]


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


def test_a_cell_selects_its_photos() -> None:
    answers = build_answers(6)
    wrong = select_mistakes(answers, LABELS, truth=0, predicted=1)
    assert wrong.title == "3 images of daisy that the model takes for rose"
    assert {photo.predicted for photo in wrong.photos} == {"rose"}
    assert select_mistakes(answers, LABELS, truth=7, predicted=1).total == 3  # no such class: all mistakes
