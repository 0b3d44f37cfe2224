"""What a person types: deploy, ask, look, wait until it is at zero and ask again, remove."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED, Event
from knative.client.cluster import Cluster
from tests.contract.sinks import of
from tests.e2e.conftest import open_project
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, SITE, Namespaces, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
log = logging.getLogger(__name__)
FINE = (0, 3)
"""All is well, or it works and a promise isn't kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A function after its first `eaves deploy`, what that said, and where its predictions go."""

    place: Place
    said: str
    sink: KnativeSink


@pytest.fixture(scope="module")
def deployed(
    namespaces: Namespaces, cluster: Cluster, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """For tests that change nothing of it."""
    place, sink = open_project(namespaces, tmp_path_factory.mktemp("deployed")), KnativeSink(cluster, "/commands")
    place.configure(triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": sink.url}])
    began = time.monotonic()
    done = place.eaves("deploy", image, "--plain-http")
    log.info("deployed and ready in %.1f s", time.monotonic() - began)
    assert done.stdout == f"{NAME}\n"
    yield Deployed(place=place, said=done.stderr, sink=sink)
    namespaces.close(place.cluster.namespace)


@pytest.fixture
def picture(tiny_artifact: Path) -> Path:
    """An image file."""
    return min((tiny_artifact / "golden").glob("*.png"))


def send(deployed: Deployed, picture: Path) -> dict[str, object]:
    """The one row of `eaves send`."""
    (row,) = json.loads(deployed.place.eaves("send", picture, "-o", "json").stdout)
    return dict(row)


def test_a_deploy_says_what_it_made_and_the_next_one_that_nothing_changed(deployed: Deployed, image: str) -> None:
    assert "created" in deployed.said
    assert "100 %" in deployed.said
    again = deployed.place.eaves("deploy", image, "--plain-http")
    assert "unchanged" in again.stderr
    assert not {"created", "changed", "removed"} & set(again.stderr.replace(",", " ").replace(";", " ").split())
    assert "a deploy would change nothing" in deployed.place.eaves("diff", "--plain-http").stderr


def test_an_image_sent_by_a_command_comes_back_as_a_prediction_and_the_log_has_it(
    deployed: Deployed, picture: Path, version: str
) -> None:
    row = send(deployed, picture)
    event = row["event"]
    assert isinstance(event, dict)
    assert (event["type"], event["source"], event["modelversion"]) == (
        IMAGE_CLASSIFIED,
        f"/eaves/{SITE}/{NAME}",
        version,
    )
    assert row["label"] == event["label"]
    assert "predicted" in deployed.place.eaves("logs", NAME).stdout
    (status,) = json.loads(deployed.place.eaves("status", "-o", "json").stdout)
    assert (status["state"], status["replicas"], status["reason"]) == ("ready", 1, "")


def test_an_event_that_the_broker_gets_becomes_a_prediction_at_a_subscriber(
    deployed: Deployed, make_event: Callable[..., Event]
) -> None:
    wait_until(deployed.place.delivers, 60, pause_s=0.2, what="the Broker and its Triggers")
    deployed.place.platform.publish(make_event("through.png"))
    (predicted,) = wait_until(lambda: of(deployed.sink, "through.png"), 120, pause_s=0.2, what="the prediction")
    assert predicted.type == IMAGE_CLASSIFIED


def test_a_function_goes_to_zero_and_an_event_brings_it_back(
    deployed: Deployed, picture: Path, make_event: Callable[..., Event]
) -> None:
    send(deployed, picture)
    began = time.monotonic()
    wait_until(lambda: deployed.place.status().state == "idle", 180, pause_s=0.5, what="zero replicas")
    to_zero_s = time.monotonic() - began
    answer = deployed.place.platform.invoke(NAME, make_event("cold.png"))
    assert answer.event is not None, (answer.status, answer.body)
    warm = deployed.place.platform.invoke(NAME, make_event("warm.png"))
    for name, value in (
        ("to_zero_s", to_zero_s),
        ("cold_start_s", answer.latency_ms / 1000),
        ("warm_s", warm.latency_ms / 1000),
    ):
        log.info("%s %.3f", name, value)
    assert warm.latency_ms < answer.latency_ms


def test_a_fresh_namespace_has_nothing_that_the_doctor_calls_an_error(place: Place, image: str) -> None:
    place.configure(knative={"image": image})
    found = json.loads(place.eaves("doctor", "-o", "json", codes=FINE).stdout)
    assert [finding for finding in found if finding["severity"] == "error"] == []
    assert {finding["check"] for finding in found} >= {"server", "serving", "eventing", "permissions", "admission"}


def test_a_namespace_with_a_function_has_nothing_that_the_doctor_calls_an_error(deployed: Deployed) -> None:
    found = json.loads(deployed.place.eaves("doctor", "-o", "json", codes=FINE).stdout)
    assert [finding for finding in found if finding["severity"] == "error"] == []
