"""References to data, fetched from real servers on this machine."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from eaves.errors import ClaimDeniedError, ClaimError, ClaimTooLargeError, DeliveryError, EavesError, UnreachableError
from eaves.http_client.proxies import DIRECT, Proxies, parse_proxies
from functions.dataref import DatarefFetcher, FetchedData
from functions.request_signer import RequestSigner
from functions.url_policy import UrlPolicy
from tests.fakes.http.proxy import FakeProxy, open_proxy
from tests.inputs.certificates import build_server_context, make_certificate

MAX_BYTES = 100_000
HOST = "store.example"
GONE = b"<?xml version='1.0'?><Error>\n  <Code>NoSuchKey</Code>\n</Error>"
"""Body of S3's answer about an object that doesn't exist."""
Act = Callable[[BaseHTTPRequestHandler], None]


class Store(ThreadingHTTPServer):
    """A store that does what a test says with each path."""

    daemon_threads = True

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}
        self.seen: list[str] = []
        self.done = threading.Event()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                store.seen.append(self.path)
                store.acts[self.path](self)

            def do_CONNECT(self) -> None:
                store.acts["CONNECT"](self)

            def log_message(self, *arguments: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """What a client cuts short is what these tests are about."""

    def url(self, path: str, *, host: str = HOST, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"


@contextmanager
def open_place() -> Iterator[Store]:
    with Store() as made:
        thread = threading.Thread(target=made.serve_forever, args=[0.01])
        thread.start()
        try:
            yield made
        finally:
            made.done.set()
            made.shutdown()
            thread.join()


@pytest.fixture
def store() -> Iterator[Store]:
    with open_place() as opened:
        yield opened


def desk(store: Store, **changes: object) -> DatarefFetcher:
    values = {"hosts": [f"{HOST}:{store.server_port}"], "schemes": ["http"], "networks": ["127.0.0.0/8"]} | changes
    reach = UrlPolicy(hosts=values["hosts"], schemes=values["schemes"], networks=values["networks"])  # type: ignore[arg-type]
    timeout_s = float(values.get("timeout_s", 20.0))  # type: ignore[arg-type]
    context = values.get("context")
    assert context is None or isinstance(context, ssl.SSLContext)
    proxies = values.get("proxies", DIRECT)
    assert isinstance(proxies, Proxies)
    return DatarefFetcher(
        reach,
        max_bytes=MAX_BYTES,
        timeout_s=timeout_s,
        resolve=lambda host, port: ["127.0.0.1"],
        context=context,
        proxies=proxies,
        signer=cast("RequestSigner | None", values.get("signer")),
    )


def answer(body: bytes, status: int = 200, **headers: str) -> Act:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "image/png", **given}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def test_data_is_fetched_with_its_type(store: Store) -> None:
    store.acts["/a%20b.png?x=1"] = answer(b"x" * MAX_BYTES)
    assert desk(store).fetch(store.url("/a%20b.png?x=1")) == FetchedData(
        data=b"x" * MAX_BYTES, content_type="image/png", proven=False
    )


def test_a_redirect_passes_the_same_checks(store: Store) -> None:
    store.acts.update({"/a": answer(b"", 302, Location="/b"), "/b": answer(b"data")})
    assert desk(store).fetch(store.url("/a")).data == b"data"
    for place in (
        "http://169.254.169.254/latest",
        store.url("/b", host="localhost"),
        "file:///etc/passwd",
        "//[x",
        "https://x:y/",
        "http://user:hunter2@portal.example/",
    ):
        store.acts["/a"] = answer(b"", 307, Location=place)
        with pytest.raises(DeliveryError, match="redirects to a URL that may not be fetched") as caught:
            desk(store).fetch(store.url("/a"))
        assert caught.value.http_status == 503, "the event doesn't say where to"
        assert "hunter2" not in caught.value.message
    assert set(store.seen) == {"/a", "/b"}


def test_an_allowed_name_that_leads_to_a_private_address_is_not_asked(store: Store) -> None:
    store.acts["/a"] = answer(b"secret")
    with pytest.raises(UnreachableError, match="no address"):
        desk(store, networks=[]).fetch(store.url("/a"))
    assert store.seen == []


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(bytes(65536))


@pytest.mark.parametrize(
    "act",
    [answer(bytes(MAX_BYTES + 1)), answer(b"", Content_Length=str(10**12)), endless],
    ids=["all", "said", "endless"],
)
def test_more_bytes_than_allowed_are_not_read(store: Store, act: Act) -> None:
    store.acts["/a"] = act
    with pytest.raises(ClaimTooLargeError) as caught:
        desk(store).fetch(store.url("/a"))
    assert caught.value.http_status == 413


def hang(handler: BaseHTTPRequestHandler) -> None:
    assert isinstance(handler.server, Store)
    handler.server.done.wait(30)


def drip(start: bytes) -> Act:
    def act(handler: BaseHTTPRequestHandler) -> None:
        assert isinstance(handler.server, Store)
        handler.wfile.write(start)
        while not handler.server.done.wait(0.02):
            handler.wfile.write(b"x")

    return act


@pytest.mark.parametrize(
    "act",
    [
        hang,
        drip(b"HTTP/1.0 200 OK\r\nX: "),
        drip(b"HTTP/1.0 200 OK\r\n\r\n"),
    ],
    ids=["silent", "slow headers", "slow data"],
)
def test_slow_answers_end_in_time(store: Store, act: Act) -> None:
    store.acts["/a"] = act
    with pytest.raises(DeliveryError, match=r"within 0\.3 s") as caught:
        desk(store, timeout_s=0.3).fetch(store.url("/a"))
    assert caught.value.http_status == 503


@pytest.mark.parametrize(
    ("act", "error", "status"),
    [
        (answer(GONE, 404), ClaimError, 422),
        (answer(b"", 404, X_Amz_Request_Id="4442587FB7D0A2F9"), ClaimError, 422),
        (answer(b"<html><h1>Welcome</h1>", 404), DeliveryError, 503),
        (answer(b"", 302), DeliveryError, 503),
        (answer(b"", 403), ClaimDeniedError, 503),
        (answer(b"<Error><Code>InvalidArgument</Code></Error>", 400), ClaimError, 422),
        (answer(b"", 503), DeliveryError, 503),
        (answer(b"x", Content_Encoding="gzip", X_Amz_Request_Id="1"), ClaimError, 422),
        (answer(b"x", Content_Length="5", Connection="close"), DeliveryError, 503),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), DeliveryError, 503),
    ],
    ids=[
        "gone",
        "gone by the header",
        "gone by somebody",
        "redirect to nowhere",
        "forbidden",
        "bad",
        "down",
        "compressed",
        "cut short",
        "no HTTP",
    ],
)
def test_what_goes_wrong_there_says_whether_to_send_again(
    store: Store, act: Act, error: type[EavesError], status: int
) -> None:
    def acted(handler: BaseHTTPRequestHandler) -> None:
        act(handler)
        handler.close_connection = True

    store.acts["/a"] = acted
    with pytest.raises(error) as caught:
        desk(store).fetch(store.url("/a"))
    assert caught.value.http_status == status


def test_by_its_certificate_any_server_proves_an_answer_to_be_its_own(store: Store, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls", HOST)
    store.socket = build_server_context(certificate).wrap_socket(store.socket, server_side=True)
    store.acts.update({"/a": answer(b"data"), "/gone": answer(b"<html>Not found", 404)})
    fetcher = desk(store, schemes=["https"], context=ssl.create_default_context(cafile=str(certificate[0])))
    assert fetcher.fetch(store.url("/a", scheme="https")).proven
    with pytest.raises(ClaimError, match="answered 404"):
        fetcher.fetch(store.url("/gone", scheme="https"))


def test_a_certificate_proves_nothing_behind_a_redirect_of_somebody(store: Store, tmp_path: Path) -> None:
    """The object behind it may be any object of the host, since anybody may have sent the redirect."""
    certificate = make_certificate(tmp_path / "tls", HOST)
    with open_place() as other:
        other.socket = build_server_context(certificate).wrap_socket(other.socket, server_side=True)
        store.acts["/a"] = answer(b"", 302, Location=other.url("/b", scheme="https"))
        hosts = [f"{HOST}:{server.server_port}" for server in (store, other)]
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        fetcher = desk(store, hosts=hosts, schemes=["http", "https"], context=trusting)
        other.acts["/b"] = answer(b"data")
        assert not fetcher.fetch(store.url("/a")).proven
        other.acts["/b"] = answer(b"", 404)
        with pytest.raises(DeliveryError, match="answered 404"):
            fetcher.fetch(store.url("/a"))


KEYS = {"access_key": "AKIA", "secret_key": "hunter2", "session_token": "temporary"}


@pytest.fixture
def signer(tmp_path: Path) -> RequestSigner:
    for name, text in KEYS.items():
        (tmp_path / name).write_text(text)
    return RequestSigner(tmp_path)


def test_a_signature_is_sent_to_the_host_of_the_dataref_only(store: Store, signer: RequestSigner) -> None:
    other = f"other.example:{store.server_port}"
    hosts = [f"{HOST}:{store.server_port}", other]
    sent: list[str | None] = []

    def redirect(place: str) -> Act:
        def act(handler: BaseHTTPRequestHandler) -> None:
            sent.append(handler.headers["Authorization"])
            assert handler.headers["x-amz-security-token"] == "temporary"
            answer(b"", 307, Location=place)(handler)

        return act

    def last(handler: BaseHTTPRequestHandler) -> None:
        sent.append(handler.headers["Authorization"])
        assert not [name for name in handler.headers if name.lower().startswith("x-amz")]
        answer(b"data")(handler)

    store.acts.update({"/a": redirect("/b"), "/b": redirect(f"http://{other}/c"), "/c": last})
    assert desk(store, hosts=hosts, signer=signer).fetch(store.url("/a")).data == b"data"
    assert sent[0] is not None
    assert sent[1] is not None
    assert sent[0].startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    assert sent[0] != sent[1]
    assert sent[2] is None


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b"<?xml?><Error><Code>ExpiredToken</Code></Error>", "400 (ExpiredToken)"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", "301 (PermanentRedirect)"),
        (403, b"<Code><script>x</Code>" + bytes(MAX_BYTES), "403"),
    ],
)
def test_a_store_that_refuses_the_signature_is_asked_again_later(
    store: Store, signer: RequestSigner, status: int, body: bytes, code: str
) -> None:
    store.acts["/a"] = answer(body, status)
    with pytest.raises(ClaimDeniedError) as caught:
        desk(store, signer=signer).fetch(store.url("/a"))
    assert (caught.value.message, caught.value.http_status) == (f"the host of a dataref answered {code}", 503)


def test_the_authorities_beside_the_keys_are_trusted_once_they_are_there(
    store: Store, signer: RequestSigner, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "tls", HOST)
    store.socket = build_server_context(certificate).wrap_socket(store.socket, server_side=True)
    store.acts["/a"] = answer(b"data")
    fetcher = desk(store, schemes=["https"], signer=signer)
    with pytest.raises(DeliveryError, match="certificate"):
        fetcher.fetch(store.url("/a", scheme="https"))
    (tmp_path / "ca.crt").write_text("none")
    with pytest.raises(ClaimDeniedError, match=r"ca.crt of the function's keys can't be used"):
        fetcher.fetch(store.url("/a", scheme="https"))
    (tmp_path / "ca.crt").write_bytes(certificate[0].read_bytes())
    assert fetcher.fetch(store.url("/a", scheme="https")).data == b"data"


@pytest.fixture
def proxy(store: Store) -> Iterator[FakeProxy]:
    """A proxy that lets through to the store's address."""
    with open_proxy() as opened:
        opened.routes[f"127.0.0.1:{store.server_port}"] = store.server_port
        yield opened


def through(proxy: FakeProxy, **environ: str) -> Proxies:
    return parse_proxies({"ALL_PROXY": f"http://user:secret@{proxy.host}", **environ})


def test_through_a_proxy_goes_the_checked_address_and_never_the_name(store: Store, proxy: FakeProxy) -> None:
    """The proxy would resolve a name itself, and an allowed name could lead into the proxy's own network."""
    store.acts.update({"/a": answer(b"", 302, Location="/b"), "/b": answer(b"data")})
    proxy.authorization = "Basic dXNlcjpzZWNyZXQ="
    assert desk(store, proxies=through(proxy)).fetch(store.url("/a")).data == b"data"
    assert proxy.targets() == [f"CONNECT 127.0.0.1:{store.server_port}"] * 2
    assert HOST not in str(proxy.asked)


def test_an_address_that_may_not_be_reached_is_not_asked_for_through_a_proxy(store: Store, proxy: FakeProxy) -> None:
    store.acts["/a"] = answer(b"secret")
    with pytest.raises(UnreachableError, match="no address"):
        desk(store, networks=[], proxies=through(proxy)).fetch(store.url("/a"))
    store.acts["/a"] = answer(b"", 307, Location="http://169.254.169.254/latest")
    with pytest.raises(DeliveryError, match="are not allowed"):
        desk(store, proxies=through(proxy)).fetch(store.url("/a"))
    assert proxy.targets() == [f"CONNECT 127.0.0.1:{store.server_port}"]


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_is_named_without_its_password(store: Store, proxy: FakeProxy, status: int) -> None:
    proxy.status = status
    with pytest.raises(UnreachableError, match=f"through the proxy: .*answered {status}") as caught:
        desk(store, proxies=through(proxy)).fetch(store.url("/a"))
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert store.seen == []


def test_tls_through_a_proxy_ends_at_the_host(store: Store, proxy: FakeProxy, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls", HOST)
    store.socket = build_server_context(certificate).wrap_socket(store.socket, server_side=True)
    store.acts["/a"] = answer(b"data")
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    made = desk(store, schemes=["https"], context=trusting, proxies=through(proxy))
    assert made.fetch(store.url("/a", scheme="https")).data == b"data"
    with pytest.raises(DeliveryError, match="certificate is not trusted"):
        desk(store, schemes=["https"], proxies=through(proxy)).fetch(store.url("/a", scheme="https"))
