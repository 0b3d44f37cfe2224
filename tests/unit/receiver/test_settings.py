"""Settings of a receiver that can't be used are reported, each with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eaves.config import build, flag_layer
from eaves.errors import ConfigError
from eaves.receiver.settings import ReceiverSettings

GOOD = {"sink": "http://broker/default"}


def make(**values: Any) -> ReceiverSettings:
    return build(ReceiverSettings, flag_layer({**GOOD, **values}))


def test_what_is_needed_is_enough() -> None:
    assert make().port == 8443
    assert make(host="0.0.0.0", credentials="/tls").credentials == Path("/tls")
    assert not make(sink="").sink, "events wait"
    assert make(sink="", folder="received").folder == Path("received")
    assert make(functions='{"flowers": "http://flowers.default"}').function_urls() == {
        "flowers": "http://flowers.default"
    }


@pytest.mark.parametrize("host", ["0.0.0.0", "receiver.example"])
def test_tls_is_needed_off_loopback(host: str) -> None:
    with pytest.raises(ConfigError, match=r"credentials: must be a folder with tls\.crt"):
        make(host=host)


@pytest.mark.parametrize("host", ["localhost", "::1", "127.0.0.2"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert make(host=host).credentials is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folder": "x"}, "sink: can't be set together with folder"),
        ({"sink": "broker"}, "sink: must be an http"),
        ({"functions": "{"}, "functions: must be a JSON object"),
        ({"functions": '{"a/b": "http://x"}'}, "is not the name of a function"),
        ({"functions": '{"a": "file:///etc/passwd"}'}, "must begin with http"),
        ({"ca_certs": "hello"}, "ca_certs: "),
        ({"spool_max_bytes": "1000000"}, "spool_max_bytes: must fit an event of max_bytes"),
    ],
)
def test_what_can_not_be_used_is_reported(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**values)
