"""Who may send: tokens and certificates, also those that change while the receiver runs."""

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from eaves.errors import ConfigError
from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.link.protocol import SITE
from tests.processes.receiving import TOKEN, Served, classified, make_credentials, receiving, write_site
from tests.waiting import wait_until


def ask(receiver: Served, token: str) -> int:
    with receiver.sender(token=token) as sender:
        return sender.ask("GET", SITE)[0]


def test_a_caller_without_a_good_token_is_refused(tmp_path: Path):
    write_site(tmp_path / "sites", "mill", TOKEN, "# a comment", "short")
    wrong = ["Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"]
    wrong += ["Bearer \xff\xfe", "Bearer # a comment", "Bearer short", ""]
    with receiving(tmp_path, tls=False) as receiver:
        for authorization in wrong:
            headers = {"Authorization": authorization} if authorization else {}
            with receiver.sender(token="") as sender:
                status, answered, body = sender.ask_all("GET", SITE, headers=headers)
            assert (status, answered["www-authenticate"], answered["connection"]) == (401, "Bearer", "close")
            assert b"mill" not in body
        assert receiver.report()["received"] == {"": {"unauthorised": len(wrong)}}


def test_a_body_is_asked_for_only_when_it_is_wanted(tmp_path: Path):
    head = "POST /v1/events HTTP/1.1\r\nExpect: 100-continue\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}\r\n"
    body = b"".join(encode_batch([classified(1)]))
    with receiving(tmp_path, tls=False) as receiver:
        for token, first in (("wrong", b"HTTP/1.1 401 "), (TOKEN, b"HTTP/1.1 100 Continue\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as asking:
                asking.sendall(head.format(MEDIA_TYPE, len(body), f"Authorization: Bearer {token}\r\n").encode())
                assert asking.recv(4096).startswith(first)
                if token == TOKEN:
                    asking.sendall(body)
                    assert asking.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_token_is_changed_while_the_receiver_runs(tmp_path: Path):
    old, new = TOKEN, "another-token-of-the-mill"
    with receiving(tmp_path) as receiver, receiver.sender() as kept:
        assert (ask(receiver, old), ask(receiver, new)) == (200, 401)
        write_site(tmp_path / "sites", "mill", old, new)
        wait_until(lambda: ask(receiver, new) == 200, what="the new token")
        assert ask(receiver, old) == 200
        assert kept.ask("GET", SITE)[0] == 200
        write_site(tmp_path / "sites", "mill", new)
        wait_until(lambda: ask(receiver, old) == 401, what="the end of the old token")
        assert ask(receiver, new) == 200
        assert kept.ask("GET", SITE)[0] == 401, "a connection that is kept is no way in"
        (tmp_path / "sites" / "mill").unlink()
        wait_until(lambda: ask(receiver, new) == 401, what="the end of the site")


def test_tokens_of_a_mounted_secret_are_changed_as_the_kubelet_does(tmp_path: Path):
    sites = tmp_path / "sites"

    def mount(name: str, token: str) -> None:
        write_site(sites / name, "mill", token)
        (sites / "..new").symlink_to(name)
        (sites / "..new").rename(sites / "..data")

    sites.mkdir()
    mount("..2026_1", TOKEN)
    (sites / "mill").symlink_to("..data/mill")
    with receiving(tmp_path) as receiver:
        assert ask(receiver, TOKEN) == 200
        mount("..2026_2", "another-token-of-the-mill")
        shutil.rmtree(sites / "..2026_1")
        wait_until(lambda: ask(receiver, "another-token-of-the-mill") == 200, what="the new token")
        assert ask(receiver, TOKEN) == 401


def test_one_sites_file_says_nothing_about_another_site(tmp_path: Path):
    sites = tmp_path / "sites"
    write_site(sites)
    (sites / "broken").write_bytes(b"\xff" * 100_000)
    (sites / "folder").mkdir()
    (sites / "nowhere").symlink_to("gone")
    with receiving(tmp_path, tls=False) as receiver:
        assert ask(receiver, TOKEN) == 200
        write_site(sites, "harbour", TOKEN)
        wait_until(lambda: ask(receiver, TOKEN) == 401, what="the end of a token that two sites have")


def test_sites_that_can_not_be_read_any_more_are_still_let_in(tmp_path: Path):
    with receiving(tmp_path, tls=False) as receiver:
        (tmp_path / "sites").rename(tmp_path / "away")
        with pytest.raises(AssertionError):
            wait_until(lambda: ask(receiver, TOKEN) != 200, 1.5)
        (tmp_path / "away").rename(tmp_path / "sites")
        write_site(tmp_path / "sites", "mill", "another-token-of-the-mill")
        wait_until(lambda: ask(receiver, "another-token-of-the-mill") == 200, what="the new token")


def test_a_certificate_is_renewed_while_the_receiver_runs(tmp_path: Path):
    with receiving(tmp_path) as receiver, receiver.sender() as kept:
        assert kept.ask("GET", SITE)[0] == 200
        (tmp_path / "credentials" / "tls.crt").write_text("half of a certific")
        wait_until(lambda: ask(receiver, TOKEN) == 200, what="the old certificate, meanwhile")
        receiver.tls = make_credentials(tmp_path / "credentials")

        def answers() -> bool:
            try:
                return ask(receiver, TOKEN) == 200
            except ssl.SSLError:
                return False

        wait_until(answers, what="the new certificate")
        assert kept.ask("GET", SITE)[0] == 200


def test_a_receiver_without_sites_or_a_usable_certificate_does_not_start(tmp_path: Path):
    with pytest.raises(ConfigError, match="sites"), receiving(tmp_path, tls=False, sites=tmp_path / "none"):
        pass
    make_credentials(tmp_path / "credentials")
    (tmp_path / "credentials" / "tls.key").write_text("no key")
    with (
        pytest.raises(ConfigError, match=r"tls\.key"),
        receiving(tmp_path, tls=False, credentials=tmp_path / "credentials"),
    ):
        pass
