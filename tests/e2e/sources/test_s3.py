"""A bucket at a site: its images are predicted once, also after a restart."""

from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from tests.contract.sinks import of, subjects
from tests.e2e.bucket_store import ANY_KEY, BUCKET, put, start_store
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.pods import make_secret
from tests.e2e.sources.test_volumes import pictures, restart
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


def build_source(host: str, **values: Any) -> dict[str, Any]:
    """The source of the bucket's images."""
    place = {"bucket": f"s3://{BUCKET}/inbox", "endpoint": f"http://{host}", "secret": "keys"}
    return {"name": "shop", "kind": "s3", **place, "spool_size": "100Mi", **values}


def test_images_in_a_bucket_are_predicted_once(
    place: Place, outside: KnativeSink, image: str, agent_s3_image: str, s3_image: str, tiny_artifact: Path
):
    host = start_store(place.cluster, s3_image)
    make_secret(place.cluster, "keys", ANY_KEY)
    put(place.cluster, pictures(tiny_artifact, "inbox/a.png", "inbox/deep/b.png", "other/c.png"))
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    place.configure(
        sources=[build_source(host, every_s=0.5)], triggers=triggers, knative={"agent_s3_image": agent_s3_image}
    )
    place.deploy(image)
    wait_until(lambda: len(subjects(outside)) == 2, 180, pause_s=0.5, what="two predictions")
    first = subjects(outside)
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/shop"}
    restart(place.cluster, "shop")
    put(place.cluster, pictures(tiny_artifact, "inbox/d.png"))
    wait_until(lambda: len(subjects(outside)) == 3, 180, pause_s=0.5, what="the next prediction")
    assert [len(of(outside, str(name))) for name in first] == [1, 1]
    place.eaves("remove", NAME)
