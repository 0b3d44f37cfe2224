"""Certificates of a receiver: made by the lines of the documentation, and not trusted by the other side."""

import http.client
import logging
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.processes.receiving import receiving
from tests.waiting import wait_until

PAGE = Path(__file__).parents[3] / "docs" / "link.md"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_lines_of_the_page_make_a_certificate_that_a_site_trusts(tmp_path: Path):
    (lines,) = re.findall(r"```bash\n(openssl.*?)```", PAGE.read_text(), re.DOTALL)
    subprocess.run(["sh", "-ec", lines], cwd=tmp_path, check=True, capture_output=True)
    with receiving(tmp_path, tls=False, credentials=tmp_path / "certificate") as served:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=trusting, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_client_that_does_not_trust_the_certificate_is_counted_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "eaves.ingress.server")
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
