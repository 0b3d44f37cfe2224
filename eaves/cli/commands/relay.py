"""The command `eaves relay`, which lists the events that a relay took and checks that all were delivered."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli import CommandGroup
from eaves.cli.link import QueueTarget, open_relays, print_ledger, relay_options, require_one
from eaves.cli.output import output_option, print_rows, print_value, say
from eaves.cli.project import EXISTING_FILE
from eaves.cli.site import Place
from eaves.errors import DeliveryError, InputError, NotFoundError, StatusError

if TYPE_CHECKING:
    from eaves.link.audit import Audit, EventComparison
    from eaves.spool import LedgerLine

ALWAYS = ("sent", "received", "missing", "unknown")
"""Columns of the audit's table that are shown even when their value is 0."""
SHOWN = 10
"""Maximum number of missing events, and of unknown events, that the text output lists; `-o json` lists more."""
DISAGREES, GIVEN_UP = 1, 3
"""Exit codes of an audit: 1 when the lists of the relays and the receiver disagree, 3 when they agree but events were
given up. With nothing to compare, the exit code is that of `NotFoundError`."""


@click.group(cls=CommandGroup)
def command() -> None:
    """Show the events that a relay took, and check that all were delivered.

    The relay is that of an app on this machine, or of an app at a site (--site, --on).
    """


@command.command()
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
@output_option
@relay_options
@click.pass_context
def audit(
    ctx: click.Context, /, sent: str | None, received: tuple[str, ...], credentials: Path | None,
    form: str, place: Place, app: str, pod: str,
) -> None:  # fmt: skip
    """Compare the events that relays took with those that their receiver got; name missing and unknown events.

    Exit code 0: every event was received or waits at the relay. 1: events are missing or unknown, or the relay's list
    has gaps. 3: the lists agree, but events were not delivered: they are dead or removed at the relay, or undelivered
    at the receiver. 66: there is nothing to compare. All relays of a site that have the same receiver are compared with
    it together, because the events of a relay that is left out would count as unknown.
    """
    from eaves.link.audit import EventComparison

    queues = ["--agent FUNCTION.relay"]
    with EventComparison() as comparison:
        if sent is None:
            with open_relays(place, app=app, pod=pod) as relays:
                _compare_relays(comparison, relays, received, credentials)
                queues = [relay.options for relay in relays]
        else:
            if not received:
                raise InputError("--sent needs --received, the list to compare with", hint="add --received FILE|URL")
            comparison.add_sent(_read(sent, credentials))
            comparison.add_received(_read_all(received, credentials))
        found = comparison.finish()
    _print(found, form, queues)
    if not found.passed:
        ctx.exit(NotFoundError.exit_code if found.is_empty else GIVEN_UP if found.agrees else DISAGREES)


@command.command()
@click.option(
    "--spool",
    type=EXISTING_FILE,
    help="Spool file of a relay. Default: the relay that is deployed on this machine.",
)
@relay_options
def ledger(spool: Path | None, place: Place, app: str, pod: str) -> None:
    """Print the state of every event that a relay took, as JSON lines in the order of arrival.

    Each line has number, source, id, at (when the relay took the event, Unix seconds), state, repeats and digest.
    """
    from eaves.link.audit import read_file

    if spool is not None:
        print_ledger(read_file(spool))
        return
    with open_relays(place, app=app, pod=pod) as relays:
        print_ledger(require_one(relays, "this command takes one relay").read_ledger())


def _compare_relays(
    comparison: EventComparison, relays: Sequence[QueueTarget], received: Sequence[str], credentials: Path | None
) -> None:  # fmt: skip
    """Add the relays' lists, the receiver's list, and the events that the relays took while that list was read."""
    lists = received or [_find_receiver(relays)]
    folder = credentials or next((relay.credentials for relay in relays if relay.credentials), None)
    last = [comparison.add_sent(relay.read_ledger()) for relay in relays]
    try:
        comparison.add_received(_read_all(lists, folder))
    except DeliveryError as error:
        if received or not relays[0].pod or isinstance(error, StatusError):
            raise
        hint = "from here, the receiver may have another address: kubectl port-forward, then add --received URL"
        raise DeliveryError(error.message, hint=hint) from error
    for relay, number in zip(relays, last, strict=True):
        comparison.add_newer(relay.read_ledger(after=number))


def _find_receiver(relays: Sequence[QueueTarget]) -> str:
    """Return the address that the relays send to.

    Raises:
        InputError: When it isn't known, or when they have several.
    """
    addresses = sorted({relay.to for relay in relays})
    if len(addresses) > 1:
        raise InputError(
            f"the relays here have {len(addresses)} receivers, and an audit takes one: {', '.join(addresses)}",
            hint="add --app FUNCTION",
        )
    if not addresses[0]:
        raise InputError(f"the address of the receiver of {relays[0].agent} is not known", hint="add --received URL")
    return addresses[0]


def _read_all(lists: Sequence[str], credentials: Path | None) -> Iterator[LedgerLine]:
    for one in lists:
        yield from _read(one, credentials)


def _read(where: str, credentials: Path | None) -> Iterator[LedgerLine]:
    from eaves.http_client.proxies import parse_proxies
    from eaves.link.audit import read_file, read_receiver
    from eaves.link.client import LinkClient
    from eaves.spool.ledger import read_lines

    if where == "-":
        yield from read_lines(sys.stdin.buffer, "standard input")
    elif where.startswith(("http://", "https://")):
        client = LinkClient(where, credentials, proxies=parse_proxies(os.environ))
        try:
            yield from read_receiver(client.read_ledger, where)
        finally:
            client.close()
    else:
        yield from read_file(Path(where))


def _print(found: Audit, form: str, queues: Sequence[str]) -> None:
    totals = found.totals
    if form == "table":
        print_rows([dict(totals)], {name: name.upper() for name in totals if name in ALWAYS or totals[name]}, form)
    else:
        print_value(found.to_dict(), form)
    for what, findings in (("missing", found.missing), ("unknown", found.unknown)):
        for one in findings[:SHOWN]:
            say(f"{what}: {one['id']} of {one['source']}, line {one['number']}: {one['why']}")
        if totals[what] > SHOWN:
            say(f"{what}: {totals[what] - SHOWN:,} more events; -o json has {len(findings)} of all {totals[what]:,}")
    if totals["forgotten"]:
        say(
            f"{totals['forgotten']:,} events can't be checked any more: they are older than the lines that the"
            " receiver keeps for the site; audit more often, or raise the receiver's ledger_max_entries"
        )
    if found.deleted:
        known = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.covers_from)) if found.covers_from else ""
        began = known or "the first"
        say(f"this audit covers the relay's lines from {began} on; it has deleted {found.deleted:,} older lines")
    say(_verdict(found, queues))


def _verdict(found: Audit, queues: Sequence[str]) -> str:
    totals = found.totals
    if found.is_empty:
        return "nothing to compare: both lists are empty"
    if not found.agrees:
        gaps = f", {found.unexplained:,} without a line" if found.unexplained else ""
        return f"the lists don't agree: {totals['missing']:,} missing, {totals['unknown']:,} unknown{gaps}"
    where = queues[0] if len(queues) == 1 else "--agent FUNCTION.relay"
    letters = "is a dead letter" if totals["dead"] == 1 else "are dead letters"
    others = (
        (totals["waiting"], "wait at the relay"),
        (totals["removed"], "were removed at the relay"),
        (totals["undelivered"], "were not delivered by the receiver"),
        (found.newer, "newer ones are not checked"),
        (totals["dead"], f"{letters}: eaves queue list --dead {where}"),
    )
    parts = [f"nothing is missing: {totals['received']:,} of {totals['sent']:,} events were received"]
    return "; ".join([*parts, *(f"{count:,} {text}" for count, text in others if count)])
