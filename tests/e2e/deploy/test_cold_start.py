"""`eaves doctor --cold-start` on a real cluster: what node and process report adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import open_project
from tests.e2e.places import NAME, Namespaces

pytestmark = pytest.mark.timeout(600)


def test_a_cold_start_is_split_into_phases(
    namespaces: Namespaces, image: str, tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = open_project(namespaces, tmp_path_factory.mktemp("cold"))
    place.configure(function={"timing": True})
    place.eaves("deploy", image, "--plain-http")
    picture = min((tiny_artifact / "golden").glob("*.png"))
    busy = place.eaves("doctor", "--cold-start", NAME, codes=(0, 69))  # the deploy's own replica may still run
    assert busy.returncode == 0 or "is not at zero" in busy.stderr
    words = ("doctor", "--cold-start", "--wait", "--repeats", "2", "--image", picture, "-o", "json")
    found = json.loads(place.eaves(*words).stdout)
    assert len(found["starts"]) == 2
    for start in found["starts"]:
        phases = start["phases_ms"]
        observed = {
            "autoscaling",
            "scheduling",
            "sandbox",
            "image",
            "container",
            "imports",
            "session",
            "golden",
            "probe",
        }
        assert observed <= set(phases)
        assert sum(phases.values()) == pytest.approx(start["total_ms"], abs=2)
        assert start["pulled"] is False, "the node has it since the deploy"
        assert phases["imports"] > 10
        assert start["warm_ms"] < start["total_ms"]
    namespaces.close(place.cluster.namespace)
