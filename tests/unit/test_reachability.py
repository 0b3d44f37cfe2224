"""The address of a URL's server, to which a connection is tried."""

import pytest

from eaves.reachability import find_address, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://cam/a.jpg", "cam:80"),
        ("https://user:secret@store.example:9000/photos", "tls://store.example:9000"),
        ("https://store.example", "tls://store.example:443"),
        ("rtsp://cam/1", "cam:554"),
        ("rtsps://cam/1", "tls://cam:322"),
        ("rtmps://[fe80::1]/live", "tls://[fe80::1]:443"),
    ],
)
def test_the_address_of_a_urls_server(url: str, address: str):
    assert find_address(url) == address
    host, port, with_tls = parse_address(address)
    assert (host in url, port > 0, with_tls) == (True, True, address.startswith("tls://"))
