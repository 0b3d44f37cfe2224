"""The command `eaves receiver status`, which shows the sites and counts of a receiver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from eaves.cli.display.output import describe_age, output_option, print_rows, print_sentence, print_value, say
from eaves.cli.link.link_status import describe_size
from eaves.cli.link.receiver_settings import receiver_spool
from eaves.cli.shared_options import state_option
from eaves.errors import NotRunningError

COLUMNS = {
    "site": "SITE",
    "contact": "LAST CONTACT",
    "stored": "STORED",
    "repeated": "REPEATED",
    "refused": "REFUSED",
}
UNKNOWN = "(unknown)"
"""Name in the table row that counts requests whose sender isn't a known site."""
_TAKEN = ("stored", "repeated", "predicted")


@click.command("status")
@click.option(
    "--spool",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Spool file of the receiver. Default: that of `eaves receiver run` on this machine.",
)
@output_option
@state_option
def command(spool: Path | None, form: str, state_dir: Path) -> None:
    """Show the last contact of each site, and the events that were received, refused and are queued.

    All counts begin when the receiver on this machine was started.
    """
    from eaves.admin.client import SocketQueue
    from eaves.admin.endpoints import default_socket

    socket = default_socket(spool or receiver_spool(state_dir))
    try:
        found = SocketQueue(socket).health()
    except NotRunningError as error:
        raise NotRunningError(
            f"no receiver is running here: {error.message}", hint="eaves receiver run, or name its spool with --spool"
        ) from error
    if form != "table":
        print_value(dict(found), form)
        return
    print_rows(build_rows(found, time.time()), COLUMNS, form)
    for lane in found.get("report", {}).get("lanes", ()):
        print_sentence(describe_waiting(lane, found.get("target", "")))
        if lane["dead"]:
            say(f"{lane['dead']:,} dead letters are kept; to show them: eaves queue list --dead --receiver")
    if failed := found.get("failed_handshakes"):
        say(f"{failed:,} TLS handshakes failed; check that sites trust the certificate; the log has their addresses")
    for sites in found.get("shared_tokens", ()):
        say(f"the sites {' and '.join(sites)} have the same token, so none is accepted; give each a token of its own")


def build_rows(found: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """Return a table row for each site, and one for requests whose sender isn't a known site.

    Args:
        found: The receiver's own report of its state.
        now: Current time, Unix seconds.
    """
    contacts, received = found.get("contacts", {}), found.get("received", {})
    rows = []
    for site in sorted({*contacts, *received} - {""}):
        at = contacts.get(site)
        contact = "not since the start" if at is None else f"{describe_age(max(0.0, now - at))} ago"
        rows.append(_row(site, contact, received.get(site, {})))
    if received.get(""):
        rows.append(_row(UNKNOWN, "", received[""]))
    return rows


def describe_waiting(lane: Mapping[str, Any], target: str) -> str:
    """Return the number of events that wait to be passed on, and the reason, as one sentence.

    Args:
        lane: The lane's entry in the receiver's report.
        target: Sink or folder that events are passed on to; empty when it isn't known.
    """
    target = target or "a sink that isn't known"
    if not lane["queued"]:
        waiting = f"nothing waits for {target}"
    else:
        verb = "event waits" if lane["queued"] == 1 else "events wait"
        age = describe_age(lane["oldest_age_s"])
        waiting = f"{lane['queued']:,} {verb} for {target} ({describe_size(lane['queued_bytes'])}), oldest {age}"
    return f"{waiting}; paused: {lane['reason']}" if lane["paused"] else waiting


def _row(site: str, contact: str, counts: Mapping[str, int]) -> dict[str, Any]:
    refused = [f"{outcome} {count:,}" for outcome, count in counts.items() if outcome not in _TAKEN and count]
    return {
        "site": site,
        "contact": contact,
        "stored": counts.get("stored", 0),
        "repeated": counts.get("repeated", 0),
        "refused": ", ".join(refused),
    }
