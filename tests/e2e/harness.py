"""A namespace of a real cluster as a platform under test."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from eaves.base.clock import parse_timestamp
from eaves.events import Event, encode_structured
from eaves.local.state import LocalApp
from eaves.platform import DeliverySettings, FunctionSpec
from knative.client.cluster import Cluster
from knative.client.kinds import BROKER, TRIGGER
from knative.platform import KnativePlatform
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from tests.contract.sinks import Reported, Sink, parse_received
from tests.e2e.pods import start_script
from tests.waiting import wait_until

SINK = "sink"
QUIET_S = 8.0
"""Longer than the pauses of `delivery` together: what doesn't come in this time doesn't come."""
SETTLED_S = 2.0
"""How long every Trigger has been ready before events are sent, seconds; the API server tells whole ones."""
_numbers = itertools.count()


class KnativeSink:
    """A path of the sink that runs in the cluster; asked by way of the API server."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        self._cluster, self._path = cluster, path
        self.url = f"http://{SINK}.{cluster.namespace}.svc.cluster.local{path}"
        self.answer()

    @property
    def received(self) -> Sequence[Event]:
        return parse_received(self._ask("GET"))

    def answer(self, *answers: Reported) -> None:
        self._ask("PUT", json.dumps([reported.to_dict() for reported in answers]).encode())

    def _ask(self, method: str, body: bytes = b"") -> bytes:
        answer = self._cluster.proxy(f"pods/{SINK}:8080", self._path, method=method, body=body)
        assert answer.status < 300, (answer.status, answer.body)
        return answer.body


class KnativeHarness:
    """Implements the contract's Harness in one namespace.

    Args:
        cluster: With that namespace.
        put_image: Artifact to the name of its container image at a registry that the cluster reaches.
    """

    durable = False
    patience = 4.0

    def __init__(self, cluster: Cluster, put_image: Callable[[Path], str]) -> None:
        self.cluster = cluster
        self.settings = KnativeSettings(pod={"resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}})
        self._put_image = put_image
        self._site = SiteSettings(name="test", namespace=cluster.namespace)
        self.platform = self._open()
        self._dead = KnativeSink(cluster, f"/dead-{next(_numbers)}")
        self.delivery = DeliverySettings(retry=3, backoff_s=0.1, timeout_s=90, dead_letter_sink=self._dead.url)

    def _open(self) -> KnativePlatform:
        """The platform with its settings, as one that is given artifacts."""
        platform = KnativePlatform(self.cluster, self.settings, self._site)
        self._platform_deploy = platform.deploy
        platform.deploy = self._deploy  # type: ignore[assignment, method-assign]
        return platform

    def use_agents(self, image: str) -> None:
        """Name the container image of agents and relays."""
        self.settings = replace(self.settings, agent_image=image)
        self.platform = self._open()

    def prepare(self, app: LocalApp) -> ClusterApp:
        """The same app, which has no source and no trigger to MQTT, with its artifact's container image."""
        function = {one.name: getattr(app.function, one.name) for one in fields(FunctionSpec)}
        return ClusterApp(
            function=FunctionSpec(**function),
            triggers=app.triggers,
            relay=app.relay,
            through=app.through,
            image=self._put_image(app.function.artifact),
            knative=self.settings,
            site=self._site,
        )

    def _deploy(self, app: LocalApp) -> None:
        self._platform_deploy(self.prepare(app))

    def deploy(self, app: LocalApp) -> None:
        self._deploy(app)
        self.platform.promote(app.function.name)
        wait_until(lambda: delivers(self.cluster), 180, pause_s=0.2, what="the Broker and its Triggers")

    def deploy_beside(self, app: LocalApp) -> None:
        self._deploy(app)

    @contextmanager
    def open_sink(self) -> Iterator[Sink]:
        yield KnativeSink(self.cluster, f"/sink-{next(_numbers)}")

    def publish_structured(self, event: Event) -> None:
        publish(self.cluster, event, broker=self.settings.broker)

    def dead(self) -> int:
        return len({event.id for event in self._dead.received})

    def settle(self, sink: Sink) -> None:
        seen, since = -1, time.monotonic()

        def quiet() -> bool:
            nonlocal seen, since
            count = len(sink.received)
            if count != seen:
                seen, since = count, time.monotonic()
            return time.monotonic() - since > QUIET_S

        wait_until(quiet, 120, pause_s=0.5, what="silence")

    def kill(self) -> None:
        raise NotImplementedError("nobody ends a cluster for a test")

    def start(self) -> None:
        raise NotImplementedError("a cluster runs already")

    def clear(self) -> None:
        """Remove every function, as a user would, and the Broker.

        The in-memory channel of Eventing 1.22 may keep subscribers of removed Triggers, to which it delivers in vain:
        then the Broker answers 500 to events of later tests.
        """
        for status in self.platform.status():
            self.platform.remove(status.name)
        wait_until(lambda: not self.platform.status(), 60, pause_s=0.2, what="an empty namespace")
        for one in self.cluster.list(BROKER):
            self.cluster.delete(BROKER, one["metadata"]["name"])
        wait_until(lambda: not self.cluster.list(BROKER), 60, pause_s=0.2, what="a namespace without a Broker")


def publish(cluster: Cluster, event: Event, *, broker: str = "eaves") -> None:
    """Send an event to a Broker of the namespace."""
    found = cluster.get(BROKER, broker)
    assert found is not None
    headers, body = encode_structured(event)
    answer = cluster.send(found["status"]["address"]["url"], headers=headers, body=body)
    assert answer.status < 300, (answer.status, answer.body)


def is_ready(one: dict[str, Any]) -> bool:
    """Whether an object says that it is ready, of what was asked of it last."""
    status = one.get("status", {})
    current = status.get("observedGeneration") == one["metadata"].get("generation")
    return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def delivers(cluster: Cluster) -> bool:
    """Whether what a namespace's Broker takes reaches everybody: what comes before that is lost.

    Knative says that a Trigger is ready up to some tenths of a second before its channel delivers to it.
    """
    objects = [*cluster.list(BROKER), *cluster.list(TRIGGER)]
    if not all(is_ready(one) for one in objects):
        return False
    changes = [c["lastTransitionTime"] for one in objects for c in one["status"]["conditions"] if c["type"] == "Ready"]
    last = max((parse_timestamp(change).timestamp() for change in changes), default=0.0)
    return cluster.clock() - last >= SETTLED_S


def start_sink(cluster: Cluster, image: str) -> None:
    """Run the sink in the cluster, in a function's container image: it has Python."""
    start_script(cluster, SINK, image, "sink_server.py")
