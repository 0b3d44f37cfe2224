"""Printing of the table of `eaves rollout`: a row for each revision, with the state of the rollout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eaves.cli.cluster.multi_site import SiteVisit, report_outcomes, visit_sites
from eaves.cli.cluster.platform_options import PlatformChoice, SiteScope
from eaves.cli.display.output import print_rows
from eaves.cli.display.table import Column, Columns, Kind

if TYPE_CHECKING:
    from knative.rollout import RolloutState, RolloutStatus

COLUMNS: Columns = {
    "revision": "REVISION",
    "percent": "PERCENT",
    "requests": "REQUESTS",
    "errors": "ERRORS",
    "refused": Column("REFUSED", drop=2),
    "mean_ms": Column("LATENCY", Kind.MILLISECONDS, drop=1),
    "phase": "PHASE",
    "reason": Column("REASON", Kind.REASON),
}
SITE_COLUMNS: Columns = {"site": "SITE", **COLUMNS}


def show_rollouts(function: str, scope: SiteScope, choice: PlatformChoice, form: str) -> None:
    """Print the state of a function's rollout at each chosen site.

    Raises:
        EavesError: When the only site can't be reached.
        FleetError: When one of several sites can't be reached.
    """

    def look(visit: SiteVisit) -> list[dict[str, Any]]:
        from knative.rollout import parse_rollout_status
        from knative.rollout.service import read_service

        return list(_rows(parse_rollout_status(read_service(visit.cluster(), function))))

    outcomes = visit_sites(scope, choice, look)
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.error is not None:
            rows.append({"site": outcome.site, "phase": outcome.state, "reason": str(outcome.error)})
        rows += [{"site": outcome.site, **row} for row in outcome.result or ()]
    print_rows(rows, SITE_COLUMNS if len(outcomes) > 1 else COLUMNS, form)
    report_outcomes(outcomes, f"eaves rollout {function}", choice)


def _rows(standing: RolloutStatus) -> Iterator[dict[str, Any]]:
    """Yield a row for the newest revision with the rollout's state, then one for each other revision of the rollout."""
    state = standing.current
    others = [name for name in (*standing.shares, state.old if state is not None else "") if name]
    for revision in dict.fromkeys((standing.newest or standing.name, *others)):
        row: dict[str, Any] = {"revision": revision, "percent": standing.shares.get(revision, 0)}
        if state is not None:
            counted = state.counts.total(revision)
            times = {"mean_ms": round(counted.mean_ms, 1)} if counted.timed else {}
            row |= {"requests": counted.judged, "errors": counted.failed, "refused": counted.refused, **times}
        if revision == standing.newest:
            phase = state.phase.value if state is not None else ""
            row |= {"phase": phase, "reason": standing.fault or _reason(state)}
            row |= {"history": [asdict(entry) for entry in state.history]} if state is not None else {}
        yield row


def _reason(state: RolloutState | None) -> str:
    if state is None:
        return "no rollout has been started"
    if state.phase.value != "advancing":
        return state.reason
    seen, wanted = state.counts.step(state.new).judged, state.settings.min_requests
    if not state.percent:
        return "the revision gets its first share of requests once it is ready"
    return f"{seen} of {wanted} requests counted; this step is judged at {wanted}"
