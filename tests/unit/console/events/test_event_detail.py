"""One event: its chain, its labels and where the time went."""

from __future__ import annotations

from eaves.console.pages.events import Step, build_detail
from tests.fakes.clock import START
from tests.fakes.console.material import captured_event, classified_event, record_of, rejected_event

CAUSE = captured_event(subject="a.jpg")
CAPTURED = record_of(CAUSE, 1, at=START)
PREDICTED = record_of(classified_event(CAUSE, score=0.94), 2, at=START + 0.034)


def test_a_prediction_has_its_chain() -> None:
    detail = build_detail(
        PREDICTED, [CAPTURED, PREDICTED], forwarding=Step(title="Waiting in the relay's queue", state="open")
    )
    assert [(one.title, one.later, one.state) for one in detail["steps"]] == [
        ("Captured by camera-1", "", "done"),
        ("Predicted by flowers", "34 ms later", "done"),
        ("Waiting in the relay's queue", "", "open"),
    ]
    assert (detail["row"].title, detail["summary"], detail["function"]) == ("rose", "94%, sure", "flowers")
    assert detail["steps"][1].detail == "rose: 94%, sure"


def test_a_refusal_gives_its_reason() -> None:
    refused = record_of(rejected_event(CAUSE, reason="the image is corrupt"), 2, at=START + 1)
    step = build_detail(refused, [CAPTURED, refused])["steps"][1]
    assert (step.title, step.state, step.detail) == ("Refused by flowers", "failing", "the image is corrupt")
