"""The address of a broker."""

from __future__ import annotations

import pytest

from eaves.plugins.mqtt.message import BrokerAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mqtt://broker", BrokerAddress(host="broker", port=1883)),
        ("mqtts://broker", BrokerAddress(host="broker", port=8883, tls=True)),
        ("mqtt://hub//a/", BrokerAddress(host="hub", port=1883, path="/a/")),
        ("mqtt://[::1]:1884/a/b", BrokerAddress(host="::1", port=1884, path="a/b")),
        ("mqtt://h/eaves/{label}/a%23b", BrokerAddress(host="h", port=1883, path="eaves/{label}/a#b")),
        ("mqtt://u%40x:p%3Aw@h", BrokerAddress(host="h", port=1883, username="u@x", password="p:w")),
    ],
)
def test_what_is_an_address(text: str, address: BrokerAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://broker",
        "mqtt://",
        "mqtt://h:99999",
        "mqtt://h/#",
        "mqtt://h?a=b",
    ],
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_address(text)


def test_a_password_is_not_shown() -> None:
    address = parse_address("mqtt://user:hunter2@h")
    assert "hunter2" not in repr(address)
    assert address.endpoint == "h:1883"
    with pytest.raises(ValueError, match="must") as caught:
        parse_address("mqtt://user:hunter2@h:99999")
    assert "hunter2" not in str(caught.value)
