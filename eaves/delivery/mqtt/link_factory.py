"""Building of broker links from the settings of triggers."""

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
    """Return a broker link to the broker of a trigger's url; the broker link connects when it is started.

    Each process uses a different client id, because no session is kept for it: with the same id, two machines with the
    same names would disconnect each other.

    Args:
        url: URL of the trigger, which `find_url_fault` accepts.
        settings: Settings of the trigger's `mqtt` section.
        site: Name of the site.
        app: Name of the app, which is also its function's name.
        clock: Clock for monotonic time.
    """
    home = HomeAssistant(site=site, app=app, prefix=settings.discovery_prefix, clock=clock)
    connection = ConnectionSettings(
        address=parse_address(broker_url(url)),
        client_id=f"eaves-{site[:MAX_NAME]}-{app[:MAX_NAME]}-{secrets.token_hex(4)}",
        credentials=settings.credentials,
        version=cast(Version, settings.version),
    )
    return BrokerLink(connection, home=home if settings.home_assistant else None, clock=clock)
