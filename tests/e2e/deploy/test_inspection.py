"""A function of the task `anomaly` in a cluster: its verdicts reach subscribers, and its second version takes over."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from eaves.events import IMAGE_INSPECTED, Event
from knative.client.cluster import Cluster
from tests.contract.sinks import of, subjects
from tests.e2e.conftest import PutImage
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.rollout.test_shares import STEPS
from tests.e2e.stream import Stream
from tests.e2e.volumes import claimed, make_claim, put_files
from tests.fakes.models.inspector import encode_spots, write_inspector
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
CLAIM = "parts"
PHOTOS = {"good.png": encode_spots(), "scratched.png": encode_spots((16, 32, 32, 48, 255))}


def test_images_of_a_volume_are_inspected_and_a_second_version_is_rolled_out(
    place: Place, outside: KnativeSink, cluster: Cluster, agent_image: str, put_image: PutImage, tmp_path: Path,
    make_event: Callable[..., Event],
):  # fmt: skip
    first, second = (put_image(write_inspector(tmp_path / one, name=NAME, version=one).path) for one in ("1", "2"))
    make_claim(place.cluster, CLAIM)
    alarm = KnativeSink(cluster, f"/alarm-{secrets.token_hex(3)}")
    anomalies = {"type": IMAGE_INSPECTED, "label": "anomalous"}
    place.configure(
        sources=[{"name": "camera", "claim": CLAIM, "spool_size": "100Mi"}],
        triggers=[
            {"name": "all", "filter": {"type": IMAGE_INSPECTED}, "url": outside.url},
            {"name": "alarm", "filter": anomalies, "url": alarm.url},
        ],
        knative={"agent_image": agent_image},
        rollout=STEPS,
    )
    place.deploy(first)
    wait_until(place.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    put_files(place.cluster, claimed(CLAIM), PHOTOS, first)
    wait_until(lambda: subjects(outside) == set(PHOTOS), 180, pause_s=0.5, what="both verdicts")
    good, scratched = (of(outside, name)[0] for name in PHOTOS)
    assert (good.type, good.extensions["label"]) == (IMAGE_INSPECTED, "normal")
    assert (scratched.extensions["label"], scratched.extensions["modelversion"]) == ("anomalous", "1")
    assert scratched.json()["boxes"]
    wait_until(lambda: subjects(alarm), 60, pause_s=0.5, what="the alarm")
    assert subjects(alarm) == {"scratched.png"}, "the filter of its trigger tells them apart by the label"
    assert good.json()["score"] < good.json()["threshold"] < scratched.json()["score"]

    with Stream(place.platform, NAME, make_event) as stream:
        place.deploy(second, "--wait", "--timeout", "400")
    assert stream.failed == []
    assert place.status().traffic == (f"{NAME}-00002 100 %",)
