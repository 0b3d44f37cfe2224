"""The commands `eaves status`, the state of functions, sources and queues, and `eaves doctor`, problems and fixes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.admin.report import describe_choices, to_json
from eaves.cli.container_image import access_options, load_note
from eaves.cli.link import describe_link
from eaves.cli.output import (
    Column,
    Columns,
    Kind,
    describe_age,
    output_option,
    print_line,
    print_rows,
    print_sentence,
    say,
)
from eaves.cli.site import LOCAL, Place, Visit, describe_stopped, place_options
from eaves.console.words import describe_size
from eaves.problem_document import describe_reason
from eaves.rollout import RolloutPhase

if TYPE_CHECKING:
    from eaves.admin import LaneReport, QueueReport, SourceReport
    from eaves.oci.registry.transport import Access
    from eaves.platform import FunctionStatus
    from eaves.platform.findings import Finding
    from eaves.spool.score_shift import ScoreWindow


COLUMNS: Columns = {
    "site": "SITE",
    "name": "FUNCTION",
    "state": "STATE",
    "replicas": Column("REPLICAS", drop=6),
    "queued": "QUEUED",
    "delivered": Column("DELIVERED", drop=7),
    "dead": "DEAD",
    "traffic": Column("TRAFFIC", drop=5),
    "deployment": Column("DEPLOYED", drop=4),
    "pins": Column("PINNED", drop=2),
    "artifact": Column("ARTIFACT", Kind.PATH, drop=1),
    "reason": Column("REASON", Kind.REASON),
}
PART_COLUMNS: Columns = {
    "site": "SITE",
    "function": "FUNCTION",
    "part": "NOT READY",
    "part_state": "STATE",
    "age": Column("SINCE", drop=2),
    "cause": Column("CAUSE", drop=1),
    "reason": Column("REASON", Kind.REASON),
}
AGENT_COLUMNS: Columns = {
    "site": "SITE",
    "pod": "POD",
    "agent": "AGENT",
    "state": "STATE",
    "queued": "QUEUED",
    "dead": "DEAD",
    "reason": Column("REASON", Kind.REASON),
}
SOURCE_COLUMNS: Columns = {
    "site": "SITE",
    "pod": "POD",
    "source": "SOURCE",
    "state": "STATE",
    "captured": Column("CAPTURED", drop=4),
    "last_image": "LAST IMAGE",
    "dropped": Column("DROPPED", drop=2),
    "last_error": Column("LAST ERROR", Kind.REASON, drop=3),
    "reason": Column("REASON", Kind.REASON),
}
USAGE_COLUMNS: Columns = {
    "site": "SITE",
    "name": "FUNCTION",
    "delivered": "ANSWERED",
    "replicas": "REPLICAS",
    "cpu": "CPU",
    "memory": "MEMORY",
    "link": "SENT OVER LINK",
}
AT_SITES = frozenset({"site", "pod", "traffic", "deployment", "pins", "part_state", "cause"})
"""Columns that only tables of sites have."""
HERE = frozenset({"queued", "delivered", "dead"})
"""Columns of `COLUMNS` that only the table of this machine has."""


@click.command()
@output_option
@click.option("--usage", is_flag=True, help="Show the processor time, memory, answers and bytes over the link instead.")
@place_options("state", "file", "on", "all")
def status(place: Place, form: str, usage: bool) -> None:
    """Show the state of the functions on this machine, or at sites.

    The table has a line for each function, and one for each part of its app that isn't ready; JSON has all parts. To
    see it again and again: `watch eaves status`.

    With --usage: events that the function answered, and processor time and memory of its replicas and agents. On a
    cluster these are the processes that run now.
    """
    if place.is_cluster:
        outcomes = place.visit(lambda visit: visit.platform().status(usage=usage))
        found = {one.site: list(one.result or ()) for one in outcomes}
        unreachable = [
            {"site": one.site, "state": one.state, "reason": str(one.error)}
            for one in outcomes
            if one.error is not None
        ]
        if usage and form == "table":
            _show_usage(found, unreachable)
        else:
            _show(found, unreachable, form, at_sites=True)
        place.report(outcomes, "eaves doctor")
        if not any(found.values()) and not unreachable:
            say("no function is deployed at the site; `eaves deploy --on knative` deploys one")
        return
    from eaves.local.client import LocalPlatform

    platform = LocalPlatform(place.state_dir)
    here = platform.status()
    if usage and form == "table":
        _show_usage({"": here}, [])
        return
    _show({"": here}, [], form, at_sites=False)
    for pause in (lane for one in here for lane in one.sinks if lane.paused):
        say(f"{pause.lane} is paused{_since(pause)}: {describe_reason(pause.reason)}")
    if any(one.dead or any(agent.dead for agent in one.agents) for one in here):
        say("dead letters are kept; `eaves queue --dead` shows them")
    if not platform.running():
        say(describe_stopped())
    elif not here:
        say("no function is deployed here; `eaves deploy` deploys one")


def _show(
    found: Mapping[str, list[FunctionStatus]], unreachable: list[dict[str, Any]], form: str, *, at_sites: bool
) -> None:
    """Print a row for each function and each site without an answer, then tables of parts, agents and sources.

    Args:
        found: Site to its functions; the site is empty on this machine.
        unreachable: Rows of the sites that gave no answer.
        form: `table`, `json` or `yaml`.
        at_sites: Whether the functions are in clusters.
    """
    functions = [(site, status) for site, statuses in found.items() for status in statuses]
    rows = [*unreachable, *({**to_json(status), **({"site": site} if at_sites else {})} for site, status in functions)]
    if form != "table":
        print_rows(rows, COLUMNS, form)
        return
    agents = [(site, status.name, agent) for site, status in functions for agent in status.agents]
    _print([{**row, **_sum_up(row)} for row in rows] if at_sites else rows, COLUMNS, HERE if at_sites else AT_SITES)
    parts = [
        {**to_json(part), "site": site, "function": status.name, "part": part.title, "part_state": part.state}
        for site, status in functions
        for part in status.parts
        if part.state != "ready" and (at_sites or part.reason)  # one that starts here shows that in its own table
    ]
    said = {part["reason"] for part in parts}
    sources = [
        {"site": site, "pod": agent.pod, **_source_row(name, source, said)}
        for site, name, agent in agents
        for source in agent.sources
    ]
    hidden = frozenset() if at_sites else AT_SITES
    _print([{**part, "age": describe_age(part["age_s"])} for part in parts], PART_COLUMNS, hidden)
    _print([{"site": site, **_agent_row(agent)} for site, _, agent in agents], AGENT_COLUMNS, hidden)
    _print(sources, SOURCE_COLUMNS, hidden)
    for site, _, agent in agents:
        where = f"{site}, {agent.name} ({agent.pod})" if at_sites else agent.name
        for one in agent.shifts:
            print_sentence(f"{where}: {one.reason} (shifted{_since(one)})")
        if chosen := describe_choices(agent.choices):
            print_sentence(f"{where}: {chosen}")
        if agent.link is not None:
            print_sentence(f"{where}: {describe_link(agent.link)}")
    for site, status in functions:
        if (rollout := status.rollout) is not None and rollout.phase != RolloutPhase.DONE:
            counted = ", ".join(
                f"{one.revision} {one.percent} %"
                + (f" ({one.errors or 0:,} of {one.requests:,} requests failed)" if one.requests else "")
                for one in rollout.revisions
            )
            where = f"{site}, {status.name}" if at_sites else status.name
            print_sentence(f"{where}: rollout is {rollout.phase}: {counted}; {rollout.reason}")
        if status.audit:
            print_sentence(f"{status.name}: {status.audit}")
    for fix in dict.fromkeys(row["fix"] for row in [*rows, *parts] if at_sites and row.get("fix")):
        say(f"try: {fix}")


def _show_usage(found: Mapping[str, list[FunctionStatus]], unreachable: list[dict[str, Any]]) -> None:
    """Print what each function and its agents use; `at least` so much, when not all of the processes can be asked."""

    def describe(figure: str, is_known: bool) -> str:
        return figure if is_known else f"at least {figure}"

    rows = [
        {
            "site": site,
            "name": one.name,
            "delivered": one.delivered,
            "replicas": one.replicas,
            "cpu": describe(f"{one.total_usage.cpu_s:,.1f} s", one.is_usage_known),
            "memory": describe(describe_size(one.total_usage.memory_bytes), one.is_usage_known),
            "link": describe_size(one.link_bytes) if any(agent.link for agent in one.agents) else "",
        }
        for site, functions in found.items()
        for one in functions
    ]
    columns = {**USAGE_COLUMNS, **({"reason": COLUMNS["reason"]} if unreachable else {})}
    _print([*rows, *unreachable], columns, AT_SITES if "" in found else frozenset())


def _print(rows: list[dict[str, Any]], columns: Columns, hidden: Set[str]) -> None:
    """Print a table, but for that of functions nothing without rows."""
    if not rows and columns is not COLUMNS:
        return
    print_rows(rows, {key: column for key, column in columns.items() if key not in hidden}, "table")


def _sum_up(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a function at a site with shortened cells; `-o json` shows the full values."""
    if "name" not in row:  # a site that can't be asked
        return {}
    deployed = row["deployed"]
    shares = [(f"{one['revision']} {one['percent']} %", _shorten(one["image"])) for one in row["serving"]]
    name, at, _ = row["artifact"].partition("@")
    return {
        "deployment": f"{describe_age(deployed['age_s'])} ago by {deployed['by']}" if deployed else "no record",
        "traffic": [f"{share} ({image})" if image else share for share, image in shares],
        "pins": [f"{_shorten(pinned['image'])} {pinned['ready']}/{pinned['wanted']}" for pinned in row["pinned"]],
        "artifact": f"{name}@{_shorten(row['artifact'])}" if at else name,
    }


def _shorten(image: str) -> str:
    """Return the beginning of a container image's digest; the whole name when it has no digest."""
    return image.partition("@sha256:")[2][:8] or image


def _agent_row(agent: QueueReport) -> dict[str, Any]:
    """Return the table row for an agent; its own reason is followed by each reason why lanes are paused, once."""
    paused: dict[str, list[LaneReport]] = {}
    for lane in agent.pauses:
        paused.setdefault(lane.reason, []).append(lane)
    pauses = [
        f"{' and '.join(lane.lane for lane in lanes)} {'is' if len(lanes) == 1 else 'are'} paused"
        f"{_since(lanes[0])}: {reason}"
        for reason, lanes in paused.items()
    ]
    return {**to_json(agent), "agent": agent.name, "reason": [*filter(None, [agent.reason]), *pauses]}


def _source_row(function: str, source: SourceReport, said: Set[str]) -> dict[str, Any]:
    """Return the table row for a source, without a reason that is `said` above, and that is its last error as well."""
    last, error = describe_age(source.last_captured_age_s), describe_age(source.last_error_age_s)
    return {
        **to_json(source),
        "source": f"{function}.{source.name}",
        "last_image": f"{last} ago" if last else "none yet",
        "dropped": ", ".join(f"{cause} {count}" for cause, count in sorted(source.dropped.items())),
        "last_error": f"{error} ago: {source.last_error}" if error and not source.reason else "",
        "reason": "" if source.reason in said else source.reason,
    }


def _since(state: LaneReport | ScoreWindow) -> str:
    return f" for {describe_age(max(0.0, time.time() - state.since))}" if state.since else ""


EXIT_CODES = {"ok": 0, "note": 0, "warning": 3, "error": 69}
"""Severity of the worst finding to the exit code of `eaves doctor`. Other commands that fail for the reason of an
`error` finding also end with 69."""
FINDING_COLUMNS = {"site": "SITE", "severity": "STATE", "check": "CHECK", "message": "FOUND"}
KUBECONFIG = Path("~/.kube/config")
UNNAMED = "images"
"""Name of the function that is looked for where there is no eaves.yaml."""


def _has_kubeconfig() -> bool:
    try:
        return KUBECONFIG.expanduser().is_file()
    except RuntimeError:  # a user without a home directory
        return False


@click.command()
@place_options("file", "on", "all")
@access_options
@output_option
def doctor(place: Place, access: Callable[[], Access], form: str) -> None:
    """Find problems that prevent a deployment at sites, or on this machine, and show how to fix each.

    This machine is checked with --on local, or when neither eaves.yaml nor a kubeconfig names a cluster. The command
    changes nothing.

    Exit code 0: there are no problems, or only notes. 3: the deployment works, but with a restriction. 69: something
    does not work.
    """
    from eaves.local.doctor import check_packages, examine_machine
    from eaves.local.settings import LocalSettings
    from eaves.platform.findings import worst

    project, named = place.project, place.kubeconfig or _has_kubeconfig()
    if place.is_cluster or (place.platform != LOCAL and (named or (place.file.exists() and project.sites))):
        hurried = replace(access(), attempts=1, connect_s=5.0, read_s=15.0)
        found = [("", finding) for finding in check_packages()]
        found += _examine_sites(place, hurried)
    else:
        found = [("", finding) for finding in examine_machine(place.file, project.sources, LocalSettings().port)]
    several = len({site for site, _ in found if site}) > 1
    rows = [{**({"site": site} if several else {}), **asdict(finding)} for site, finding in found]
    print_rows(rows, {key: heading for key, heading in FINDING_COLUMNS.items() if several or key != "site"}, form)
    for row in rows if form == "table" else ():
        if row["fix"]:
            print_line(": ".join(filter(None, (row.get("site"), row["check"], row["fix"]))))
    click.get_current_context().exit(EXIT_CODES[worst(finding for _, finding in found)])


def _examine_sites(place: Place, access: Access) -> list[tuple[str, Finding]]:
    """Return the findings at each chosen site; when one of several doesn't answer, its error is a finding.

    Raises:
        EavesError: When no site can be chosen, or when the only site doesn't answer.
    """
    from eaves.cli.app import build_site_app
    from eaves.oci.copy import open_location
    from eaves.oci.layers.image import load_images
    from eaves.platform.findings import error
    from knative.doctor.runner import examine
    from knative.inventory import FunctionImage

    project, job = replace(place.project, name=place.project.name or UNNAMED), place.project.job
    kept = load_note(place.workspace) if place.file.exists() else None
    image = FunctionImage(name=project.knative.image or (kept.image.name if kept is not None else ""))

    def find_platforms(image: str) -> set[str]:
        place = open_location(image, access)
        return {one.platform.architecture for one in load_images(place.store, place.resolve())}

    def examine_site(visit: Visit) -> list[Finding]:
        cluster, site = place.open_cluster(visit.site), visit.site
        trains_here = project.knative.trainer_image and job.context == site.context
        return examine(
            cluster,
            build_site_app(project, image, site),
            trains_in=(job.namespace or site.namespace or cluster.namespace) if trains_here else "",
            platforms=find_platforms,
        )

    found = []
    for outcome in place.visit(examine_site):
        found += [(outcome.site, finding) for finding in outcome.result or ()]
        if outcome.error is not None:
            hint = outcome.error.hint or f"eaves doctor --site {outcome.site}"
            found.append((outcome.site, error("server", outcome.error.message, hint)))
    return found
