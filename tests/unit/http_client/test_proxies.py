"""Which proxy a URL is fetched through, by the environment: as Go's programs and curl read it."""

import re
from pathlib import Path

import pytest

import eaves
from eaves.errors import ConfigError
from eaves.http_client.proxies import Proxy, parse_proxies, parse_proxy

PROXY = "http://proxy.example:3128"


def through(url: str, **environ: str) -> str:
    found = parse_proxies(environ).find(url)
    return found.url if found else ""


@pytest.mark.parametrize(
    ("environ", "https", "http"),
    [
        ({}, "", ""),
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1", ""),
        ({"HTTP_PROXY": "http://a:1"}, "", "http://a:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, "http://a:1", ""),
        ({"ALL_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
        ({"all_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, "http://b:2", "http://a:1"),
        ({"HTTPS_PROXY": "a"}, "http://a:80", ""),
        ({"HTTPS_PROXY": "http://[2001:db8::1]:8080/"}, "http://[2001:db8::1]:8080", ""),
        ({"https_proxy": "", "HTTPS_PROXY": "http://b:2"}, "http://b:2", ""),
    ],
)
def test_the_scheme_of_the_url_chooses_the_variable(environ: dict[str, str], https: str, http: str):
    assert (through("https://x.example/", **environ), through("http://x.example/", **environ)) == (https, http)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("example.com", "https://example.com/", True),
        ("example.com", "https://a.b.example.com/", True),
        ("example.com", "https://badexample.com/", False),
        (".example.com", "https://a.example.com/", True),
        (".example.com", "https://example.com/", False),
        ("Example.COM", "https://example.com/", True),
        ("example.com:8443", "https://example.com:8443/", True),
        ("example.com:8443", "https://example.com/", False),
        ("10.1.2.3:443", "https://10.1.2.3:444/", False),
        ("10.0.0.0/8", "https://10.1.2.3:6443/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("2001:db8::/32", "https://[2001:db8::7]/", True),
        ("[2001:db8::7]:443", "https://[2001:db8::7]/", True),
        ("10.0.0.0/8", "https://[::ffff:10.1.2.3]/", True),
        ("*", "https://example.com/", True),
        ("a.example,, .svc ,10.0.0.0/8", "https://broker.knative-eventing.svc/", True),
        ("10.0.0.0/33,:80,[,]", "https://example.com/", False),
    ],
)
def test_no_proxy_names_hosts_domains_networks_and_ports(no_proxy: str, url: str, direct: bool):
    for name in ("NO_PROXY", "no_proxy"):
        assert through(url, HTTPS_PROXY=PROXY, **{name: no_proxy}) == ("" if direct else PROXY)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080/",
        "http://function.localhost/",
        "http://127.0.0.1:1234/",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_loopback_is_never_reached_through_a_proxy(url: str):
    assert through(url, HTTP_PROXY=PROXY) == ""


@pytest.mark.parametrize("url", ["http://[::1", "http://x:port/", "ftp://x.example/", ""])
def test_what_is_no_http_url_has_no_proxy(url: str):
    assert through(url, ALL_PROXY=PROXY) == ""


def test_a_name_and_a_password_become_a_header_and_are_not_shown():
    proxy = parse_proxy("http://us%40er:pass%3Aword@proxy.example:3128")
    assert proxy.headers == {"Proxy-Authorization": "Basic dXNAZXI6cGFzczp3b3Jk"}
    assert proxy.url == PROXY
    assert "dXNAZXI6" not in repr(proxy)
    assert parse_proxy("user@proxy.example").headers == {"Proxy-Authorization": "Basic dXNlcjo="}
    assert parse_proxy(PROXY) == Proxy(host="proxy.example", port=3128)


@pytest.mark.parametrize(
    "value",
    [
        "socks5://u:secret@a:1",
        "https://u:secret@a",
        "http://u:secret@",
        "http://u:secret@a:x",
        "http://u:secret@[",
        "/",
    ],
)
def test_what_is_no_proxy_is_refused_with_its_variable_and_without_its_password(value: str):
    with pytest.raises(ConfigError) as caught:
        parse_proxies({"HTTPS_PROXY": "http://fine:1", "http_proxy": value})
    assert "environment variable http_proxy: must be the address of a proxy" in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.hint}{caught.value.__cause__}"
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        parse_proxies({"ALL_PROXY": value})


def test_no_other_module_builds_clients_of_its_own():
    root = Path(eaves.__file__).parents[1]
    rooms = ("eaves", "functions", "knative", "trainer", "converters")
    found = {
        path.relative_to(root).as_posix()
        for room in rooms
        for path in (root / room).rglob("*.py")
        if re.search(r"\b(urlopen|HTTPConnection)(\(|\):)", path.read_text())
    }
    assert found == {"eaves/http_client/client.py", "knative/client/port_forward.py"}, "and a port within a pod"
