"""Certificates of a receiver: made by the lines of the documentation, expired, and not trusted by the other side."""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from eaves.ingress.tls.certificate_dates import read_validity
from eaves.ingress.tls.handshakes import LOG_EVERY_S, FailedHandshakes
from eaves.ingress.tls.server_tls import ServerTls
from tests.fakes.clock import START, ManualClock
from tests.processes.receiving import make_credentials, receiving
from tests.waiting import wait_until

PAGE = Path(__file__).parents[3] / "docs" / "15-receiver.md"
DAY_S = 86_400.0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_lines_of_the_page_make_a_certificate_that_a_site_trusts(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```bash\n(openssl.*?)```", PAGE.read_text(), re.DOTALL)
    subprocess.run(["sh", "-ec", lines], cwd=tmp_path, check=True, capture_output=True)
    with receiving(tmp_path, tls=False, credentials=tmp_path / "certificate") as served:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=trusting, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_certificate_that_has_expired_is_reported_at_the_start_and_each_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_credentials(tmp_path / "credentials")
    validity = read_validity((tmp_path / "credentials" / "tls.crt").read_text())
    assert validity is not None
    assert validity[1] - validity[0] == 2 * DAY_S
    clock = ManualClock(validity[1] - 60.0)
    tls = ServerTls(tmp_path / "credentials", clock=clock)
    assert not caplog.records
    clock.turn(DAY_S)
    for _ in range(3):
        tls.context()
    (reported,) = [record.getMessage() for record in caplog.records]
    assert "tls.crt expired on" in reported
    clock.turn(DAY_S)
    tls.context()
    assert len(caplog.records) == 2
    caplog.clear()
    ServerTls(tmp_path / "credentials", clock=ManualClock(validity[0] - 60.0))
    assert "is valid only from" in caplog.text


@pytest.mark.parametrize("pem", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "x"])
def test_what_is_no_certificate_has_no_dates(pem: str) -> None:
    assert read_validity(pem) is None


def test_a_client_that_does_not_trust_the_certificate_is_counted_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "eaves.ingress.tls.handshakes")
    with receiving(tmp_path) as served:
        for _ in range(3):
            connection = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=10)
            with pytest.raises(ssl.SSLCertVerificationError):
                connection.request("GET", "/health")
            connection.close()
        wait_until(lambda: served.report()["failed_handshakes"] == 3, 10, what="three failed handshakes")
        assert "eaves_receiver_failed_handshakes_total 3" in served.metrics()
    (reported,) = [record.getMessage() for record in caplog.records if "handshake" in record.getMessage()]
    assert "127.0.0.1 failed: " in reported


def test_an_address_is_reported_again_after_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(START)
    failed = FailedHandshakes(clock)
    for _ in range(2):
        failed.add("10.0.0.1", "UNKNOWN_CA")
    failed.add("10.0.0.2", "UNKNOWN_CA")
    clock.turn(LOG_EVERY_S)
    failed.add("10.0.0.1", "UNKNOWN_CA")
    assert (len(caplog.records), failed.count) == (3, 4)
