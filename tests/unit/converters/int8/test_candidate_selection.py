"""One candidate is picked by its looks; the others are never judged."""

from __future__ import annotations

from converters.int8.candidate_selection import CandidateScore, SelectionGoal, pick_candidate

WANTED = SelectionGoal(different=0.03, worst_probability=0.3)


def look(different: float, worst: float = 0.1) -> CandidateScore:
    return CandidateScore(different=different, worst_probability=worst)


def picked(*looks: CandidateScore, time: int = 99) -> list[int]:
    """Numbers of the candidates that were looked at, the picked one last; time is over after so many."""
    left = iter(range(time - 1, -1, -1))
    seen = pick_candidate(range(len(looks)), looks.__getitem__, WANTED, lambda: next(left) == 0)
    assert [one.look for one in seen] == [looks[one.candidate] for one in seen]
    return [one.candidate for one in seen]


def test_the_first_that_is_good_enough_ends_the_search() -> None:
    assert picked(look(0.05), look(0.03), look(0.0)) == [0, 1]


def test_none_good_enough_takes_the_closest_the_most_quantised_of_those_alike() -> None:
    assert picked(look(0.08), look(0.05), look(0.05), look(0.06)) == [0, 2, 3, 1]


def test_a_probability_that_is_far_off_counts_before_labels() -> None:
    assert picked(look(0.0, 0.5), look(0.05, 0.2)) == [0, 1]
    assert picked(look(0.0, 0.5), look(0.01, 0.4)) == [1, 0]


def test_no_further_candidate_is_made_when_the_time_is_over() -> None:
    assert picked(look(0.08), look(0.0), time=1) == [0]
    assert picked(look(0.08), look(0.2), look(0.0), time=2) == [1, 0]
