"""Which URLs and addresses an event may make us reach."""

from collections.abc import Callable

import pytest

from eaves.errors import ClaimError, ConfigError, UnreachableError
from functions.settings import FunctionSettings
from functions.url_policy import UrlPolicy
from tests.inputs.settings import settings_from

REACH = UrlPolicy(hosts=["store.example", "*.cdn.example", "minio.example:9000"])


@pytest.mark.parametrize(
    "url",
    [
        "https://store.example/a.jpg",
        "https://STORE.example:443/a.jpg?signed=%20x",
        "https://a.b.cdn.example/a.jpg",
        "https://minio.example:9000/a.jpg",
    ],
)
def test_allowed_urls(url: str):
    assert REACH.check_url(url).scheme == "https"


def find_status(check: Callable[..., object], *arguments: object) -> int:
    """The status of the error that a check ends with; 200 when it passes."""
    try:
        check(*arguments)
    except (ClaimError, UnreachableError) as error:
        return error.http_status
    return 200


def test_refused_urls():
    urls = [
        "http://store.example/a.jpg",
        "file:///etc/passwd",
        "ftp://store.example/",
        "gopher://store.example/",
        "//store.example/a.jpg",
        "a.jpg",
        "",
        "https:///a.jpg",
        "https://evil.example/",
        "https://store.example.evil.example/",
        "https://evilstore.example/",
        "https://cdn.example/",
        "https://evilcdn.example/",
        "https://store.example:8443/",
        "https://store.example:99999/",
        "https://store.example:x/",
        "https://minio.example/",
        "https://store.example@evil.example/",
        "https://evil.example#@store.example/",
        "https://evil.example\\@store.example/",
        "https://user:secret@store.example/",
        "https://store.example/a b.jpg",
        "https://store.example/a\r\nHost: evil",
        "https://störe.example/",
        "https://store.example./",
        "https://.cdn.example/",
        "https://a..cdn.example/",
        "https://a%2ecdn.example/",
        "https://127.0.0.1%00.cdn.example/",
        "https://[::1].cdn.example/",
        "https://127.0.0.1,a.cdn.example/",
        f"https://{'a' * 64}.cdn.example/",
        f"https://{'a.' * 130}cdn.example/",
        "https://store.example:443:443/",
        "https:store.example/",
        "https:/store.example/",
        "HTTPS:\\\\store.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1",
        "https://store.example/" + "a" * 3000,
    ]
    assert {url: find_status(REACH.check_url, url) for url in urls} == dict.fromkeys(urls, 422)


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "::127.0.0.1",
    "::a9fe:a9fe",
    "fec0::1",
    "64:ff9b:1::7f00:1",
    "::ffff:0:127.0.0.1",
    "2001:0:7f00:1::",
    "4000::1",
    "5f00::1",
    "2002:7f00:1::",
    "2002:a00:1::",
]


def test_a_host_without_a_public_address_may_have_one_later():
    """While its uplink is down, a router answers every name with its own address."""
    found = {address: find_status(REACH.allowed_addresses, "store.example", [address]) for address in PRIVATE}
    assert found == dict.fromkeys(PRIVATE, 503)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses_may_be_reached(address: str):
    assert [str(one) for one in REACH.allowed_addresses("store.example", [address, "10.0.0.1"])]


@pytest.mark.parametrize(("address", "allowed"), [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("10.2.0.1", False)])
def test_a_network_can_be_allowed(address: str, allowed: bool):
    reach = UrlPolicy(hosts=["store.example"], networks=["10.1.0.0/16", "fd00::/8"])
    assert find_status(reach.allowed_addresses, "store.example", [address]) == (200 if allowed else 503)


def test_settings_name_every_bad_value():
    values = {
        "dataref_hosts": ["store.example", "https://store.example", "*"],
        "dataref_schemes": ["ftp"],
        "dataref_networks": ["10.0.0.1/8"],
        "dataref_region": "eu central",
    }
    with pytest.raises(ConfigError) as caught:
        settings_from(FunctionSettings, values)
    assert [fault.path for fault in caught.value.faults] == [
        "dataref_hosts",
        "dataref_hosts",
        "dataref_schemes",
        "dataref_networks",
        "dataref_region",
    ]
    with pytest.raises(ConfigError, match="dataref_credentials: has no effect without dataref_hosts"):
        settings_from(FunctionSettings, {"dataref_credentials": "/keys"})
