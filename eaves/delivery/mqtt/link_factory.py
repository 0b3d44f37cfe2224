"""Links and sinks made of what a trigger says."""

from __future__ import annotations

import secrets
from typing import cast

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery.mqtt.broker_link import BrokerLink
from eaves.delivery.mqtt.home_assistant import HomeAssistant
from eaves.delivery.mqtt.settings import MqttTriggerSettings
from eaves.delivery.mqtt.target import broker_url
from eaves.mqtt import ConnectionSettings, parse_address
from eaves.mqtt.settings import Version

MAX_NAME = 40


def build_link(url: str, settings: MqttTriggerSettings, *, site: str, app: str, clock: Clock = SYSTEM) -> BrokerLink:
    """A link to the broker of a trigger's url; it connects when it is started.

    The client id is another one in each process, as no session is kept under it: two machines with the same names would
    push each other out.

    Args:
        url: The trigger's; `find_url_fault` finds nothing in it.
        settings: How its events are published.
        site: The site's name.
        app: The app's name, which is its function's.
        clock: Time.
    """
    home = HomeAssistant(site=site, app=app, prefix=settings.discovery_prefix, clock=clock)
    connection = ConnectionSettings(
        address=parse_address(broker_url(url)),
        client_id=f"eaves-{site[:MAX_NAME]}-{app[:MAX_NAME]}-{secrets.token_hex(4)}",
        credentials=settings.credentials,
        version=cast(Version, settings.version),
    )
    return BrokerLink(connection, home=home if settings.home_assistant else None, clock=clock)
