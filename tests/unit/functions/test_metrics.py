"""Metrics, read by Prometheus' own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions.metrics import MAX_SERIES, Metrics


def samples(metrics: Metrics, **gauges: float) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render(gauges, {}))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_stages_become_a_histogram():
    metrics = Metrics()
    for seconds in (0.001, 0.03, 0.04, 99.0):
        metrics.observe("infer", seconds)
    found = samples(metrics)
    name = "eaves_stage_duration_seconds"

    def bucket(bound: str) -> float:
        return found[f"{name}_bucket", frozenset({("stage", "infer"), ("le", bound)})]

    assert [bucket(bound) for bound in ("0.001", "0.025", "0.05", "10.0", "+Inf")] == [1, 1, 3, 3, 4]
    assert found[f"{name}_count", frozenset({("stage", "infer")})] == 4
    assert found[f"{name}_sum", frozenset({("stage", "infer")})] == pytest.approx(99.071)


def test_labels_without_end_become_one():
    metrics = Metrics()
    for number in range(MAX_SERIES + 50):
        metrics.count("eaves_predictions_total", label=str(number))
    found = samples(metrics)
    assert found["eaves_predictions_total", frozenset({("label", "other")})] == 50
    assert len(found) == MAX_SERIES + 1
