"""What a person types: deploy, ask, look; the contract's suite has the rest."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED
from tests.e2e.conftest import open_project
from tests.e2e.places import NAME, SITE, Namespaces, Place

pytestmark = pytest.mark.timeout(600)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A function after its first `eaves deploy`, and what that said."""

    place: Place
    said: str


@pytest.fixture(scope="module")
def deployed(namespaces: Namespaces, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """For tests that change nothing of it."""
    place = open_project(namespaces, tmp_path_factory.mktemp("deployed"))
    began = time.monotonic()
    done = place.deploy(image)
    log.info("deployed and ready in %.1f s", time.monotonic() - began)
    assert done.stdout == f"{NAME}\n"
    yield Deployed(place=place, said=done.stderr)
    namespaces.close(place.cluster.namespace)


def test_a_deploy_says_what_it_made_and_the_next_one_that_nothing_changed(deployed: Deployed, image: str):
    assert "created" in deployed.said
    assert "100 %" in deployed.said
    again = deployed.place.deploy(image)
    assert "unchanged" in again.stderr
    assert not {"created", "changed", "removed"} & set(again.stderr.replace(",", " ").replace(";", " ").split())
    assert "a deploy would change nothing" in deployed.place.eaves("diff", "--plain-http").stderr


def test_an_image_sent_by_a_command_comes_back_as_a_prediction_and_the_log_has_it(
    deployed: Deployed, tiny_artifact: Path, version: str
):
    picture = min((tiny_artifact / "golden").glob("*.png"))
    (row,) = deployed.place.read("send", picture)
    event = row["event"]
    assert isinstance(event, dict)
    assert (event["type"], event["source"], event["modelversion"]) == (
        IMAGE_CLASSIFIED,
        f"/eaves/{SITE}/{NAME}",
        version,
    )
    assert row["label"] == event["label"]
    assert "predicted" in deployed.place.eaves("logs", NAME).stdout
    status = deployed.place.read_status()
    assert (status["state"], status["replicas"], status["reason"]) in {("ready", 1, ""), ("idle", 0, "")}  # after 6 s


def test_a_fresh_namespace_has_nothing_that_the_doctor_calls_an_error(place: Place, image: str):
    place.configure(knative={"image": image})
    found = place.read("doctor", codes=(0, 3))  # all is well, or it works and a promise isn't kept
    assert [finding for finding in found if finding["severity"] == "error"] == []
    assert {finding["check"] for finding in found} >= {"server", "serving", "eventing", "permissions", "admission"}
