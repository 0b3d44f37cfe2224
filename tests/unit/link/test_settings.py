"""Settings of relay and receiver that can't be used are reported before any event is accepted."""

from typing import Any

import pytest

from eaves.errors import ConfigError
from eaves.link.settings import ReceiverSettings, RelaySettings
from tests.inputs.settings import settings_from


def relay(**values: Any) -> RelaySettings:
    return settings_from(RelaySettings, {"to": "https://cloud:8443", **values})


def receiver(**values: Any) -> ReceiverSettings:
    return settings_from(ReceiverSettings, {"sink": "http://broker/default", **values})


def test_tls_may_be_left_out_on_loopback_alone():
    for to in ("https://cloud", "https://cloud:8443/", "http://127.0.0.1:8443", "http://localhost"):
        assert relay(to=to).to == to
    for host in ("localhost", "::1", "127.0.0.2"):
        assert receiver(host=host).credentials is None
    for host in ("0.0.0.0", "receiver.example"):
        with pytest.raises(ConfigError, match=r"credentials: must be a folder with tls\.crt"):
            receiver(host=host)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"to": "http://cloud:8443"},
            "to: must begin with https://, unless the receiver is on this",
        ),
        ({"to": "http://localhost.evil.example"}, "to: must begin with https://"),
        ({"to": "https://user:word@cloud"}, "to: must be an address without a user name; put the token into the file"),
        ({"to": "https://cloud:8443/v1/events"}, "to: must be an address without a path"),
        ({"to": "ftp://cloud"}, "to: must be an https:// address"),
        ({"site": "North"}, "site: must be 1-40 characters"),
        ({"alarms": "fire"}, "alarms: must be a JSON list of mappings"),
        ({"alarms": "{}"}, "a rule must map attributes"),
        ({"alarms": "[{}]"}, "a rule must map attributes"),
        ({"alarms": '[{"Label": "x"}]'}, "a rule must map attributes"),
        ({"alarms": '[{"label": 1}]'}, "a rule must map attributes"),
        ({"broker": "mqtt://x"}, "broker: must be an http"),
        ({"ca_certs": "x"}, "ca_certs: it contains no certificate"),
        ({"spool_max_bytes": 1_000_000}, "spool_max_bytes: must fit an event of max_bytes"),
    ],
)
def test_faults_of_a_relay_name_the_setting(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        relay(**values)
    assert message in caught.value.message
    assert "word" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folder": "x"}, "sink: can't be set together with folder"),
        ({"sink": "broker"}, "sink: must be an http"),
        ({"functions": "{"}, "functions: must be a JSON object"),
        ({"functions": '{"a/b": "http://x"}'}, "is not the name of a function"),
        ({"functions": '{"a": "file:///etc/passwd"}'}, "must begin with http"),
    ],
)
def test_faults_of_a_receiver_name_the_setting(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        receiver(**values)
