"""Claim checks at a site: images wait in a private bucket, and the function fetches them with its own Secret.

A Broker is between them, so it is the dead letter that says why the function refused an image.
"""

import base64
import hashlib
import secrets
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.cluster import Cluster
from tests.e2e.bucket_store import BUCKET, start_signing_store
from tests.e2e.harness import KnativeSink, publish
from tests.e2e.places import NAME, Place
from tests.e2e.pods import make_secret
from tests.e2e.sources.test_http_source import CAMERA, start_camera
from tests.e2e.sources.test_volumes import pictures
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


def test_a_claim_check_is_fetched_with_the_secret_of_the_function(
    cluster: Cluster, place: Place, outside: KnativeSink, image: str, agent_s3_image: str, s3_image: str,
    tiny_artifact: Path,
):  # fmt: skip
    dead = KnativeSink(cluster, f"/dead-{secrets.token_hex(3)}")
    host, key = start_signing_store(place.cluster, s3_image)
    make_secret(place.cluster, "agent-keys", key)
    make_secret(place.cluster, "function-keys", {**key, "secret_key": "wrong"})
    shown = pictures(tiny_artifact, "snap.png")
    source = {
        "name": "gate", "kind": "http", "url": f"http://{CAMERA}/snap.png", "every_s": 1, "secret": "agent-keys",
        "through": "broker", "spool_size": "100Mi", "claim_check_over_bytes": 1,
        "claim_check_bucket": f"s3://{BUCKET}/large",
        "claim_check_endpoint": f"http://{host}",
    }  # fmt: skip
    place.configure(
        sources=[source],
        triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}],
        knative={"agent_s3_image": agent_s3_image, "dataref_secret": "function-keys", "dead_letter_sink": dead.url},
        function={"dataref_hosts": [host], "dataref_schemes": ["http"], "dataref_networks": ["10.0.0.0/8"]},
    )
    place.deploy(image)
    wait_until(place.delivers, 180, pause_s=0.5, what="the Broker and its Triggers")
    start_camera(place.cluster, shown, image)  # it shows one image, which a Broker without its Triggers would lose

    (refused,) = wait_until(lambda: dead.received, 240, pause_s=1, what="the end of the Broker's retries")
    assert refused.extensions["knativeerrorcode"] == "503"
    assert b"SignatureDoesNotMatch" in base64.b64decode(refused.extensions["knativeerrordata"])
    assert outside.received == []

    make_secret(place.cluster, "function-keys", key)

    def predicted() -> bool:
        """Send it again until the kubelet has written the changed Secret, within about two minutes."""
        publish(place.cluster, refused)
        return bool(outside.received)

    wait_until(predicted, 240, pause_s=5, what="the prediction")
    found = {event.extensions["datadigest"] for event in outside.received}
    assert found == {f"sha256:{hashlib.sha256(shown['snap.png']).hexdigest()}"}
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/gate"}
    place.eaves("remove", NAME)
