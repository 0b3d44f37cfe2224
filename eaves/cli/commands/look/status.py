"""The command `eaves status`, which shows the state of functions, sources and queues."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.cli.cluster.multi_site import report_outcomes, visit_sites
from eaves.cli.cluster.platform_options import PlatformChoice, cluster_options, load_scope, on_option, read_choice
from eaves.cli.display.output import describe_age, output_option, print_rows, print_sentence, say
from eaves.cli.display.table import Column, Columns, Kind
from eaves.cli.link.link_status import describe_link
from eaves.cli.shared_options import file_option, state_option
from eaves.web.problem_document import describe_reason

if TYPE_CHECKING:
    from eaves.admin.report import SourceReport
    from eaves.admin.summary import AgentStatus, LanePause
    from eaves.platform import FunctionStatus, PartStatus

COLUMNS: Columns = {
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": Column("REPLICAS", drop=3),
    "queued": "QUEUED",
    "delivered": Column("DELIVERED", drop=4),
    "dead": "DEAD",
    "sources": Column("SOURCES", drop=2),
    "artifact": Column("ARTIFACT", Kind.PATH, drop=1),
    "reason": Column("REASON", Kind.REASON),
}
SITE_COLUMNS: Columns = {
    "site": "SITE",
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": Column("REPLICAS", drop=6),
    "traffic": Column("TRAFFIC", drop=5),
    "deployment": Column("DEPLOYED", drop=4),
    "pins": Column("PINNED", drop=2),
    "sources": Column("SOURCES", drop=3),
    "artifact": Column("CONTAINER IMAGE", Kind.PATH, drop=1),
    "why": Column("REASON", Kind.REASON),
}
PART_COLUMNS: Columns = {
    "site": "SITE",
    "function": "FUNCTION",
    "part": "NOT READY",
    "state": "STATE",
    "age": Column("SINCE", drop=2),
    "cause": Column("CAUSE", drop=1),
    "reason": Column("REASON", Kind.REASON),
}
LOCAL_PART_COLUMNS: Columns = {
    "function": "FUNCTION",
    "part": "NOT READY",
    "age": Column("SINCE", drop=1),
    "reason": Column("REASON", Kind.REASON),
}
AGENT_COLUMNS: Columns = {
    "agent": "AGENT",
    "state": "STATE",
    "queued": "QUEUED",
    "oldest": Column("OLDEST", drop=1),
    "dead": "DEAD",
    "reason": Column("REASON", Kind.REASON),
}
SOURCE_COLUMNS: Columns = {
    "source": "SOURCE",
    "state": "STATE",
    "captured": Column("CAPTURED", drop=4),
    "last_image": "LAST IMAGE",
    "dropped": Column("DROPPED", drop=2),
    "reconnects": Column("RECONNECTS", drop=1),
    "last_error": Column("LAST ERROR", Kind.REASON, drop=3),
    "reason": Column("REASON", Kind.REASON),
}
SITE_AGENT_COLUMNS: Columns = {"site": "SITE", "pod": "POD", **AGENT_COLUMNS}
SITE_SOURCE_COLUMNS: Columns = {"site": "SITE", "pod": "POD", **SOURCE_COLUMNS}


WATCH_S, WATCH_SITES_S = 2.0, 10.0
"""Default pause between two refreshes of `--watch`, seconds: on this machine, and at sites. The second is longer,
because each refresh asks several pods."""


@click.command()
@click.option("-w", "--watch", "is_watched", is_flag=True, help="Show the status again and again, until Ctrl-C.")
@click.option(
    "--interval",
    "every_s",
    type=click.FloatRange(0.5, 3600),
    metavar="SECONDS",
    help=f"Pause between two views of --watch, seconds.  [default: {WATCH_S:g}; at sites: {WATCH_SITES_S:g}]",
)
@output_option
@state_option
@file_option
@on_option
@cluster_options
def command(is_watched: bool, every_s: float | None, form: str, state_dir: Path, file: Path, **clusters: Any) -> None:
    """Show the state of the functions on this machine, or at sites.

    The table has a line for each function, and one for each part of its app that isn't ready; JSON has all parts. With
    --watch and `-o json`, each view is one line of JSON.
    """
    choice = read_choice(**clusters)

    def show() -> None:
        if choice.knative:
            _show_sites(file, choice, form)
        else:
            _show_here(state_dir, form)

    if not is_watched:
        show()
        return
    from eaves.cli.live.frames import watch

    watch(show, form, every_s=every_s or (WATCH_SITES_S if choice.knative else WATCH_S))


def _show_here(state_dir: Path, form: str) -> None:
    """Print the functions of the local platform."""
    from eaves.local.client import LocalPlatform

    platform = LocalPlatform(state_dir)
    found = platform.status()
    rows = [_row(status) for status in found]
    print_rows(rows, _leave_out_sources(COLUMNS, rows), form)
    if form == "table":
        parts = [
            {"function": status.name, **_part_row(part)}
            for status in found
            for part in status.parts
            if part.reason  # a part that is being started shows that in its own table
        ]
        _print_part(parts, LOCAL_PART_COLUMNS)
        agents = [agent for status in found for agent in status.agents]
        _print_part([_agent_row(agent) for agent in agents], AGENT_COLUMNS)
        above = {part["reason"] for part in parts}
        sources = [
            _refer_to_parts(_source_row(status.name, one), above)
            for status in found
            for agent in status.agents
            for one in agent.sources
        ]
        _print_part(sources, SOURCE_COLUMNS)
        for agent in agents:
            if agent.link is not None:
                print_sentence(f"{agent.name}: {describe_link(agent.link)}")
    for status in found:
        for pause in status.pauses:
            say(f"{pause.lane} is paused{_since(pause)}: {describe_reason(pause.reason)}")
    if any(status.dead or any(agent.dead for agent in status.agents) for status in found):
        say("dead letters are kept; `eaves queue` shows them")
    if not platform.running():
        say("`eaves up` is not running here")
    elif not found:
        say("no function is deployed here; `eaves deploy` deploys one")


def _show_sites(file: Path, choice: PlatformChoice, form: str) -> None:
    """Print a row for each function at each site; one of several sites that can't be reached has a row with the reason.

    Raises:
        EavesError: When the only site can't be reached.
        FleetError: When one of several sites can't be reached.
    """
    outcomes = visit_sites(load_scope(file), choice, lambda visit: visit.platform().status())
    rows: list[dict[str, Any]] = []
    agents: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    links: list[str] = []
    parts: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.error is not None:
            rows.append({"site": outcome.site, "state": outcome.state, "reason": str(outcome.error)})
        rows += [{**_row(status), "site": outcome.site} for status in outcome.result or ()]
        parts += [
            {"site": outcome.site, "function": status.name, **_part_row(part)}
            for status in outcome.result or ()
            for part in status.parts
            if part.state != "ready"
        ]
        for status in outcome.result or ():
            for agent in status.agents:
                where = {"site": outcome.site, "pod": agent.pod}
                agents.append({**_agent_row(agent), **where})
                sources += [{**_source_row(status.name, source), **where} for source in agent.sources]
                if agent.link is not None:
                    links.append(f"{outcome.site}, {agent.name} ({agent.pod}): {describe_link(agent.link)}")
    shown = [{**row, **_sum_up(row)} for row in rows] if form == "table" else rows
    print_rows(shown, _leave_out_sources(SITE_COLUMNS, rows), form)
    if form == "table":
        _print_part(parts, PART_COLUMNS)
        _print_part(agents, SITE_AGENT_COLUMNS)
        _print_part(sources, SITE_SOURCE_COLUMNS)
        for link in links:
            print_sentence(link)
        for fix in dict.fromkeys(part["fix"] for part in [*rows, *parts] if part.get("fix")):
            say(f"try: {fix}")
    report_outcomes(outcomes, "eaves doctor", choice)
    if not rows:
        say("no function is deployed at the site; `eaves deploy --on knative` deploys one")


def _row(status: FunctionStatus) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(json.dumps(asdict(status)))  # lists for tuples, which YAML can't write
    return row


def _sum_up(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a function at a site with shortened cells; `-o json` shows the full values."""
    if "name" not in row:  # a site that can't be asked
        return {"why": row["reason"]}
    deployed, since = row["deployed"], row["since"]
    age = describe_age(max(0.0, time.time() - since)) if since and row["reason"] else ""
    return {
        "deployment": f"{describe_age(deployed['age_s'])} ago by {deployed['by']}" if deployed else "no record",
        "traffic": [_serves(served) for served in row["serving"]],
        "pins": [f"{_short(pinned['image'])} {pinned['ready']}/{pinned['wanted']}" for pinned in row["pinned"]],
        "artifact": _shorten(row["artifact"]),
        "why": row["reason"] + (f" (for {age})" if age else ""),
    }


def _serves(served: Mapping[str, Any]) -> str:
    """Return one cell about a revision with its share of requests: `flowers-00001 100 % (0f1e2d3c)`.

    The value in brackets is the beginning of the digest of the revision's container image.
    """
    image = f" ({_short(served['image'])})" if served["image"] else ""
    return f"{served['revision']} {served['percent']} %{image}"


def _shorten(image: str) -> str:
    """Return the name of a container image with the beginning of its digest."""
    name, _, digest = image.partition("@sha256:")
    return f"{name}@{digest[:8]}" if digest else image


def _short(image: str) -> str:
    """Return the beginning of a container image's digest; the whole name when it has no digest."""
    digest = image.partition("@sha256:")[2]
    return digest[:8] or image


def _part_row(part: PartStatus) -> dict[str, Any]:
    """Return a table's row for a part of an app that isn't ready."""
    return {**asdict(part), "part": part.title, "age": describe_age(part.age_s)}


def _leave_out_sources(columns: Columns, rows: Iterable[Mapping[str, Any]]) -> Columns:
    """Return the columns without SOURCES when a second table, printed below, lists the sources of every row."""
    if any(row.get("sources") and not row.get("agents") for row in rows):
        return columns
    return {key: heading for key, heading in columns.items() if key != "sources"}


def _print_part(rows: list[dict[str, Any]], columns: Columns) -> None:
    if rows:
        print_rows(rows, columns, "table")


def _agent_row(agent: AgentStatus) -> dict[str, Any]:
    """Return the table row for an agent.

    The agent's own reason is followed by those of its paused queues, without the reason that its link already shows.
    """
    shown = agent.link.reason if agent.link else ""
    pauses = [
        f"{pause.lane} is paused{_since(pause)}: {pause.reason}" for pause in agent.pauses if pause.reason != shown
    ]
    return {
        **asdict(agent),
        "agent": agent.name,
        "oldest": describe_age(agent.oldest_age_s),
        "reason": [*([agent.reason] if agent.reason else []), *pauses],
    }


def _source_row(function: str, source: SourceReport) -> dict[str, Any]:
    """Return the table row for a source; the last error is left out when the source's reason already shows it."""
    last, error = describe_age(source.last_captured_age_s), describe_age(source.last_error_age_s)
    return {
        **asdict(source),
        "source": f"{function}.{source.name}",
        "last_image": f"{last} ago" if last else "none yet",
        "dropped": ", ".join(f"{cause} {count}" for cause, count in sorted(source.dropped.items())),
        "last_error": f"{error} ago: {source.last_error}" if error and not source.reason else "",
    }


def _refer_to_parts(row: dict[str, Any], above: Collection[str]) -> dict[str, Any]:
    """Return a source's row without a reason that the table of parts above it already shows."""
    return {**row, "reason": "see NOT READY"} if row["reason"] in above else row


def _since(pause: LanePause) -> str:
    return f" for {describe_age(max(0.0, time.time() - pause.since))}" if pause.since else ""
