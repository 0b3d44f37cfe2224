"""What a rollout reads out of a function's /metrics. The pages are the function's own."""

from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.errors import GoldenError
from eaves.inference.session import Session
from eaves.rollout.counters import RequestCounters
from eaves.rollout.function_metrics import parse_counters
from functions.metrics import Metrics
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import BrokenClassifier, FakeModel, build_classifier, create_app


def page(*requests: tuple[str, int, str], times: dict[str, list[float]] | None = None) -> str:
    """A /metrics page of what was asked: (kind, status, problem) each, and the seconds that stages took."""
    metrics = Metrics()
    for kind, status, problem in requests:
        metrics.count("eaves_requests_total", kind=kind, status=str(status), problem=problem)
    for stage, seconds in (times or {}).items():
        for one in seconds:
            metrics.observe(stage, one)
    return metrics.render({}, {})


def test_what_a_revision_is_to_blame_for_is_distinguished_from_what_senders_and_starts_are():
    counted, _ = parse_counters(
        page(
            *[("predict", 200, "")] * 5,
            *[("tensor", 200, "")] * 2,
            ("predict", 500, "internal"),
            ("tensor", 500, "handler"),
            ("predict", 503, "artifact"),
            ("predict", 503, "loading"),
            ("predict", 503, "stopped"),
            ("predict", 429, "overloaded"),
            ("predict", 409, "in-work"),
            ("refused", 408, "http-408"),
            ("refused", 413, "http-413"),
            ("tensor", 404, "not-found"),
            ("predict", 422, "image"),
            ("predict", 202, ""),
            ("other", 500, "internal"),
            ("other", 200, ""),
            ("other", 404, "http-404"),
        )
    )
    assert (counted.answered, counted.failed, counted.refused) == (7, 3, 3)
    assert counted.judged == 10
    assert counted.error_rate == 0.3


def test_a_predictions_time_is_the_work_and_not_the_waiting():
    counted, _ = parse_counters(
        page(
            ("predict", 200, ""),
            times={
                "queue": [9.0, 9.0],
                "fetch": [9.0],
                "request": [30.0, 30.0],
                "decode": [0.004, 0.006],
                "preprocess": [0.001, 0.001],
                "infer": [0.04, 0.06],
                "postprocess": [0.002, 0.002],
                "tensor": [0.05],
            },
        )
    )
    assert counted.timed == 3
    assert counted.mean_ms == pytest.approx((10 + 2 + 100 + 4 + 50) / 3)


@given(st.lists(st.floats(0.0001, 20), min_size=1, max_size=30))
def test_the_slowest_prediction_is_estimated_within_its_bucket_and_at_most_what_they_took_together(
    times: list[float],
):
    counted, slowest = parse_counters(page(times={"infer": times}))
    assert counted.timed == len(times)
    assert 0 <= slowest.seconds <= counted.seconds + 1e-6
    if max(times) <= 10:
        assert max(times) / 2.5 - 0.001 <= slowest.seconds <= max(times) * 2.5 + 0.001


# What a function itself says


def reported(model: FakeModel, *bodies: bytes) -> RequestCounters:
    """What is counted of a function that was sent these."""
    client = create_app(model, FunctionSettings(name="colours"), concurrency=1).test_client()
    for body in bodies:
        client.post("/", data=body, headers={"Content-Type": "image/png"})
    client.get("/health/readiness")
    counted, slowest = parse_counters(client.get("/metrics").text)
    assert slowest.seconds <= counted.seconds + 1e-6
    return counted


def test_a_functions_answers_are_counted_as_they_are_meant(tmp_path: Path):
    artifact, red = write_colours(tmp_path / "artifact"), encode_png(COLOURS["red"])
    counted = reported(FakeModel(build_classifier(artifact)), red, red, b"no picture")
    assert (counted.answered, counted.failed, counted.refused, counted.timed) == (2, 0, 1, 2)
    assert counted.seconds > 0
    broken = BrokenClassifier(artifact, cast(Session, ColourSession()), FunctionSettings())
    assert reported(FakeModel(broken), red, red).failed == 2
    assert reported(FakeModel(failure=GoldenError("image 3 differs")), red).failed == 1
    assert reported(FakeModel(), red, red).judged == 0, "it is loading"
