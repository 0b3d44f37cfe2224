"""A new revision that refuses every image: it is rolled back, and the old one predicts what is sent again."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED, Event
from tests.container_images.packaging import need
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.pods import is_bound
from tests.e2e.sources.test_queues import POD, listed
from tests.e2e.sources.test_volumes import CLAIMED, pictures, wait_for
from tests.e2e.stream import Stream
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1800)
MakeEvent = Callable[..., Event]
NAMES = tuple(f"{number:02}.png" for number in range(12))
"""With half of the requests, the new revision gets none of twelve images once in 4,096 runs."""


def configure(place: Place, outside: KnativeSink, agent_image: str, *accepted: str) -> None:
    place.configure(
        sources=[{"name": "inbox", "claim": CLAIMED, "spool_size": "100Mi"}],
        triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}],
        knative={"agent_image": agent_image},
        function={"accept_types": list(accepted)},
        rollout={"steps": ["50"], "step_s": 2, "min_requests": 5, "max_error_increase": 0.2, "max_latency_ratio": 50},
    )


def test_images_that_a_new_revision_refused_are_predicted_by_the_old_one(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path, make_event: MakeEvent
):
    need("kubectl")
    make_claim(place.cluster, CLAIMED)
    configure(place, outside, agent_image)
    place.deploy(image)
    wait_until(place.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    wait_until(lambda: is_bound(place.cluster, POD), 180, pause_s=0.5, what="the pod that keeps its queue")

    # The new revision takes events of another type only.
    configure(place, outside, agent_image, "dev.example.other")
    place.deploy(image)
    place.eaves("rollout", NAME, "--percent", "50")
    wait_until(lambda: len(place.status().traffic) == 2, 60, pause_s=0.5, what="two revisions with shares")
    put_files(place.cluster, claimed(CLAIMED), pictures(tiny_artifact, *NAMES), image)
    dead = wait_until(lambda: listed(place, "--dead"), 180, pause_s=1, what="an image that was refused")
    assert all(f'"revision": "{NAME}-00002"' in one["reason"] for one in dead), dead

    said: list[str] = []

    def ended() -> bool:
        (row,) = place.read("reconcile")
        said.append(row["what"])
        return "rolled-back" in row["what"]

    place.eaves("rollout", NAME, "--resume")
    with Stream(place.platform, NAME, make_event):
        wait_until(ended, 180, pause_s=0.5, what="the rollback")
    assert "the new revision refuses " in said[-1], said
    _, found, typed = said[-1].partition(f"; what {NAME}-00002 refused: eaves ")
    assert found, said
    place.eaves(*shlex.split(typed))
    wait_for(outside, *NAMES)
    assert listed(place, "--dead") == []
    assert place.status().traffic == (f"{NAME}-00001 100 %",)
    place.eaves("remove", NAME)
