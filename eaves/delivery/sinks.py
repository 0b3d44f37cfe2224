"""Sinks: what takes a trigger's events, found by the scheme of the trigger's url.

Events go by HTTP to a url that begins with http:// or https://. For any other scheme a package adds a sink, by an
entry point of the group `eaves.sinks`: its name is the scheme, its object a class that derives from `Sink`.
docs/events-out.md shows one in ten lines. On one machine the local broker has the sink; in a cluster a publisher has
it, a process with a queue of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from eaves.base.clock import SYSTEM, Clock
from eaves.config import setting
from eaves.delivery.response_rules import SinkResponse
from eaves.events import Event
from eaves.plugin_registry import PluginRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTriggerSettings:
    """Settings of a trigger's publishing: the section `mqtt` of a trigger whose url needs a sink.

    They are for MQTT; a sink of another package gets them as they are, and reads those that it has a use for.
    """

    format: str = setting(
        "cloudevents",
        "Content of a message. `cloudevents`: the event's data, with its attributes as MQTT "
        "user properties (the whole event as JSON if the broker speaks only MQTT 3.1.1, which "
        "has no user properties). `json`: the event's data with the event's id, camera and "
        "time added, for receivers that don't read CloudEvents.",
        choices=("cloudevents", "json"),
    )
    retain: bool = setting(
        False, "Retain the last message of each topic on the broker, for receivers that subscribe later."
    )
    home_assistant: bool = setting(
        False,
        "Also publish Home Assistant's discovery messages, so that the label and confidence of "
        "each camera appear there as sensors. Only one trigger of an app may set this.",
    )
    discovery_prefix: str = setting(
        "homeassistant",
        "First part of the discovery topics. The default is Home Assistant's "
        "own; change it if the prefix was changed there.",
    )
    credentials: Path | None = setting(
        None,
        "Folder with those of the files username, password, tls.crt, tls.key and ca.crt that "
        "the broker needs. The files are read at each connection.",
    )
    version: str = setting(
        "auto",
        "MQTT version. `auto` tries 5 first, then 3.1.1 if the broker refuses it.",
        choices=("auto", "5", "3.1.1"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkTarget:
    """What a sink is opened for.

    Attributes:
        url: Url of the trigger.
        settings: The trigger's section `mqtt`.
        site: Name of the site.
        app: Name of the app, which is also its function's name.
        clock: Wall clock and monotonic clock.
    """

    url: str
    settings: MqttTriggerSettings
    site: str
    app: str
    clock: Clock = SYSTEM


class Sink:
    """Takes the events of one trigger. Many threads may call `send` at the same time.

    Args:
        target: Trigger that it is opened for. Connections are made in the background, and made again.
    """

    def __init__(self, target: SinkTarget) -> None:
        raise NotImplementedError

    @classmethod
    def find_faults(cls, url: str, settings: MqttTriggerSettings) -> Iterable[tuple[str, str]]:  # noqa: ARG003
        """Yield path and message of each fault of a trigger's settings, without a password in the message."""
        return ()

    def send(self, event: Event, *, timeout_s: float) -> SinkResponse:
        """Deliver one event within a time limit; a response with status 200 releases it from its queue.

        Raises:
            EventError: When the event can't be encoded; a retry would fail too.
            DeliveryError: When it isn't known whether the event has arrived; an UnreachableError when it hasn't.
        """
        raise NotImplementedError

    def is_alive(self) -> bool:
        """Return whether the sink is connected or will connect again."""
        return True

    def close(self, grace_s: float = 1.0) -> None:
        """End all connections, after at most `grace_s` seconds for events in progress; `send` fails after that."""


DATASET = "dataset"
"""Scheme of the urls of folders of labelled images, see `eaves.delivery.dataset_sink`."""
SINKS = PluginRegistry("eaves.sinks", Sink, what="sink", own={DATASET: "eaves.delivery.dataset_sink:DatasetSink"})
"""Every class of sinks, by the scheme of its urls."""


def find_scheme(url: str) -> str:
    """Return the scheme of a url; empty without one."""
    scheme, separator, _ = url.partition("://")
    return scheme if separator else ""


def load_sink(url: str) -> type[Sink]:
    """Load the class of sinks for a url; NotFoundError when there is none, or its package can't be imported."""
    return cast("type[Sink]", SINKS.load(find_scheme(url)))
