"""What a child of the local platform sees of the environment that `eaves up` was started with."""

import os
from pathlib import Path

import pytest

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.local.processes.process import Process
from tests.waiting import wait_until

PROXIES = {f"{scheme}_proxy": f"http://{scheme}.example:3128" for scheme in ("https", "http", "all")}
ENVIRON = {
    **PROXIES,
    **{name.upper(): value for name, value in PROXIES.items()},
    "no_proxy": "lower.example",
    "NO_PROXY": "upper.example",
    "SSL_CERT_FILE": "/etc/site.pem",
    "SSL_CERT_DIR": "/etc/site",
}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_child_finds_the_same_proxies_and_authorities_and_nothing_else(tmp_path: Path):
    inherit = {"PATH": os.environ["PATH"], **ENVIRON, "AWS_SECRET_ACCESS_KEY": "secret", "EAVES_TOP_K": "9"}
    child = Process(
        "http.server", {"PORT": "1"}, tmp_path / "log", inherit=inherit, arguments=["0", "--bind", "127.0.0.1"]
    )

    def seen() -> dict[str, str]:
        entries = Path(f"/proc/{child.pid}/environ").read_text().split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    try:
        found = wait_until(lambda: seen() if "PORT" in seen() else None, what="the child's environment")
    finally:
        child.stop()
    assert found == {"PATH": os.environ["PATH"], **ENVIRON, **TELEMETRY_OFF, "PORT": "1"}
