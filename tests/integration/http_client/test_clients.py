"""Sinks behind TLS and behind proxies, all of them real servers on loopback.

Loopback is never reached through a proxy, so the sink has a name that only the proxy knows.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eaves.delivery import SinkClient
from eaves.errors import DeliveryError, OciNotFoundError, RegistryError, UnreachableError
from eaves.events import IMAGE_CAPTURED, Event
from eaves.http_client.proxies import Proxies, parse_proxies
from eaves.http_client.trust import build_tls_context
from eaves.oci.descriptor import LAYER, Reference, build_descriptor
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.contract.sinks import LocalSink, Reported, open_sink
from tests.fakes.http.proxy import FakeProxy, open_proxy
from tests.fakes.http.registry import serve_fake
from tests.inputs.certificates import make_certificate

IMAGE = Event(id="1", source="/eaves/site/camera", type=IMAGE_CAPTURED, data=b"image", datacontenttype="image/jpeg")
HOST = "sink.example"
PASSWORD = "c2VjcmV0"


def post(client: SinkClient, url: str) -> int:
    return client.post(url, IMAGE, prefer_reply=False, timeout_s=10).status


def port_of(sink: LocalSink) -> int:
    return urlsplit(sink.url).port or 0


@pytest.fixture
def proxy() -> Iterator[FakeProxy]:
    with open_proxy() as opened:
        yield opened


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[LocalSink, str]]:
    """A sink that speaks TLS as `HOST`, and the PEM text of its authority."""
    certificate = make_certificate(tmp_path / "tls", HOST)
    with open_sink(certificate) as opened:
        yield opened, certificate[0].read_text()


def proxies(proxy: FakeProxy, **environ: str) -> Proxies:
    return parse_proxies({"HTTPS_PROXY": f"http://{proxy.host}", "HTTP_PROXY": f"http://{proxy.host}", **environ})


def test_an_authority_that_is_given_is_trusted_beside_the_systems(tmp_path: Path):
    certificate = make_certificate(tmp_path / "tls")
    pem = "Főtanúsítvány\n" + certificate[0].read_text()
    with open_sink(certificate) as sink, SinkClient(ca_certs_pem=pem) as trusting, SinkClient() as other:
        assert post(trusting, sink.url) == 202
        with pytest.raises(UnreachableError, match="its certificate is not trusted: self-signed") as caught:
            post(other, sink.url)
        assert "K_CA_CERTS" in str(caught.value.hint)
        assert len(sink.received) == 1
    assert len(build_tls_context(pem).get_ca_certs()) == len(build_tls_context().get_ca_certs()) + 1


def test_the_systems_authorities_can_be_named_by_ssl_cert_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate = make_certificate(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with open_sink(certificate) as sink, SinkClient() as client:
        assert post(client, sink.url) == 202


def test_tls_spoken_to_a_plain_server_sends_nothing(sink: LocalSink, client: SinkClient):
    with pytest.raises(UnreachableError, match=r"TLS failed: .*WRONG_VERSION_NUMBER") as caught:
        post(client, sink.url.replace("http:", "https:"))
    assert "http://" in str(caught.value.hint)
    assert sink.received == []


@pytest.fixture
def client() -> Iterator[SinkClient]:
    with SinkClient() as opened:
        yield opened


def test_an_https_sink_is_reached_through_a_tunnel(proxy: FakeProxy, secure: tuple[LocalSink, str]):
    sink, pem = secure
    proxy.routes[f"{HOST}:443"] = port_of(sink)
    with SinkClient(ca_certs_pem=pem, proxies=proxies(proxy)) as client:
        assert [post(client, f"https://{HOST}/") for _ in range(3)] == [202] * 3
    assert set(proxy.targets()) == {f"CONNECT {HOST}:443"}
    assert "ce-id" not in proxy.asked[0].headers
    assert [event.id for event in sink.received] == ["1"] * 3


def test_an_http_sink_is_reached_in_absolute_form(proxy: FakeProxy, sink: LocalSink):
    proxy.routes[f"{HOST}:8080"] = port_of(sink)
    with SinkClient(proxies=proxies(proxy)) as client:
        assert post(client, f"http://{HOST}:8080/a?b=c") == 202
    assert proxy.targets() == [f"POST http://{HOST}:8080/a?b=c"]
    assert proxy.asked[0].headers["host"] == f"{HOST}:8080"
    assert sink.received == [IMAGE]


def test_the_proxy_alone_gets_its_password(
    proxy: FakeProxy, sink: LocalSink, secure: tuple[LocalSink, str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    behind, pem = secure
    proxy.routes.update({f"{HOST}:443": port_of(behind), f"{HOST}:80": port_of(sink)})
    proxy.authorization = "Basic dXNlcjpjMlZqY21WMA=="
    found = parse_proxies({"ALL_PROXY": f"http://user:{PASSWORD}@{proxy.host}"})
    with SinkClient(ca_certs_pem=pem, proxies=found) as client:
        assert [post(client, f"{scheme}://{HOST}/") for scheme in ("https", "http")] == [202] * 2
        proxy.authorization = "Basic other"
        proxy.routes[f"{HOST}:8443"] = port_of(behind)
        with pytest.raises(UnreachableError, match=r"the proxy refuses the connection: .* 407") as caught:
            post(client, f"https://{HOST}:8443/")
        assert post(client, f"http://{HOST}/") == 407
    assert "proxy-authorization" not in {name.lower() for head in behind.heads for name in head}
    reported = f"{caught.value.message}{caught.value.hint}{caplog.text}"
    assert PASSWORD not in reported
    assert "dXNlcjpj" not in reported
    assert len(sink.received) == 1
    assert len(behind.received) == 1


def test_a_proxy_that_refuses_or_is_not_there_was_sent_nothing(proxy: FakeProxy):
    proxy.status = 403
    away = parse_proxies({"ALL_PROXY": "http://127.0.0.1:1"})
    for found, message, hint in (
        (proxies(proxy), "the proxy refuses the connection: .* 403", "NO_PROXY"),
        (away, "the proxy can't be reached", "HTTPS_PROXY"),
    ):
        with SinkClient(proxies=found) as client, pytest.raises(UnreachableError, match=message) as caught:
            post(client, f"https://{HOST}/")
        assert hint in str(caught.value.hint)


def test_a_proxy_that_hangs_up_may_have_passed_it_on(proxy: FakeProxy):
    proxy.status = -1
    with SinkClient(proxies=proxies(proxy)) as client, pytest.raises(DeliveryError, match="no answer from") as caught:
        post(client, f"http://{HOST}/")
    assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_sink_behind_a_proxy_that_is_silent_may_have_got_it(
    proxy: FakeProxy, sink: LocalSink, secure: tuple[LocalSink, str], scheme: str
):
    behind, pem = secure
    silent, over = (behind if scheme == "https" else sink), threading.Event()

    def wait(_: Event) -> Reported:
        over.wait(10)
        return Reported()

    silent.decide = wait
    proxy.routes.update({f"{HOST}:443": port_of(behind), f"{HOST}:80": port_of(sink)})
    try:
        with (
            SinkClient(ca_certs_pem=pem, proxies=proxies(proxy)) as client,
            pytest.raises(DeliveryError, match=r"no answer from .* timed out") as caught,
        ):
            client.post(f"{scheme}://{HOST}/", IMAGE, prefer_reply=False, timeout_s=0.5)
    finally:
        over.set()
    assert not isinstance(caught.value, UnreachableError)
    assert silent.received == [IMAGE]


def test_a_registry_is_reached_through_a_proxy(proxy: FakeProxy, tmp_path: Path):
    certificate = make_certificate(tmp_path / "tls", "reg.example")
    with serve_fake(certificate=certificate) as fake:
        proxy.routes["reg.example:443"] = int(fake.host.rpartition(":")[2])
        access = Access(
            authorities=certificate[0], proxies=proxies(proxy), configs=(Path("/nowhere/config.json"),), attempts=1
        )
        registry = Registry(Reference(host="reg.example", repository="site/x"), access)
        with pytest.raises(OciNotFoundError, match="doesn't exist at the registry"):
            registry.resolve("v1")
        assert proxy.targets() == ["CONNECT reg.example:443"]
        assert len(fake.log) == 1
        proxy.status = 403
        with pytest.raises(RegistryError, match=r"reg\.example can't be reached: the proxy refuses") as caught:
            Registry(Reference(host="reg.example", repository="site/x"), access).resolve("v1")
        assert "HTTPS_PROXY" in str(caught.value.hint)
        layer = build_descriptor(
            b"layer", LAYER
        )  # a download waits for a link that is away, and not for a proxy's consent
        with pytest.raises(RegistryError, match="the proxy refuses"):
            Registry(Reference(host="reg.example", repository="site/x"), access).open(layer).__enter__()
