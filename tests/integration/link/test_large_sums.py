"""Sums of a site, larger than the link carries before it breaks again, arrive whole, and in little more than once."""

import os
import signal
import time
from pathlib import Path

import pytest

from bench.link.proxy import FaultProxy, Link
from eaves.federation_events import FEDERATION_SUMS, build_federation_event, name_file
from tests.processes.receiving import SITE, receiving, write_site
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until

SIZE = 8_400_000
"""Sums of 2,048 features, bytes."""
LOST = 1_000_000
"""What a cut may cost, bytes: a part of a second's data. A slow machine sends for longer, and meets more cuts."""
UP_S, CUT_S = 1.0, 0.3


@pytest.mark.long("8.4 MB over a link of 30 Mbit/s that is cut every second, and the relay is killed half-way")
def test_sums_arrive_over_a_link_that_breaks_while_they_are_sent(tmp_path: Path):
    write_site(tmp_path / "link", "token")
    folder, event = tmp_path / "received", build_federation_event(SITE, "flowers", FEDERATION_SUMS, 1, os.urandom(SIZE))
    link = Link(mbit_s=30, schedule=((UP_S, "up"), (CUT_S, "cut")))
    environ = {"EAVES_SITE": SITE, "EAVES_CREDENTIALS": str(tmp_path / "link")}
    with (
        receiving(tmp_path, tls=False, folder=folder) as receiver,
        FaultProxy("127.0.0.1", receiver.port, link, seed=1) as proxy,
        RelayProcess(tmp_path, f"http://127.0.0.1:{proxy.port}", **environ) as relay,
    ):
        began = time.monotonic()
        assert relay.post(event)[0] == 202
        wait_until(lambda: proxy.bytes_up > SIZE / 2, 60, what="half of the sums")
        relay.stop(signal.SIGKILL)
        relay.start()
        wait_until((folder / name_file(event)).exists, 60, what="the sums")
        cuts = (time.monotonic() - began) / (UP_S + CUT_S) + 1  # and the kill
        wait_until(lambda: relay.lane("federation")["queued"] == 0, what="an empty lane")
        assert relay.post(event)[0] == 202
        assert (folder / name_file(event)).read_bytes() == event.data
        assert proxy.bytes_up < SIZE + cuts * LOST, "a cut loses one part and not those before"
        assert receiver.report()["received"][SITE]["stored"] == 1
