"""Events from senders over a relay, a flapping link and a receiver, while both ends are killed."""

import contextlib
import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.link.proxy import FaultProxy, Link, State
from eaves.errors import DeliveryError
from eaves.link.client import LinkClient
from eaves.spool import LedgerLine, Spool
from tests.cli import EAVES
from tests.jepsen.sender import Sender, make_prediction
from tests.jepsen.services import ROOT, Service, build_receiver, build_relay
from tests.processes.commands import run_command
from tests.syscalls import can_trace

SOURCES = 4
STUCK_S = 90.0
"""Seconds without progress after which events count as lost."""
FAULTS = ("relay", "receiver", "both", "silence", "relay", "receiver", "silent kill", "both", "clocks", "call")
"""Faults of a run, in a random order: SIGKILL of the relay, of the receiver, of both at once; a link that swallows
everything for a while; the same with SIGKILL of both ends meanwhile; wall clocks of both that jump; SIGKILL of one of
them before a certain system call, at any moment without strace."""
CALLS = ("fdatasync", "pwrite64", "write", "sendto", "recvfrom", "read", "openat")
"""System calls between which a commit, an answer and a release lie."""
JUMPS_S = (-10 * 86_400.0, -3_600.0, 3_600.0, 3 * 365 * 86_400.0, -60 * 365 * 86_400.0, 0.0)
"""Back by days, ahead by years, and before 1970 is over, as on a machine without a battery."""


@dataclass(slots=True)
class World:
    """What runs.

    Attributes:
        proxy: The link.
        relay: The relay.
        receiver: The receiver.
        senders: One for each source.
        folder: Folder of all files.
        faults: Faults made so far.
        received: Lines of the receiver's ledger that were read from it.
    """

    proxy: FaultProxy
    relay: Service
    receiver: Service
    senders: list[Sender]
    folder: Path
    link: Link
    faults: Counter[str] = field(default_factory=Counter)
    received: int = 0

    def acknowledged(self) -> int:
        """Events that the relay has taken."""
        return sum(sender.acknowledged for sender in self.senders)

    def inject(self, fault: str, chance: random.Random) -> None:
        """Make one fault; the link continues to flap after it."""
        if fault == "clocks":
            for service in (self.relay, self.receiver):
                service.set_clock(chance.choice(JUMPS_S))
            self.faults[fault] += 1
            return
        if fault == "call":
            service = chance.choice((self.relay, self.receiver))
            call, number = chance.choice(CALLS), chance.randrange(1, 20)
            if can_trace():
                service.kill_before(call, number)
            else:
                service.kill()
            service.launch()
            self.faults[fault] += 1
            return
        quiet = fault.startswith("silen")
        if quiet:
            self.proxy.silence()
            time.sleep(chance.uniform(0.1, 0.6))
        killed = {"relay": [self.relay], "receiver": [self.receiver], "silence": []}.get(
            fault, [self.relay, self.receiver]
        )
        for service in killed:
            service.kill()
        time.sleep(chance.uniform(0.0, 0.4))
        for service in killed:
            service.launch()
        if quiet:
            time.sleep(chance.uniform(0.1, 1.5))
            self.proxy.set(self.link)
        self.faults[fault] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        events: Events that were acknowledged to their senders.
        lost: Number of those that the receiver doesn't have.
        unknown: Events that the receiver has and that were not sent.
        doubled: Events that are in the receiver's folder more than once.
        changed: Events whose content is another one.
        disordered: Events that were received before an earlier one of their source.
        unreleased: Lines of the relay's ledger that are not `released`.
        missing_lines: Acknowledged events without a line in the relay's ledger.
        audit: What `eaves relay audit` says of both ledgers, `agrees` when all is well.
        repeats: How often an event was sent to the receiver again.
        kills: SIGKILLs.
        took_s: Seconds.
    """

    events: int
    lost: int
    unknown: int
    doubled: int
    changed: int
    disordered: int
    unreleased: int
    missing_lines: int
    audit: str
    repeats: int
    kills: int
    took_s: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        wrong = (self.lost, self.unknown, self.doubled, self.changed, self.disordered, self.unreleased)
        return not any((*wrong, self.missing_lines)) and self.audit == "agrees"

    def line(self) -> str:
        """The outcome in one line."""
        return (
            f"{self.events} events, {self.lost} lost, {self.unknown} unknown, {self.doubled} doubled,"
            f" {self.changed} changed, {self.disordered} out of order, ledger: {self.unreleased} unreleased,"
            f" {self.missing_lines} missing; audit {self.audit}; {self.repeats} repeats, {self.kills} kills,"
            f" {self.took_s:.1f} s"
        )


def run(folder: Path, events: int, seed: int, *, faults: Sequence[str] = FAULTS, pause_s: float = 0.02) -> Outcome:
    """Send events over a link that flaps while faults are made at random moments, and compare both ends.

    Args:
        folder: Empty; the files of both processes stay in it.
        events: How many.
        seed: Seed of all random choices.
        faults: Names of faults, made in a random order.
        pause_s: Seconds between two requests of one sender.
    """
    chance, began = random.Random(seed), time.monotonic()
    with running(folder, events, chance, pause_s) as world:
        order = chance.sample(list(faults), len(faults))
        moments = sorted(chance.uniform(0.02, 0.95) * 2 * events for _ in order)
        for moment, fault in zip(moments, order, strict=True):
            _wait(world, lambda moment=moment: world.acknowledged() + world.received >= moment)  # type: ignore[misc]
            world.inject(fault, chance)
        world.proxy.set(Link())
        world.proxy.restore()
        _wait(world, lambda: all(sender.done for sender in world.senders) and world.received >= events)
        _wait(world, lambda: not _count_queued(folder / "relay" / "relay.db"))
        _wait(world, lambda: not _count_queued(folder / "receiver" / "receiver.db"))
        for service in (world.relay, world.receiver):
            service.stop()
        return compare(world, time.monotonic() - began)


@contextmanager
def running(folder: Path, events: int, chance: random.Random, pause_s: float) -> Iterator[World]:
    """Start everything; leave no process behind."""
    receiver = build_receiver(folder / "receiver")
    link = Link(delay_ms=chance.choice((1, 5, 20)), mbit_s=chance.choice((0, 4)), schedule=_make_schedule(chance))
    with FaultProxy("127.0.0.1", receiver.port, Link(), seed=chance.randrange(1 << 30)) as proxy:
        relay = build_relay(folder / "relay", f"https://127.0.0.1:{proxy.port}", folder / "receiver")
        senders = [
            Sender(f"http://127.0.0.1:{relay.port}/", source, count, pause_s=pause_s, seed=chance.randrange(1 << 30))
            for source, count in enumerate(_split(events, SOURCES))
        ]
        try:
            for service in (receiver, relay):
                service.start()
            proxy.set(link)
            for sender in senders:
                sender.start()
            yield World(proxy=proxy, relay=relay, receiver=receiver, senders=senders, folder=folder, link=link)
        finally:
            for sender in senders:
                sender.stop()
            relay.kill()
            receiver.kill()


def compare(world: World, took_s: float) -> Outcome:
    """Compare what was sent, both ledgers and the receiver's folder, once both processes have ended."""
    sent = {event.id: event for sender in world.senders for event in sender.events()}
    relayed = _read_ledger(world.folder / "relay" / "relay.db")
    received = _read_ledger(world.folder / "receiver" / "receiver.db")
    written = list(_read_folder(world.folder / "receiver" / "received"))
    counted = Counter(event_id for event_id, _ in written)
    ledger_ids, written_ids = [line.id for line in received], set(counted)
    last: dict[str, int] = {}
    disordered = 0
    for line in received:
        number = int(line.id.partition("-")[2])
        disordered += number < last.get(line.source, -1)
        last[line.source] = number
    return Outcome(
        events=len(sent),
        lost=len(sent.keys() - set(ledger_ids)) + len(sent.keys() - written_ids),
        unknown=len(set(ledger_ids) - sent.keys()) + len(written_ids - sent.keys()),
        doubled=len(ledger_ids) - len(set(ledger_ids)) + counted.total() - len(counted),
        changed=sum(event_id in sent and json.loads(sent[event_id].data) != data for event_id, data in written),
        disordered=disordered,
        unreleased=sum(line.state != "released" for line in (*relayed, *received)),
        missing_lines=len(sent.keys() - {line.id for line in relayed}),
        audit=audit(world.folder, len(sent)),
        repeats=sum(line.repeats for line in received),
        kills=world.relay.kills + world.receiver.kills,
        took_s=took_s,
    )


def audit(folder: Path, events: int) -> str:
    """Let the command compare both spools."""
    ends = ["--sent", str(folder / "relay" / "relay.db"), "--received", str(folder / "receiver" / "receiver.db")]
    done = run_command(
        [*EAVES, "relay", "audit", *ends, "-o", "json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        return f"ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"
    totals = json.loads(done.stdout)["totals"]
    agrees = (totals["sent"], totals["received"], totals["missing"], totals["unknown"]) == (events, events, 0, 0)
    return "agrees" if agrees else f"says {totals}"


def _wait(world: World, reached: Callable[[], bool]) -> None:
    """Wait until something is reached; events that don't get on for a long time end the run."""
    client = LinkClient(f"https://127.0.0.1:{world.receiver.port}", world.folder / "relay" / "credentials")
    progress, changed_at = -1, time.monotonic()
    try:
        while not reached():
            try:
                lines = client.read_ledger(world.received, 10_000, timeout_s=5.0)
                world.received = int(lines[-1]["number"]) if lines else world.received
            except DeliveryError:
                pass
            if progress != (progress := world.acknowledged() + world.received):
                changed_at = time.monotonic()
            stuck = time.monotonic() - changed_at > STUCK_S
            assert not stuck, f"no progress at {progress}; {world.faults}; {world.relay.logged()}"
            time.sleep(0.05)
    finally:
        client.close()


def _make_schedule(chance: random.Random) -> tuple[tuple[float, State], ...]:
    """Up for a second or so and down for about as long, reset or silent."""
    downs: list[State] = ["cut", "cut", "silent"]
    periods = [((chance.uniform(0.3, 1.5), "up"), (chance.uniform(0.2, 1.2), chance.choice(downs))) for _ in range(8)]
    return tuple(one for period in periods for one in period)  # type: ignore[misc]


def _split(count: int, parts: int) -> list[int]:
    return [count * (at + 1) // parts - count * at // parts for at in range(parts)]


def _read_ledger(path: Path) -> list[LedgerLine]:
    with Spool(path) as spool:
        assert spool.ledger is not None
        lines, after = list[LedgerLine](), 0
        while some := spool.ledger.read(after=after):
            lines += some
            after = some[-1].number
        return lines


def _count_queued(spool: Path) -> int:
    """Events that wait in a spool that a process has open."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT total(queued) FROM lanes").fetchone()[0])


def _read_folder(folder: Path) -> Iterator[tuple[str, object]]:
    for path in sorted(folder.glob("events-*.jsonl")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            yield event["id"], event["data"]


__all__ = ["FAULTS", "Outcome", "make_prediction", "run"]
