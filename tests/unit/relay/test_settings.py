"""Settings that can't be used are reported before any event is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.relay.settings import RelaySettings
from eaves.spool import LedgerLimits


def made(**values: Any) -> RelaySettings:
    return build(RelaySettings, SettingsLayer(origin="test", values={"to": "https://cloud:8443", **values}))


def test_a_receivers_address_is_all_that_is_needed() -> None:
    settings = made()
    assert settings.alarm_rules() == ()
    assert settings.limits().max_entries == 2_000_000
    assert settings.ledger_limits() == LedgerLimits(max_entries=500_000, ignored_lanes=("broker",))


@pytest.mark.parametrize("to", ["https://cloud", "https://cloud:8443/", "http://127.0.0.1:8443", "http://localhost"])
def test_a_receiver_is_reached_by_tls_or_on_loopback(to: str) -> None:
    assert made(to=to).to == to


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"to": "http://cloud:8443"},
            "to: must begin with https://, unless the receiver is on this machine's loopback address",
        ),
        ({"to": "http://localhost.evil.example"}, "to: must begin with https://"),
        (
            {"to": "https://user:word@cloud"},
            "to: must be an address without a user name; put the token into the file `token`",
        ),
        ({"to": "https://cloud:8443/v1/events"}, "to: must be an address without a path"),
        ({"to": "ftp://cloud"}, "to: must be an https:// address"),
        ({"site": "North"}, "site: must be 1-40 characters"),
        ({"alarms": "fire"}, "alarms: must be a JSON list of mappings"),
        ({"images": "some"}, "images: must be one of none, all"),
        ({"broker": "mqtt://x"}, "broker: must be an http"),
        ({"ca_certs": "x"}, "ca_certs: it contains no certificate"),
        ({"spool_max_bytes": 1_000_000}, "spool_max_bytes: must fit an event of max_bytes"),
    ],
)
def test_faults_name_the_setting(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**values)
    assert message in caught.value.message
    assert "word" not in caught.value.message
