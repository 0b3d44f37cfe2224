"""Claim checks at a site: images wait in a private bucket, and the function fetches them with its own Secret."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from eaves.events import IMAGE_CLASSIFIED
from tests.e2e.bucket_store import BUCKET, make_keys, start_signing_store
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.sources.test_http_source import start_camera
from tests.e2e.sources.test_volumes import pictures
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


def test_a_claim_check_is_fetched_with_the_secret_of_the_function(
    place: Place, outside: KnativeSink, image: str, agent_s3_image: str, s3_image: str, tiny_artifact: Path
) -> None:
    host, key = start_signing_store(place.cluster, s3_image)
    make_keys(place.cluster, "agent-keys", key)
    make_keys(place.cluster, "function-keys", {**key, "secret_key": "wrong"})
    shown = pictures(tiny_artifact, "snap.png")
    url = start_camera(place.cluster, shown, image)
    source = {
        "name": "gate", "kind": "http", "url": f"{url}/snap.png", "every_s": 1, "secret": "agent-keys",
        "through": "broker", "spool_size": "100Mi", "claim_check_over_bytes": 1,
        "claim_check_bucket": f"s3://{BUCKET}/large",
        "claim_check_endpoint": f"http://{host}",
    }  # fmt: skip
    place.configure(
        sources=[source],
        triggers=[{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}],
        knative={"agent_s3_image": agent_s3_image, "dataref_secret": "function-keys"},
        function={"dataref_hosts": [host], "dataref_schemes": ["http"], "dataref_networks": ["10.0.0.0/8"]},
    )
    place.eaves("deploy", image, "--plain-http")

    def refused() -> bool:
        (row,) = json.loads(place.eaves("status", "-o", "json").stdout)
        return any("SignatureDoesNotMatch" in json.dumps(agent) for agent in row["agents"])

    wait_until(refused, 180, pause_s=1, what="the refusal of the function's key")
    assert outside.received == []
    make_keys(place.cluster, "function-keys", key)  # the kubelet writes a changed Secret within about two minutes
    wait_until(lambda: outside.received, 240, pause_s=0.5, what="the prediction")
    found = {event.extensions["datadigest"] for event in outside.received}
    assert found == {f"sha256:{hashlib.sha256(shown['snap.png']).hexdigest()}"}
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/gate"}
    place.eaves("remove", NAME)
