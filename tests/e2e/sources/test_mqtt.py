"""MQTT both ways at a site: images published to a broker become predictions published to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.kinds import CLAIM, NETWORK_POLICY, POD, SERVICE, STATEFUL_SET
from knative.resources.metadata import APP_LABEL
from tests.container_images.packaging import need
from tests.contract.sinks import of, subjects
from tests.e2e.harness import KnativeSink
from tests.e2e.mosquitto import Mosquitto, start_mosquitto
from tests.e2e.places import NAME, Place
from tests.e2e.sources.test_volumes import configure, pictures, restart
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
SECRET = "broker-login"


@pytest.fixture
def broker(place: Place, mosquitto_image: str) -> Mosquitto:
    """A broker in the same namespace, and the Secret to log in at it."""
    need("kubectl")
    made = start_mosquitto(place, mosquitto_image)
    made.make_secret(SECRET)
    return made


def source(broker: Mosquitto, **values: Any) -> dict[str, Any]:
    """A source that is reached with TLS and a password; the last level of a topic names the camera."""
    url = f"mqtts://{broker.host}"
    return {
        "name": "gate", "kind": "mqtt", "url": url, "topics": ["images/#"], "camera_level": -1, "secret": SECRET,
        "spool_size": "100Mi", **values,
    }  # fmt: skip


def publishing(broker: Mosquitto, **mqtt: Any) -> dict[str, Any]:
    """A trigger that publishes predictions without TLS, under the camera's topic."""
    url = f"mqtt://{broker.host}/predictions/{{partitionkey}}"
    settings = {"secret": SECRET, "retain": True, "spool_size": "100Mi", **mqtt}
    return {"name": "display", "filter": {"type": IMAGE_CLASSIFIED}, "url": url, "mqtt": settings}


def test_an_image_published_by_mqtt_becomes_a_prediction_published_by_mqtt(
    place: Place, broker: Mosquitto, image: str, agent_image: str, tiny_artifact: Path
):
    place.configure(sources=[source(broker)], triggers=[publishing(broker)], knative={"agent_image": agent_image})
    place.deploy(image)
    wait_until(place.delivers, 120, pause_s=0.5, what="the Broker and its Triggers")
    wait_until(lambda: watching(place), 120, pause_s=1, what="the source at its broker")
    for camera, content in pictures(tiny_artifact, "north", "south").items():
        broker.publish(f"images/{camera}", content)
    wait_until(lambda: len(broker.read_retained("predictions/#")) == 2, 180, pause_s=1, what="two predictions")
    found = {message["topic"]: message for message in broker.read_retained("predictions/#")}
    assert found.keys() == {"predictions/north", "predictions/south"}
    properties = found["predictions/north"]["properties"]["user-properties"]
    assert (properties["type"], properties["subject"]) == (IMAGE_CLASSIFIED, "images/north")
    assert json.loads(found["predictions/north"]["payload"])["predictions"]

    empty = {f"{NAME}.gate": 0, f"{NAME}.display-mqtt": 0}
    wait_until(lambda: queued(place) == empty, 60, pause_s=1, what="empty queues, once all is acknowledged")
    assert agent(place)["captured"] == 2

    place.eaves("remove", NAME)
    ours, kinds = f"{APP_LABEL}={NAME}", (STATEFUL_SET, SERVICE, NETWORK_POLICY)

    def left() -> list[dict[str, Any]]:
        return [one for kind in kinds for one in place.cluster.list(kind, selector=ours)]

    wait_until(lambda: not left(), 60, pause_s=1, what="the end of it, and of what Knative made for the function")
    kept = {one["metadata"]["name"] for one in place.cluster.list(CLAIM)}
    assert kept == {f"spool-{NAME}-gate-0", f"spool-{NAME}-display-mqtt-0"}


def test_images_published_while_the_agent_is_away_are_predicted_once(
    place: Place, broker: Mosquitto, outside: KnativeSink, image: str, agent_image: str, tiny_artifact: Path
):
    configure(place, outside, source(broker), agent_image=agent_image)
    place.deploy(image)
    wait_until(lambda: watching(place), 180, pause_s=1, what="the source at its broker")
    first, second = pictures(tiny_artifact, "first", "second").values()
    broker.publish("images/first", first)
    wait_until(lambda: "images/first" in subjects(outside), 180, pause_s=0.5, what="the first prediction")
    place.cluster.delete(POD, f"{NAME}-gate-0")
    broker.publish("images/second", second)
    wait_until(lambda: "images/second" in subjects(outside), 180, pause_s=0.5, what="the second prediction")
    restart(place.cluster, "gate")
    broker.publish("images/third", second)
    wait_until(lambda: "images/third" in subjects(outside), 180, pause_s=0.5, what="the third prediction")
    assert [len(of(outside, f"images/{name}")) for name in ("first", "second", "third")] == [1, 1, 1]
    place.eaves("remove", NAME)


def test_an_agent_that_a_broker_refuses_says_so_and_continues_once_its_secret_is_right(
    place: Place, broker: Mosquitto, image: str, agent_image: str
):
    broker.make_secret("other", password="not-this")
    place.configure(sources=[source(broker, secret="other")], knative={"agent_image": agent_image})
    place.deploy(image)
    wait_until(lambda: "authori" in agent(place)["reason"], 120, pause_s=1, what="the broker's refusal in status")
    assert agent(place)["state"] == "waiting"
    assert "not-this" not in json.dumps(place.read_status())
    broker.make_secret("other")
    wait_until(lambda: watching(place), 300, pause_s=2, what="the Secret's new password in the pod")
    (pod,) = place.cluster.list(POD, selector="eaves.dev/source=gate")
    assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]
    place.eaves("remove", NAME)


def test_an_agent_that_cannot_start_is_replaced_as_soon_as_it_is_mended(
    place: Place, broker: Mosquitto, image: str, agent_image: str
):
    """A StatefulSet that makes its pods in order would wait for the broken one for ever (kubernetes#67250)."""
    nowhere = f"{agent_image.partition('@')[0]}@sha256:{64 * '0'}"
    place.configure(sources=[source(broker)], knative={"agent_image": nowhere})
    assert "agent_image" in place.deploy(image, codes=(69,)).stderr

    def waits_for() -> set[str]:
        pods = place.cluster.list(POD, selector="eaves.dev/source=gate")
        found = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
        return {one["state"].get("waiting", {}).get("reason", "") for one in found}

    wait_until(
        lambda: waits_for() & {"ErrImagePull", "ImagePullBackOff"}, 120, pause_s=1, what="a pod that can't start"
    )
    place.configure(sources=[source(broker)], knative={"agent_image": agent_image})
    place.deploy(image)
    wait_until(lambda: watching(place), 180, pause_s=1, what="the source at its broker")
    place.eaves("remove", NAME)


def queued(place: Place) -> dict[str, int | None]:
    """What waits in each queue; None in one that can't be asked just now."""
    return {one["name"]: one["queued"] for one in place.read_status()["agents"]}


def agent(place: Place) -> dict[str, Any]:
    """What it says of the source; nothing of one whose agent is on its way."""
    sources = [source for one in place.read_status()["agents"] for source in one["sources"]]
    return dict(next((one for one in sources if one["name"] == "gate"), {"state": "", "reason": ""}))


def watching(place: Place) -> bool:
    """Whether the source takes images."""
    return bool(agent(place)["state"] == "watching")
