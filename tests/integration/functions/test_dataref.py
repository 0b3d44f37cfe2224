"""References to data, fetched from real servers on this machine."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest

from eaves.errors import ClaimDeniedError, ClaimError, ClaimTooLargeError, DeliveryError, EavesError, UnreachableError
from eaves.http_client.proxies import DIRECT, Proxies, parse_proxies
from functions.dataref import DatarefFetcher, FetchedData
from functions.request_signer import RequestSigner
from functions.url_policy import UrlPolicy
from tests.fakes.http.proxy import FakeProxy, open_proxy
from tests.inputs.certificates import Certificate, make_certificate
from tests.integration.functions.stores import GONE, HOST, S3, Store, answer, open_store

MAX_BYTES = 100_000


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store() as opened:
        yield opened


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "tls", HOST)


@pytest.fixture
def tls_store(certificate: Certificate) -> Iterator[Store]:
    """The same, over TLS with `certificate`."""
    with open_store(certificate) as opened:
        yield opened


def fetcher_of(store: Store, *others: str, timeout_s: float = 20.0, proxies: Proxies = DIRECT,
               networks: Sequence[str] = ("127.0.0.0/8",), trusted: Certificate | None = None,
               signer: RequestSigner | None = None) -> DatarefFetcher:  # fmt: skip
    """What may fetch from the store and from other hosts; every name leads to this machine."""
    return DatarefFetcher(
        UrlPolicy(hosts=[f"{HOST}:{store.port}", *others], schemes=["http", "https"], networks=networks),
        max_bytes=MAX_BYTES,
        timeout_s=timeout_s,
        resolve=lambda host, port: ["127.0.0.1"],
        context=ssl.create_default_context(cafile=str(trusted[0])) if trusted else None,
        proxies=proxies,
        signer=signer,
    )


def test_data_is_fetched_with_its_type(store: Store):
    store.answers["/a%20b.png"] = answer(b"x" * MAX_BYTES)
    assert fetcher_of(store).fetch(store.url("/a%20b.png?x=1")) == FetchedData(
        data=b"x" * MAX_BYTES, content_type="image/png", proven=False
    )


def test_a_redirect_passes_the_same_checks(store: Store):
    store.answers.update({"/a": answer(status=302, Location="/b"), "/b": answer(b"data")})
    assert fetcher_of(store).fetch(store.url("/a")).data == b"data"
    for place in (
        "http://169.254.169.254/latest",
        store.url("/b", host="localhost"),
        "file:///etc/passwd",
        "//[x",
        "https://x:y/",
        "http://user:hunter2@portal.example/",
    ):
        store.answers["/a"] = answer(status=307, Location=place)
        with pytest.raises(DeliveryError, match="redirects to a URL that may not be fetched") as caught:
            fetcher_of(store).fetch(store.url("/a"))
        assert caught.value.http_status == 503, "the event doesn't say where to"
        assert "hunter2" not in caught.value.message
    assert set(store.seen) == {"/a", "/b"}


def test_an_allowed_name_that_leads_to_a_private_address_is_not_asked(store: Store):
    store.answers["/a"] = answer(b"secret")
    with pytest.raises(UnreachableError, match="no address"):
        fetcher_of(store, networks=[]).fetch(store.url("/a"))
    assert store.seen == []


def test_more_bytes_than_allowed_are_not_read(store: Store):
    store.answers["/all"] = answer(bytes(MAX_BYTES + 1))
    store.answers["/said"] = answer(length=10**12)
    store.answers["/endless"] = lambda: chain([b"HTTP/1.0 200 OK\r\n\r\n"], repeat(bytes(65536)))
    for path in list(store.answers):
        with pytest.raises(ClaimTooLargeError) as caught:
            fetcher_of(store).fetch(store.url(path))
        assert caught.value.http_status == 413


def test_slow_answers_end_in_time(store: Store):
    store.answers["/silent"] = store.server.hang
    store.answers["/headers"] = lambda: store.server.trickle(b"HTTP/1.0 200 OK\r\nX: ", b"x", 0.02)
    store.answers["/data"] = lambda: store.server.trickle(b"HTTP/1.0 200 OK\r\n\r\n", b"x", 0.02)
    for path in list(store.answers):
        with pytest.raises(DeliveryError, match=r"within 0\.3 s") as caught:
            fetcher_of(store, timeout_s=0.3).fetch(store.url(path))
        assert caught.value.http_status == 503


FAULTS: dict[str, tuple[bytes, type[EavesError], int]] = {
    "/gone": (answer(GONE, 404), ClaimError, 422),
    "/gone-by-the-header": (answer(status=404, **S3), ClaimError, 422),
    "/gone-by-somebody": (answer(b"<html><h1>Welcome</h1>", 404), DeliveryError, 503),
    "/redirect-to-nowhere": (answer(status=302), DeliveryError, 503),
    "/forbidden": (answer(status=403), ClaimDeniedError, 503),
    "/bad": (answer(b"<Error><Code>InvalidArgument</Code></Error>", 400), ClaimError, 422),
    "/down": (answer(status=503), DeliveryError, 503),
    "/compressed": (answer(b"x", Content_Encoding="gzip", **S3), ClaimError, 422),
    "/cut-short": (answer(b"x", length=5, Connection="close"), DeliveryError, 503),
    "/no-http": (b"nonsense\r\n\r\n", DeliveryError, 503),
}


def test_what_goes_wrong_there_says_whether_to_send_again(store: Store):
    for path, (given, error, status) in FAULTS.items():
        store.answers[path] = given
        with pytest.raises(error) as caught:
            fetcher_of(store).fetch(store.url(path))
        assert caught.value.http_status == status, path


def test_by_its_certificate_any_server_proves_an_answer_to_be_its_own(tls_store: Store, certificate: Certificate):
    tls_store.answers.update({"/a": answer(b"data"), "/gone": answer(b"<html>Not found", 404)})
    fetcher = fetcher_of(tls_store, trusted=certificate)
    assert fetcher.fetch(tls_store.url("/a")).proven
    with pytest.raises(ClaimError, match="answered 404"):
        fetcher.fetch(tls_store.url("/gone"))


def test_a_certificate_proves_nothing_behind_a_redirect_of_somebody(
    store: Store, tls_store: Store, certificate: Certificate
):
    """The object behind it may be any object of the host, since anybody may have sent the redirect."""
    store.answers["/a"] = answer(status=302, Location=tls_store.url("/b"))
    fetcher = fetcher_of(store, f"{HOST}:{tls_store.port}", trusted=certificate)
    tls_store.answers["/b"] = answer(b"data")
    assert not fetcher.fetch(store.url("/a")).proven
    tls_store.answers["/b"] = answer(status=404)
    with pytest.raises(DeliveryError, match="answered 404"):
        fetcher.fetch(store.url("/a"))


KEYS = {"access_key": "AKIA", "secret_key": "hunter2", "session_token": "temporary"}


@pytest.fixture
def signer(tmp_path: Path) -> RequestSigner:
    for name, text in KEYS.items():
        (tmp_path / name).write_text(text)
    return RequestSigner(tmp_path)


def test_a_signature_is_sent_to_the_host_of_the_dataref_only(store: Store, signer: RequestSigner):
    other = f"other.example:{store.port}"
    store.answers["/a"] = answer(status=307, Location="/b")
    store.answers["/b"] = answer(status=307, Location=f"http://{other}/c")
    store.answers["/c"] = answer(b"data")
    assert fetcher_of(store, other, signer=signer).fetch(store.url("/a")).data == b"data"
    *signed, last = [asked.headers for asked in store.server.asked]
    first, second = (headers["authorization"] for headers in signed)
    assert first.startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    assert first != second
    assert [headers["x-amz-security-token"] for headers in signed] == ["temporary"] * 2
    assert not [name for name in last if name.startswith(("authorization", "x-amz"))]


def test_a_store_that_refuses_the_signature_is_asked_again_later(store: Store, signer: RequestSigner):
    for status, body, code in (
        (400, b"<?xml?><Error><Code>ExpiredToken</Code></Error>", "400 (ExpiredToken)"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", "301 (PermanentRedirect)"),
        (403, b"<Code><script>x</Code>" + bytes(MAX_BYTES), "403"),
    ):
        store.answers["/a"] = answer(body, status)
        with pytest.raises(ClaimDeniedError) as caught:
            fetcher_of(store, signer=signer).fetch(store.url("/a"))
        assert (caught.value.message, caught.value.http_status) == (f"the host of a dataref answered {code}", 503)


def test_the_authorities_beside_the_keys_are_trusted_once_they_are_there(
    tls_store: Store, certificate: Certificate, signer: RequestSigner, tmp_path: Path
):
    tls_store.answers["/a"] = answer(b"data")
    fetcher = fetcher_of(tls_store, signer=signer)
    with pytest.raises(DeliveryError, match="certificate"):
        fetcher.fetch(tls_store.url("/a"))
    (tmp_path / "ca.crt").write_text("none")
    with pytest.raises(ClaimDeniedError, match=r"ca.crt of the function's keys can't be used"):
        fetcher.fetch(tls_store.url("/a"))
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    assert fetcher.fetch(tls_store.url("/a")).data == b"data"


@contextmanager
def open_way(store: Store) -> Iterator[FakeProxy]:
    """A proxy that lets through to the store's address."""
    with open_proxy() as proxy:
        proxy.routes[f"127.0.0.1:{store.port}"] = store.port
        yield proxy


@pytest.fixture
def proxy(store: Store) -> Iterator[FakeProxy]:
    with open_way(store) as opened:
        yield opened


def through(proxy: FakeProxy) -> Proxies:
    return parse_proxies({"ALL_PROXY": f"http://user:secret@{proxy.host}"})


def test_through_a_proxy_goes_the_checked_address_and_never_the_name(store: Store, proxy: FakeProxy):
    """The proxy would resolve a name itself, and an allowed name could lead into the proxy's own network."""
    store.answers.update({"/a": answer(status=302, Location="/b"), "/b": answer(b"data")})
    proxy.authorization = "Basic dXNlcjpzZWNyZXQ="
    assert fetcher_of(store, proxies=through(proxy)).fetch(store.url("/a")).data == b"data"
    assert proxy.targets() == [f"CONNECT 127.0.0.1:{store.port}"] * 2
    assert HOST not in str(proxy.asked)


def test_an_address_that_may_not_be_reached_is_not_asked_for_through_a_proxy(store: Store, proxy: FakeProxy):
    with pytest.raises(UnreachableError, match="no address"):
        fetcher_of(store, networks=[], proxies=through(proxy)).fetch(store.url("/a"))
    store.answers["/a"] = answer(status=307, Location="http://169.254.169.254/latest")
    with pytest.raises(DeliveryError, match="are not allowed"):
        fetcher_of(store, proxies=through(proxy)).fetch(store.url("/a"))
    assert proxy.targets() == [f"CONNECT 127.0.0.1:{store.port}"]


def test_a_proxy_that_refuses_is_named_without_its_password(store: Store, proxy: FakeProxy):
    for proxy.status in (403, 407, 502):
        with pytest.raises(UnreachableError, match=f"through the proxy: .*answered {proxy.status}") as caught:
            fetcher_of(store, proxies=through(proxy)).fetch(store.url("/a"))
        assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert store.seen == []


def test_tls_through_a_proxy_ends_at_the_host(tls_store: Store, certificate: Certificate):
    tls_store.answers["/a"] = answer(b"data")
    with open_way(tls_store) as proxy:
        made = fetcher_of(tls_store, trusted=certificate, proxies=through(proxy))
        assert made.fetch(tls_store.url("/a")).data == b"data"
        with pytest.raises(DeliveryError, match="certificate is not trusted"):
            fetcher_of(tls_store, proxies=through(proxy)).fetch(tls_store.url("/a"))
