"""`eaves relay audit`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.display.cell_text import describe_reason
from eaves.cli.display.output import output_option, print_rows, print_value, say
from eaves.cli.link.relay_targets import Relay, list_receivers, open_relays, relay_options
from eaves.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from eaves.audit import Audit, AuditFinding, EventComparison, HourCounts
    from eaves.spool import LedgerLine

COLUMNS = {
    "hour": "HOUR (UTC)",
    "sent": "SENT",
    "received": "RECEIVED",
    "waiting": "WAITING",
    "dead": "DEAD",
    "removed": "REMOVED",
    "undelivered": "UNDELIVERED",
    "forgotten": "FORGOTTEN",
    "missing": "MISSING",
    "repeated": "REPEATED",
    "late": "LATE",
    "unknown": "UNKNOWN",
}
ALWAYS = ("hour", "sent", "received", "missing", "unknown")
"""Columns that the table has even where they hold nothing but 0."""
SHOWN = 10
"""Missing and unknown events that are named; `-o json` names more."""
LATE_S = 60.0
DISAGREES, GIVEN_UP = 1, 3
"""Exit codes of an audit that found something; with nothing to compare it is that of `NotFoundError`."""
_URLS = ("http://", "https://")


@click.command("audit")
@click.option(
    "--sent",
    metavar="FILE",
    help="List of sent events: JSON lines as `eaves relay ledger` prints them, a relay's spool, or - for standard "
    "input; not given: the relay is asked.",
)
@click.option(
    "--received",
    metavar="FILE|URL",
    multiple=True,
    help="List of received events: JSON lines with source and id, a receiver's spool, or a receiver's address; several "
    "together are one list. Not given: the relay's receiver is asked over the link.",
)
@click.option(
    "--credentials",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder with the token that the receiver at an address asks for; not given: the relay's own.",
)
@click.option(
    "--source",
    default="",
    metavar="PREFIX",
    help="Compare only received events whose source begins with this, such as /eaves/SITE/.",
)
@click.option(
    "--late",
    "late_s",
    type=click.FloatRange(0),
    default=LATE_S,
    show_default=True,
    metavar="SECONDS",
    help="An event that took longer from the relay to the receiver is late.",
)
@output_option
@relay_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    sent: str | None,
    received: tuple[str, ...],
    credentials: Path | None,
    source: str,
    late_s: float,
    form: str,
    **options: Any,
) -> None:
    """Compare the events that relays took with those that their receiver got, and name missing and unknown ones.

    Ends with 0 when every event was received or waits at the relay; with 1 when events are missing or unknown, or when
    the relay's list has gaps; with 3 when the lists agree and events were given up on: dead or removed at the relay, or
    undelivered at the receiver; with 66 when there is nothing to compare. All relays of a site that have the same
    receiver are compared with it together; what another relay has sent would be unknown.
    """
    from eaves.audit import EventComparison

    with EventComparison(late_s=late_s) as comparison:
        if sent is None:
            queues = _add_from_relays(comparison, received, credentials, source, options)
        else:
            known, queues = list_receivers(**options), ["--agent FUNCTION.relay"]
            if not received:
                address = next(iter(known), "FILE|URL")
                raise InputError("with --sent the other list must be named too", hint=f"--received {address}")
            credentials = credentials or next((known[url] for url in _bare(received) if url in known), None)
            comparison.add_sent(_told("sent", _read(sent, credentials)))
            comparison.add_received(_told("received", _read_received(received, credentials, source)))
        found = comparison.finish()
    _print(found, form, queues)
    if not found.passed:
        ctx.exit(NotFoundError.exit_code if found.is_empty else GIVEN_UP if found.agrees else DISAGREES)


def _add_from_relays(
    comparison: EventComparison, received: Sequence[str], credentials: Path | None, source: str, options: dict[str, Any]
) -> list[str]:
    """The relays' lists, the receiver's, and then what has come to the relays' meanwhile.

    Returns:
        By which option `eaves queue` finds each relay's queue.
    """
    from eaves.audit.lists import read_pages

    def read(relay: Relay, after: int) -> Iterator[LedgerLine]:
        return read_pages(lambda number: relay.queue.ledger(after=number), after=after)

    with open_relays(**options) as relays:
        address, folder = _choose_receiver(relays, received)
        last = [comparison.add_sent(_told(relay.name, read(relay, 0))) for relay in relays]
        comparison.add_received(_told("received", _read_received(address, credentials or folder, source)))
        for relay, number in zip(relays, last, strict=True):
            comparison.add_newer(read(relay, number))
        return [relay.option for relay in relays]


def _choose_receiver(relays: Sequence[Relay], received: Sequence[str]) -> tuple[Sequence[str], Path | None]:
    """What was received, and the relays' credentials."""
    addresses = sorted({relay.to for relay in relays})
    known = [relay for relay in relays if relay.credentials]
    if received:
        known.sort(key=lambda relay: relay.to not in _bare(received))
        return received, known[0].credentials if known else None
    if len(addresses) > 1:
        raise InputError(
            f"the relays here have {len(addresses)} receivers: {', '.join(addresses)}", hint="--app FUNCTION"
        )
    if not addresses[0]:
        raise InputError(f"{relays[0].name} doesn't say to which receiver it forwards", hint="--received URL")
    return addresses, known[0].credentials if known else None


def _bare(addresses: Sequence[str]) -> list[str]:
    return [address.rstrip("/") for address in addresses]


def _read_received(lists: Sequence[str], credentials: Path | None, source: str) -> Iterator[LedgerLine]:
    for one in lists:
        for line in _read(one, credentials):
            if line.source.startswith(source):
                yield line


def _read(where: str, credentials: Path | None) -> Iterator[LedgerLine]:
    from eaves.audit.lists import read_file, read_receiver, read_stream
    from eaves.http_client.proxies import parse_proxies
    from eaves.link.client import LinkClient

    if where == "-":
        yield from read_stream(sys.stdin.buffer)
    elif where.startswith(_URLS):
        client = LinkClient(where, credentials, proxies=parse_proxies(os.environ))
        try:
            yield from read_receiver(client, where)
        finally:
            client.close()
    else:
        yield from read_file(Path(where))


def _told(name: str, lines: Iterable[LedgerLine]) -> Iterator[LedgerLine]:
    """The lines; says at the end how many there were."""
    count = 0
    for line in lines:
        count += 1
        yield line
    say(f"{name}: a list of {count:,} events")


def _print(found: Audit, form: str, queues: Sequence[str]) -> None:
    if form == "table":
        rows = [_row(hour, hour.hour or "not known") for hour in found.hours]
        total = _row(found.totals, "all")
        columns = {key: heading for key, heading in COLUMNS.items() if key in ALWAYS or total[key]}
        print_rows([*rows, total], columns, form, whole_words=True)
    else:
        print_value(found.to_dict(), form)
    for reason, count in found.dead_reasons.items():
        say(f"{count:,} dead: {describe_reason(reason) or 'no reason is known'}")
    for reason, count in found.undelivered_reasons.items():
        say(f"{count:,} undelivered at the receiver: {describe_reason(reason) or 'no reason is known'}")
    _name("missing", found.missing, found.totals.missing)
    _name("unknown", found.unknown, found.totals.unknown)
    if found.totals.forgotten:
        say(
            f"{found.totals.forgotten:,} can't be checked any more: they are older than the lines that the receiver"
            " keeps of the site; audit more often, or raise its ledger_max_entries"
        )
    if found.newer:
        say(f"{found.newer:,} more were received after the list of what was sent was made")
    if found.deleted:
        began = (
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.covers_from)) if found.covers_from else "the first"
        )
        say(f"this covers the relay's lines from {began} on; {found.deleted:,} older ones are forgotten")
    if found.unexplained:
        say(
            f"the relay's list lacks {found.unexplained:,} of its lines, by their numbers, beside those that it deleted"
        )
    if found.older:
        say(f"{found.older:,} more were received, older than the lines that the relay still keeps")
    say(_verdict(found, queues))


def _row(counts: HourCounts, hour: str) -> dict[str, Any]:
    return {**asdict(counts), "hour": hour}


def _name(what: str, findings: Sequence[AuditFinding], count: int) -> None:
    for one in findings[:SHOWN]:
        say(f"{what}: {one.id} of {one.source}, line {one.number}: {one.why}")
    if count > SHOWN:
        say(f"{what}: {count - SHOWN:,} more; -o json names {len(findings)} of them")


def _verdict(found: Audit, queues: Sequence[str]) -> str:
    totals = found.totals
    if found.is_empty:
        return "nothing to compare: both lists are empty"
    if not found.agrees:
        gaps = f", {found.unexplained:,} without a line" if found.unexplained else ""
        return f"the lists don't agree: {totals.missing:,} missing, {totals.unknown:,} unknown{gaps}"
    told = [f"nothing is missing: {totals.received:,} of {totals.sent:,} were received"]
    told += [f"{totals.waiting:,} wait"] if totals.waiting else []
    told += [f"{totals.removed:,} were removed"] if totals.removed else []
    told += [f"{totals.undelivered:,} were not delivered by the receiver"] if totals.undelivered else []
    told += [f"{found.newer:,} newer ones are not checked"] if found.newer else []
    if totals.dead:
        where = queues[0] if len(queues) == 1 else "--agent FUNCTION.relay"
        letters = "is a dead letter" if totals.dead == 1 else "are dead letters"
        told.append(f"{totals.dead:,} {letters}: eaves queue list --dead {where}")
    return "; ".join(told)
