"""Addresses that an app's sources, MQTT triggers and relay connect to, most of them outside the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.delivery.mqtt.settings import broker_url
from eaves.mqtt.address import parse_address
from eaves.platform import TriggerSpec
from eaves.reachability import TLS, find_address
from knative.resources.app.sources import source_addresses
from knative.specs import ClusterApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An address that a part of an app connects to.

    Attributes:
        by: Part that connects to it: `source gate`, `trigger out`, `relay`.
        address: `HOST:PORT`, or `tls://HOST:PORT`.
        secret: Secret with the credentials for it; empty when it needs none.
        setting: Setting that names this Secret in eaves.yaml, within the source or the trigger.
    """

    by: str
    address: str
    secret: str = ""
    setting: str = "secret"


def find_destinations(app: ClusterApp) -> Iterator[Destination]:
    """Yield every address of an app, in the order of eaves.yaml."""
    for source in app.sources:
        for address in source_addresses(source):
            yield Destination(by=f"source {source.name}", address=address, secret=source.secret)
    for trigger in app.triggers:
        if trigger.is_mqtt:
            yield Destination(
                by=f"trigger {trigger.name}",
                address=_broker_address(trigger),
                secret=trigger.mqtt.secret,
                setting="mqtt.secret",
            )
    if app.relay.enabled:
        yield Destination(by="relay", address=find_address(app.relay.to), secret=app.relay.secret)


def _broker_address(trigger: TriggerSpec) -> str:
    broker = parse_address(broker_url(trigger.url))
    return f"{TLS}{broker.endpoint}" if broker.tls else broker.endpoint
