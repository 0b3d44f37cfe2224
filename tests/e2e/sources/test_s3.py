"""A bucket at a site: its images are predicted once, as bytes or fetched by the function, also after a restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.cluster import Cluster
from knative.client.kinds import SERVICE
from knative.resources.metadata import APP_LABEL
from tests.contract.sinks import of, subjects
from tests.e2e.bucket_store import ANY_KEY, BUCKET, STORE, make_keys, put, start_store
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.e2e.sources.test_volumes import pictures, restart
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
NOTIFY = """
import sys, urllib.error, urllib.request
url, token, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode(), {'Authorization': 'Bearer ' + token})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(error)
"""


def build_source(host: str, **values: Any) -> dict[str, Any]:
    """The source of the bucket's images."""
    place = {"bucket": f"s3://{BUCKET}/inbox", "endpoint": f"http://{host}", "secret": "keys"}
    return {"name": "shop", "kind": "s3", **place, "spool_size": "100Mi", **values}


def notify(cluster: Cluster, url: str, token: str, key: str) -> str:
    """Report a new object from the store's pod; the status of the answer, or the reason why there is none."""
    named = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    body = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": named}]})
    words = ["--namespace", cluster.namespace, "exec", STORE, "--", "python", "-c", NOTIFY, url, token, body]
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize("sends", ["bytes", "reference"])
def test_images_in_a_bucket_are_predicted_once(
    sends: str, place: Place, outside: KnativeSink, image: str, agent_s3_image: str, s3_image: str, tiny_artifact: Path
) -> None:
    host = start_store(place.cluster, s3_image)
    make_keys(place.cluster, "keys", ANY_KEY)
    put(place.cluster, pictures(tiny_artifact, "inbox/a.png", "inbox/deep/b.png", "other/c.png"))
    source = build_source(host, every_s=0.5, sends=sends)
    allowed = {"dataref_hosts": [host], "dataref_schemes": ["http"], "dataref_networks": ["10.0.0.0/8"]}
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    knative = {"agent_s3_image": agent_s3_image, **({"dataref_secret": "keys"} if sends == "reference" else {})}
    place.configure(
        sources=[source], triggers=triggers, knative=knative, function=allowed if sends == "reference" else {}
    )
    place.eaves("deploy", image, "--plain-http")
    wait_until(lambda: len(subjects(outside)) == 2, 180, pause_s=0.5, what="two predictions")
    first = subjects(outside)
    assert {event.extensions["causesource"] for event in outside.received} == {"/eaves/test/shop"}
    restart(place.cluster, "shop")
    put(place.cluster, pictures(tiny_artifact, "inbox/d.png"))
    wait_until(lambda: len(subjects(outside)) == 3, 180, pause_s=0.5, what="the next prediction")
    assert [len(of(outside, str(name))) for name in first] == [1, 1]
    place.eaves("remove", NAME)


@needs_kubectl
def test_the_store_reports_new_images_to_the_service_of_the_source(
    place: Place, outside: KnativeSink, image: str, agent_s3_image: str, s3_image: str, tiny_artifact: Path
) -> None:
    host = start_store(place.cluster, s3_image)
    make_keys(place.cluster, "keys", {**ANY_KEY, "token": "hook"})
    put(place.cluster, pictures(tiny_artifact, "inbox/a.png"))
    never = {"every_s": 86_400, "full_every_s": 86_400}
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    source = build_source(host, webhook_port=9100, **never)
    place.configure(sources=[source], triggers=triggers, knative={"agent_s3_image": agent_s3_image})
    place.eaves("deploy", image, "--plain-http")
    wait_until(lambda: len(subjects(outside)) == 1, 180, pause_s=0.5, what="the first prediction")
    put(place.cluster, pictures(tiny_artifact, "inbox/b.png", "inbox/c.png"))
    url = f"http://{NAME}-shop.{place.cluster.namespace}.svc:9100/"
    assert notify(place.cluster, url, "wrong", "inbox/c.png") == "401"
    assert notify(place.cluster, url, "hook", "inbox/b.png") == "200"
    wait_until(lambda: len(subjects(outside)) == 2, 60, pause_s=0.5, what="the prediction of the reported image")
    time.sleep(2)  # nothing else finds the image whose notification was refused
    assert len(subjects(outside)) == 2
    place.eaves("remove", NAME)
    assert place.cluster.list(SERVICE, selector=f"{APP_LABEL}={NAME}") == []
