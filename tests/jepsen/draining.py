"""A backlog over a link that is back: how fast it drains, and what the relay holds meanwhile."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from bench.link.proxy import FaultProxy, Link
from eaves.link.settings import ARCHIVE
from eaves.spool import LedgerLimits, Spool
from tests.jepsen.sender import make_prediction
from tests.jepsen.services import Service, build_receiver, build_relay
from tests.proc import cpu_s, memory_bytes

PIECE = 1_000
STUCK_S = 120.0
SAMPLE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A backlog that was drained.

    Attributes:
        events: How many.
        stored_bytes: Their data and attributes.
        wire_bytes: Bytes over the link towards the receiver.
        took_s: From the start of the relay to the last event on the receiver's disk.
        cpu_s: Processor time of relay and receiver in that time.
        put_s: How long the same events take in this process to be put into a spool of the same disk.
        rss_bytes: Resident memory of the relay, by sample.
    """

    events: int
    stored_bytes: int
    wire_bytes: int
    took_s: float
    cpu_s: tuple[float, float]
    put_s: float
    rss_bytes: list[int]

    def line(self, mbit_s: float) -> str:
        """The drain in one line, beside what the link could carry."""
        link_s = self.wire_bytes * 8 / (mbit_s * 1e6) if mbit_s else 0.0
        early = self.rss_bytes[len(self.rss_bytes) // 5]
        return (
            f"{self.events} events, {self.stored_bytes / 1e6:.1f} MB, {self.wire_bytes / 1e6:.1f} MB over the link, in"
            f" {self.took_s:.1f} s ({self.events / self.took_s:.0f} a second); the link alone needs {link_s:.1f} s, the"
            f" disk {self.put_s:.1f} s; processor: relay {self.cpu_s[0]:.1f} s, receiver {self.cpu_s[1]:.1f} s; relay's"
            f" memory {early / 1e6:.1f} MB after a fifth, {max(self.rss_bytes) / 1e6:.1f} MB at most"
        )


def drain(folder: Path, events: int, link: Link) -> Drain:
    """Fill a relay's spool, start it, and wait until the receiver has everything on its disk.

    Args:
        folder: Empty; it gets the files of both.
        events: How many.
        link: What the link is like.
    """
    receiver = build_receiver(folder / "receiver")
    with FaultProxy("127.0.0.1", receiver.port, link) as proxy:
        relay = build_relay(folder / "relay", f"https://127.0.0.1:{proxy.port}", folder / "receiver")
        stored_bytes, put_s = _fill(folder / "relay" / "relay.db", events)
        try:
            receiver.start()
            before = proxy.bytes_up
            relay.start()
            began, samples = time.monotonic(), list[int]()
            before_s = cpu_s(receiver.pid)
            took_s = _watch(folder / "receiver" / "receiver.db", relay, events, samples, began)
            return Drain(
                events=events,
                stored_bytes=stored_bytes,
                wire_bytes=proxy.bytes_up - before,
                took_s=took_s,
                cpu_s=(cpu_s(relay.pid), cpu_s(receiver.pid) - before_s),
                put_s=put_s,
                rss_bytes=samples,
            )
        finally:
            relay.kill()
            receiver.kill()


def _fill(path: Path, events: int) -> tuple[int, float]:
    took_s = 0.0
    with Spool(path, ledger=LedgerLimits()) as spool:
        for first in range(0, events, PIECE):
            piece = [(make_prediction(0, number), (ARCHIVE,)) for number in range(first, min(first + PIECE, events))]
            began = time.monotonic()
            spool.put_many(piece, once=True)
            took_s += time.monotonic() - began
        return spool.size_bytes(), took_s


def _watch(receiver: Path, relay: Service, events: int, samples: list[int], began: float) -> float:
    """Sample the relay until the receiver has all; returns how long that took, seconds."""
    seen, changed_at = -1, time.monotonic()
    db = sqlite3.connect(f"file:{receiver}?mode=ro", uri=True)
    try:
        while seen < events:
            found = int(db.execute("SELECT coalesce(max(number), 0) FROM ledger").fetchone()[0])
            if found != seen:
                seen, changed_at = found, time.monotonic()
            assert time.monotonic() - changed_at < STUCK_S, f"{seen} of {events} arrived; {relay.logged()}"
            samples.append(memory_bytes(relay.pid))
            time.sleep(SAMPLE_S)
        return changed_at - began
    finally:
        db.close()
