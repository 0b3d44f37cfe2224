"""A function's answer in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from eaves.console.pages.try_it import describe_answer
from eaves.delivery import SinkResponse
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.problem_document import build_problem

ANSWER = {
    "predictions": [{"label": "rose", "score": 0.9375}, {"label": "tulip", "score": 0.05}],
    "model": "flowers",
    "version": "3",
    "timings_ms": {"decode": 4.125, "infer": 21.75},
}


def answer(document: Any) -> SinkResponse:
    event = Event(id="1", source="/a", type=IMAGE_CLASSIFIED, data=json.dumps(document).encode())
    return SinkResponse(status=200, event=event, latency_ms=40)


def test_an_answer_names_the_best_label_and_the_times() -> None:
    outcome = describe_answer("a.jpg", answer(ANSWER))
    assert outcome.title == "rose, 94%"
    assert [(item.label, item.score) for item in outcome.predictions] == [("rose", 0.9375), ("tulip", 0.05)]
    assert outcome.stages == (("Decode the image", "4.1 ms"), ("Run the model", "22 ms"))
    assert outcome.model == "flowers 3"
    assert not outcome.is_fault


@pytest.mark.parametrize(("confidence", "title"), [("low", "rose, 94%, not sure"), ("high", "rose, 94%")])
def test_an_answer_of_low_confidence_says_so(confidence: str, title: str) -> None:
    found = answer(ANSWER)
    assert found.event is not None
    event = replace(found.event, extensions={"confidence": confidence})
    assert describe_answer("a.jpg", replace(found, event=event)).title == title


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"predictions": [{"label": ["a"], "score": 1e999}], "timings_ms": ["a"]},
        {
            "predictions": [{"label": "a\u202e\n\x00", "score": -5}] * 10_000,
            "timings_ms": {"x" * 9000: 1e300, "y": None},
        },
    ],
)
def test_any_answer_is_shown_as_short_printable_text(document: Any) -> None:
    outcome = describe_answer("a.jpg", answer(document))
    texts = [
        outcome.title,
        outcome.model,
        outcome.other,
        *(item.label for item in outcome.predictions),
        *(name for name, _ in outcome.stages),
    ]
    assert all(text.isprintable() and len(text) <= 2001 for text in texts)
    assert len(outcome.predictions) <= 20


def test_answers_of_handlers_and_embeddings_are_shown() -> None:
    assert describe_answer("a.jpg", answer({"embedding": [0.5, 1.0]})).other == "an embedding of 2 numbers"
    assert describe_answer("a.jpg", answer({"weight_kg": 12.5, "model": "x"})).other == '{"weight_kg": 12.5}'


@pytest.mark.parametrize(
    ("status", "title", "advice"),
    [
        (422, "The function refused the photo (422).", "send JPEG"),
        (503, "The function can't answer at present.", "Try again in a moment."),
        (500, "The function answered with an error (500).", "Look at the function's log: eaves logs FUNCTION"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, title: str, advice: str) -> None:
    response = SinkResponse(status=status, body=build_problem(status, "details of it", "send JPEG"))
    outcome = describe_answer("a.jpg", response)
    assert (outcome.title, outcome.detail, outcome.advice) == (title, "details of it", advice)
    assert outcome.is_fault
