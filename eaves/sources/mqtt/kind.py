"""The kind of source `mqtt`: its settings, and the function that captures images from the topics of an MQTT broker."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.mqtt.address import parse_address
from eaves.reachability import TLS
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind
from eaves.sources.mqtt.settings import MqttSourceSettings


def run(settings: MqttSourceSettings, context: SourceContext) -> None:
    """Capture the images of the topics until the context says to stop."""
    from eaves.sources.mqtt.source import MqttSource

    MqttSource(settings, context).run()


def _list_addresses(settings: MqttSourceSettings) -> Iterator[str]:
    address = parse_address(settings.url)
    yield f"{TLS}{address.endpoint}" if address.tls else address.endpoint


KIND = SourceKind(settings=MqttSourceSettings, run=run, runs_as=("service",), addresses=_list_addresses)
