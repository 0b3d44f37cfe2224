"""The command `eaves relay audit`, which compares the events of relays with those that their receiver got."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.display.output import output_option, print_rows, print_value, say
from eaves.cli.link.relay_targets import Relay, list_receivers, open_relays, relay_options
from eaves.errors import InputError, NotFoundError
from eaves.web.problem_document import describe_reason

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
"""Columns of the audit's table that are shown even when all their values are 0."""
SHOWN = 10
"""Maximum number of missing events, and of unknown events, that the text output lists; `-o json` lists more."""
LATE_S = 60.0
DISAGREES, GIVEN_UP = 1, 3
"""Exit codes of an audit: 1 when the lists of the relays and the receiver disagree, 3 when they agree but events were
given up. With nothing to compare, the exit code is that of `NotFoundError`."""
_URLS = ("http://", "https://")


@click.command("audit")
@click.option(
    "--sent",
    metavar="FILE",
    help="List of sent events: JSON lines as `eaves relay ledger` prints them, a relay's spool, or - for standard "
    "input. Default: the list of the relay that is running.",
)
@click.option(
    "--received",
    metavar="FILE|URL",
    multiple=True,
    help="List of received events: JSON lines with source and id, a receiver's spool, or a receiver's address; can "
    "be repeated, which joins the lists. Default: the list of the relay's receiver, requested over the link.",
)
@click.option(
    "--credentials",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder with the token for a receiver that --received names by address. Default: the relay's own folder.",
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
    help="Count an event as late when it took longer than this from the relay to the receiver.",
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
    """Compare the events that relays took with those that their receiver got; name missing and unknown events.

    Exit code 0: every event was received or waits at the relay. 1: events are missing or unknown, or the relay's list
    has gaps. 3: the lists agree, but events were not delivered: they are dead or removed at the relay, or undelivered
    at the receiver. 66: there is nothing to compare. All relays of a site that have the same receiver are compared with
    it together, because the events of a relay that is left out would count as unknown.
    """
    from eaves.audit import EventComparison

    with EventComparison(late_s=late_s) as comparison:
        if sent is None:
            queues = _add_from_relays(comparison, received, credentials, source, options)
        else:
            known, queues = list_receivers(**options), ["--agent FUNCTION.relay"]
            if not received:
                address = next(iter(known), "FILE|URL")
                raise InputError("--sent needs --received, the list to compare with", hint=f"add --received {address}")
            credentials = credentials or next((known[url] for url in _bare(received) if url in known), None)
            comparison.add_sent(_report_count("sent", _read(sent, credentials)))
            comparison.add_received(_report_count("received", _read_received(received, credentials, source)))
        found = comparison.finish()
    _print(found, form, queues)
    if not found.passed:
        ctx.exit(NotFoundError.exit_code if found.is_empty else GIVEN_UP if found.agrees else DISAGREES)


def _add_from_relays(
    comparison: EventComparison, received: Sequence[str], credentials: Path | None, source: str, options: dict[str, Any]
) -> list[str]:
    """Add the relays' lists and then the receiver's list to a comparison.

    Finally the events are added that the relays took while the receiver's list was read.

    Returns:
        The options with which `eaves queue` selects each relay's queue.
    """
    from eaves.audit.lists import read_pages

    def read(relay: Relay, after: int) -> Iterator[LedgerLine]:
        return read_pages(lambda number: relay.queue.ledger(after=number), after=after)

    with open_relays(**options) as relays:
        address, folder = _choose_receiver(relays, received)
        last = [comparison.add_sent(_report_count(relay.name, read(relay, 0))) for relay in relays]
        comparison.add_received(_report_count("received", _read_received(address, credentials or folder, source)))
        for relay, number in zip(relays, last, strict=True):
            comparison.add_newer(read(relay, number))
        return [relay.option for relay in relays]


def _choose_receiver(relays: Sequence[Relay], received: Sequence[str]) -> tuple[Sequence[str], Path | None]:
    """Return where the list of received events is read from, and the folder of the relays' credentials.

    The list comes from the given files or URLs, else from the address that the relays send to.
    """
    addresses = sorted({relay.to for relay in relays})
    known = [relay for relay in relays if relay.credentials]
    if received:
        known.sort(key=lambda relay: relay.to not in _bare(received))
        return received, known[0].credentials if known else None
    if len(addresses) > 1:
        raise InputError(
            f"the relays here have {len(addresses)} receivers, and an audit takes one: {', '.join(addresses)}",
            hint="add --app FUNCTION",
        )
    if not addresses[0]:
        raise InputError(f"the address of the receiver of {relays[0].name} is not known", hint="add --received URL")
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


def _report_count(name: str, lines: Iterable[LedgerLine]) -> Iterator[LedgerLine]:
    """Yield the lines of a ledger unchanged; after the last one, print how many there were."""
    count = 0
    for line in lines:
        count += 1
        yield line
    say(f"{name}: {count:,} {'event' if count == 1 else 'events'} in the list")


def _print(found: Audit, form: str, queues: Sequence[str]) -> None:
    if form == "table":
        rows = [_row(hour, hour.hour or "not known") for hour in found.hours]
        total = _row(found.totals, "all")
        columns = {key: heading for key, heading in COLUMNS.items() if key in ALWAYS or total[key]}
        print_rows([*rows, total], columns, form, whole_words=True)
    else:
        print_value(found.to_dict(), form)
    for reason, count in found.dead_reasons.items():
        say(f"{count:,} dead at the relay: {describe_reason(reason) or 'no reason is known'}")
    for reason, count in found.undelivered_reasons.items():
        say(f"{count:,} undelivered at the receiver: {describe_reason(reason) or 'no reason is known'}")
    _name("missing", found.missing, found.totals.missing)
    _name("unknown", found.unknown, found.totals.unknown)
    if found.totals.forgotten:
        say(
            f"{found.totals.forgotten:,} events can't be checked any more: they are older than the lines that the"
            " receiver keeps for the site; audit more often, or raise the receiver's ledger_max_entries"
        )
    if found.newer:
        say(f"{found.newer:,} more events were received after the list of sent events was made")
    if found.deleted:
        began = (
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.covers_from)) if found.covers_from else "the first"
        )
        say(f"this audit covers the relay's lines from {began} on; it has deleted {found.deleted:,} older lines")
    if found.unexplained:
        say(
            f"the numbers in the relay's list show that {found.unexplained:,} lines are missing, beside those that it"
            " deleted"
        )
    if found.older:
        say(f"{found.older:,} more events were received, which are older than the lines that the relay keeps")
    say(_verdict(found, queues))


def _row(counts: HourCounts, hour: str) -> dict[str, Any]:
    return {**asdict(counts), "hour": hour}


def _name(what: str, findings: Sequence[AuditFinding], count: int) -> None:
    for one in findings[:SHOWN]:
        say(f"{what}: {one.id} of {one.source}, line {one.number}: {one.why}")
    if count > SHOWN:
        say(f"{what}: {count - SHOWN:,} more events; -o json has {len(findings)} of all {count:,}")


def _verdict(found: Audit, queues: Sequence[str]) -> str:
    totals = found.totals
    if found.is_empty:
        return "nothing to compare: both lists are empty"
    if not found.agrees:
        gaps = f", {found.unexplained:,} without a line" if found.unexplained else ""
        return f"the lists don't agree: {totals.missing:,} missing, {totals.unknown:,} unknown{gaps}"
    parts = [f"nothing is missing: {totals.received:,} of {totals.sent:,} events were received"]
    parts += [f"{totals.waiting:,} wait at the relay"] if totals.waiting else []
    parts += [f"{totals.removed:,} were removed at the relay"] if totals.removed else []
    parts += [f"{totals.undelivered:,} were not delivered by the receiver"] if totals.undelivered else []
    parts += [f"{found.newer:,} newer ones are not checked"] if found.newer else []
    if totals.dead:
        where = queues[0] if len(queues) == 1 else "--agent FUNCTION.relay"
        letters = "is a dead letter" if totals.dead == 1 else "are dead letters"
        parts.append(f"{totals.dead:,} {letters}: eaves queue list --dead {where}")
    return "; ".join(parts)
