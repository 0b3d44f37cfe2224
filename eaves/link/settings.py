"""Settings of relay, receiver and publisher: one table each for flags, environment, validation and docs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.names import ADDRESS_OR_NONE, NAME, NAME_PATTERN
from eaves.config import setting
from eaves.delivery.sinks import SINKS, MqttTriggerSettings, find_scheme, load_sink
from eaves.http_client.proxies import is_loopback
from eaves.http_client.trust import build_tls_context
from eaves.link.client import check_receiver
from eaves.spool.settings import SpoolSettings

_SCHEMES = ("http://", "https://")

ALARMS, ARCHIVE, FEDERATION, IMAGES = "alarms", "archive", "federation", "images"
CLASSES = (ALARMS, ARCHIVE, FEDERATION, IMAGES)
"""Lanes of the events that a relay forwards over the link, the most urgent first."""
LINK = "link"
"""Name of the lease of the deliverer that serves these lanes."""
BROKER = "broker"
"""Lane, and name of its lease, of the events that a relay copies to the site's own Broker."""
FROM_BROKER = "/from-broker"
"""Path that the site's own Broker posts to; an event that arrives there is not copied to the Broker again."""

Rule = Mapping[str, str]
"""Attribute names mapped to values; an event matches when it has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings(SpoolSettings):
    """Settings of every process with a queue: where it listens, what it accepts, and the limits of its queue."""

    host: str = setting("127.0.0.1", "Address that all ports listen on; 0.0.0.0 in a pod.")
    port: int = setting(
        8080, "TCP port that receives events. The default is Knative's own.", minimum=1, maximum=65_535, env="PORT"
    )
    health_port: int = setting(
        0, "TCP port of /metrics and /health. The default, 0, is no port.", minimum=0, maximum=65_535
    )
    max_bytes: int = setting(
        20_000_000,
        "Maximum size of a request in bytes, compressed and uncompressed; a larger request is refused with 413. "
        "A prediction has some kilobytes; an image of 15 MB takes 20 MB in a batch.",
        minimum=1,
    )
    in_flight_bytes: int = setting(
        32_000_000,
        "Maximum size in bytes of all requests that are received at the same time, or `max_bytes` if that is larger; "
        "when it is reached the answer is 429, and the sender keeps its events.",
        minimum=1,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if fault := self.find_room_fault(self.max_bytes):
            yield "spool_max_bytes", fault


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSettings(QueueSettings):
    """Settings that a platform passes to a publisher process."""

    app: str = setting(
        "images", "Name of the trigger's app; predictions of its function appear in Home Assistant under this name."
    )
    site: str = setting("local", "Name of the site, as it appears in the source of events.")
    url: str = setting(
        "", "Address that events are published to: mqtt://HOST[:PORT]/TOPIC or mqtts://HOST[:PORT]/TOPIC."
    )
    mqtt: MqttTriggerSettings = setting(MqttTriggerSettings, "Settings for publishing: format, topics, credentials.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if find_scheme(self.url) in SINKS.names():
            yield from load_sink(self.url).find_faults(self.url, self.mqtt)
        else:
            yield "url", f"must start with {' or '.join(f'{scheme}://' for scheme in SINKS.names())}"
        yield from QueueSettings.faults(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings(QueueSettings):
    """Settings of both ends of the link: the ledger, and whom they trust."""

    ledger_max_entries: int = setting(
        500_000,
        "Maximum number of lines of the ledger, which records the outcome of each event; a line takes about 250 bytes. "
        "An event that is repeated after its line was deleted counts as a new event.",
        minimum=1_000,
    )
    ca_certs: str = setting(
        "", "Certificate authorities to trust in addition to the system's, as PEM text.", env="K_CA_CERTS"
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.ca_certs:
            try:
                build_tls_context(self.ca_certs)
            except ValueError as error:
                yield "ca_certs", str(error)
        yield from QueueSettings.faults(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings(LinkSettings):
    """Settings that a platform passes to a relay process."""

    to: str = setting(
        "", "Address of the receiver in the cloud, https://HOST:PORT; http:// is allowed for loopback only."
    )
    credentials: Path | None = setting(
        None,
        "Folder with those of the files `token`, `ca.crt`, `tls.crt` and `tls.key` that the "
        "receiver needs. The files are read at each request.",
    )
    site: str = setting(
        "local",
        "Name of the site. Nothing is sent to a receiver if the token or certificate belongs to another site.",
        form=NAME,
    )
    alarms: str = setting(
        "",
        "Events that are forwarded before all others: a JSON list of mappings of attributes to "
        'values, such as [{"label": "fire"}, '
        '{"label": "smoke", "confidence": "high"}]. An event is an alarm if all the '
        "attributes of one mapping match.",
    )
    newest_first: bool = setting(
        False, "Forward the newest events of each class first instead of the oldest. All of them are forwarded."
    )
    rate_bytes: int = setting(
        0, "Maximum number of bytes per second that are sent, on average; 0 is no limit.", minimum=0
    )
    images: str = setting(
        "none",
        "Images that are forwarded: `all`, after all other events; `none`, images are acknowledged but not stored.",
        choices=("none", "all"),
    )
    broker: str = setting(
        "",
        "Address of the site's own Broker, which gets a copy of every event that isn't an "
        "image. The default is empty: no copies are sent. Knative's SinkBinding sets it.",
        env="K_SINK",
        form=ADDRESS_OR_NONE,
    )
    has_broker: bool = setting(
        False,
        "True if the site has its own Broker. Its copies then wait while `broker` is empty, as "
        "K_SINK is while a SinkBinding finds no Broker.",
    )

    @property
    def to_broker(self) -> bool:
        """Whether the site's own Broker gets a copy of each event that isn't an image."""
        return self.has_broker or bool(self.broker)

    def alarm_rules(self) -> tuple[Rule, ...]:
        """Return the parsed rules of `alarms`.

        Raises:
            ValueError: When `alarms` is not a list of mappings, or when a rule would match every event.
        """
        listed = json.loads(self.alarms or "[]")
        for rule in listed if isinstance(listed, list) else [listed]:
            is_rule = isinstance(rule, dict) and rule and all(isinstance(value, str) for value in rule.values())
            if not is_rule or any(not name.isalnum() or name != name.lower() for name in rule):
                raise ValueError(f"a rule must map attributes, of a-z and 0-9, to strings (got {str(rule)[:80]})")
        return tuple(listed)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if fault := check_receiver(self.to):
            yield "to", fault
        try:
            self.alarm_rules()
        except ValueError as error:
            yield "alarms", f"must be a JSON list of mappings: {error} (got {self.alarms[:80]!r})"
        yield from LinkSettings.faults(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings(LinkSettings):
    """Settings of a receiver process."""

    port: int = setting(8443, "TCP port that receives events.", minimum=1, maximum=65_535, env="PORT")
    credentials: Path | None = setting(
        None,
        "Folder with the server's certificate: `tls.crt` and `tls.key`, and `ca.crt` with the "
        "authorities that sign the sites' certificates, if any. A change applies from the next "
        "connection on. Any `host` other than loopback needs it.",
    )
    sites: Path = setting(
        Path("sites"),
        "Folder with one file for each site, with the name of the site; each line of the file "
        "is a token that the site may send. A change applies within a second. A file may hold "
        "two tokens while a site changes its token.",
    )
    sink: str = setting(
        "",
        "Address that received events are sent to, http(s), such as the address of a Knative "
        "Broker. If neither `sink` nor `folder` is set, events are received and wait, as they "
        "do while a SinkBinding finds no Broker.",
        env="K_SINK",
        form=ADDRESS_OR_NONE,
    )
    folder: Path | None = setting(
        None,
        "Folder that received events are written to, if they are not sent to `sink`: one file of JSON lines for each "
        "day, the images, and what `eaves federate` sends.",
    )
    dataset: Path | None = setting(
        None,
        "Folder of labelled images into which images that sites have chosen for labelling are put, as photos without a "
        "label, besides those in `folder`: those with `chosen: audit` into its folder `audit`.",
    )
    functions: str = setting(
        "",
        "Functions in the cloud that sites may call, as a JSON object of names and addresses; "
        "for agents with `through: cloud`.",
    )
    function_timeout_s: float = setting(
        120.0, "Seconds that a function may take to answer, including its cold start.", minimum=1, maximum=600
    )
    max_bytes: int = setting(
        32_000_000,
        "Maximum size of a request in bytes, compressed and uncompressed; a larger request is "
        "refused with 413. An image of 20 MB takes 27 MB in a batch.",
        minimum=1,
    )
    in_flight_bytes: int = setting(
        64_000_000,
        "Maximum size in bytes of all requests that are received at the same time, or "
        "`max_bytes` if that is larger; when it is reached the answer is 429, and the relay "
        "keeps its events. One site gets half of it. Small requests may use an eighth more, "
        "and images for `functions` as much again.",
        minimum=1,
    )
    connections: int = setting(
        256,
        "Maximum number of connections at the same time; a relay has two open while it empties its queue.",
        minimum=2,
        maximum=10_000,
    )
    idle_s: float = setting(
        60.0, "Seconds after which a connection without a request is closed.", minimum=1, maximum=3_600
    )
    ledger_max_entries: int = setting(
        1_000_000,
        "Number of events whose ids are remembered, at about 250 bytes of disk each; a "
        "repetition that arrives after that counts as a new event.",
        minimum=1_000,
    )
    parallel: int = setting(
        1,
        "Number of deliveries to the sink at the same time; more than one may change the order of events.",
        minimum=1,
        maximum=64,
    )
    timeout_s: float = setting(30.0, "Seconds that one delivery to the sink may take.", minimum=1, maximum=600)

    def function_urls(self) -> Mapping[str, str]:
        """Return the address of each function by name.

        Raises:
            ValueError: When `functions` is not a JSON object of names and addresses.
        """
        found: Any = json.loads(self.functions or "{}")
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not the call
        for name, url in found.items():
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is not the name of a function")
            if not (isinstance(url, str) and url.startswith(_SCHEMES)):
                raise ValueError(f"the address of {name} must begin with http:// or https://")
        return found

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.credentials is None and not is_loopback(self.host.lower()):
            yield (
                "credentials",
                f"must be a folder with tls.crt and tls.key, because host is not 127.0.0.1 (got host {self.host})",
            )
        if self.sink and self.folder is not None:
            yield "sink", "can't be set together with folder"
        if self.dataset is not None and self.folder is None:
            yield "dataset", "can be set only together with folder"
        try:
            self.function_urls()
        except ValueError as error:
            yield "functions", f'must be a JSON object such as {{"flowers": "http://flowers.default"}}: {error}'
        yield from LinkSettings.faults(self)
