"""One site brought to what is wanted: applied, waited for, and rolled out as far as it goes by itself.

Every step can be taken again: whoever is killed on the way, or finds the site silent, calls it again and it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eaves.errors import StartError, UnreachableClusterError
from eaves.platform import AppSpec
from knative import rollout
from knative.applied import UNCHANGED, Applied
from knative.deploying import apply_app
from knative.diagnosis import collect, given_up, is_ready, observed
from knative.kinds import KSERVICE, REVISION
from knative.names import MANAGED_LABEL, MANAGED_VALUE
from knative.owned import Owner
from knative.progress import Progress
from knative.rendering import render_app
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings
from knative.waiting import wait_whole

if TYPE_CHECKING:
    from knative.cluster import Cluster

POLL_S = 5.0
"""Between two looks at a rollout that is watched."""
PATIENCE_S = 900.0
"""Without a link, before giving up watching one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a site is to have, and how far to go.

    Attributes:
        app: The app.
        knative: How it stands there.
        rollout: How a new revision takes over.
        adopt: Take over what others made.
        dry_run: Let the server judge, change nothing.
        ready_s: Seconds to become ready in; 0: don't wait.
        follow: Stay until the rollout ends.
        advance: Instead of waiting: one step of the rollout.
    """

    app: AppSpec
    knative: KnativeSettings
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    adopt: bool = False
    dry_run: bool = False
    ready_s: float = 0.0
    follow: bool = False
    advance: bool = False

    @property
    def owner(self) -> Owner:
        """Whose objects they are."""
        function = self.app.function
        return Owner(app=function.name, site=function.site, agents=self.knative.agent_namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """What became of it.

    Attributes:
        applied: Each object.
        outcome: Of the rollout; None when nothing was begun.
    """

    applied: tuple[Applied, ...]
    outcome: rollout.Outcome | None = None

    @property
    def changed(self) -> int:
        """Objects that aren't as they were."""
        return sum(one.outcome != UNCHANGED for one in self.applied)


def update_site(
    cluster: Cluster,
    site: SiteSettings,
    wanted: Wanted,
    *,
    show: Callable[[Progress], None] = lambda progress: None,
    tell: Callable[[str], object] = lambda text: None,
    poll_s: float = POLL_S,
) -> Updated:
    """Apply, wait, roll out.

    Args:
        cluster: Of the site.
        site: The site.
        wanted: What it is to have.
        show: Told how it becomes ready.
        tell: Told each step of the rollout.
        poll_s: Between two looks at a rollout that is followed.

    Raises:
        ConfigError: When eaves.yaml lacks what a cluster needs.
        ConflictError: When others own what would be changed.
        StartError: When it doesn't become ready, or a followed rollout doesn't end with the new revision.
        ClusterError: When the cluster refuses or fails.
    """
    name = wanted.app.function.name
    manifests = render_app(wanted.app, wanted.knative, site)
    if not wanted.dry_run:
        pin_shares(cluster, name, adopt=wanted.adopt)
    applied = apply_app(cluster, manifests, wanted.owner, adopt=wanted.adopt, dry_run=wanted.dry_run)
    if not wanted.dry_run and _unchanged(applied):
        try_again(cluster, name)
    if wanted.advance:
        return Updated(applied=tuple(applied), outcome=rollout.advance(cluster, name, settings=wanted.rollout))
    if wanted.dry_run or not wanted.ready_s:
        return Updated(applied=tuple(applied))
    wait_whole(cluster, name, manifests, timeout_s=wanted.ready_s, show=show)
    outcome = rollout.begin(cluster, name, wanted.rollout, adopt=wanted.adopt)
    if wanted.follow:
        outcome = follow(cluster, name, tell=tell, poll_s=poll_s)
    return Updated(applied=tuple(applied), outcome=outcome)


def _unchanged(applied: Sequence[Applied]) -> bool:
    return all(one.outcome == UNCHANGED for one in applied if one.kind == KSERVICE.kind)


def try_again(cluster: Cluster, name: str) -> bool:
    """Let Knative make a revision again that it gave up: applying the same once more wouldn't.

    What stood in the way may be mended since: a secret that was missing, a registry that didn't answer.

    Returns:
        Whether there was one.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or is_ready(service) or not observed(service):
        return False
    if not given_up(collect(cluster, name, service=service, now=cluster.clock())):
        return False
    return cluster.delete(REVISION, str(service["status"]["latestCreatedRevisionName"]))


def pin_shares(cluster: Cluster, name: str, *, adopt: bool = False) -> None:
    """Before applying: what serves goes on serving. A Service that isn't ours is left alone until it is taken over.

    Raises:
        ConflictError: When somebody else set the shares.
        ClusterError: When the cluster refuses or fails.
    """
    service = cluster.get(KSERVICE, name)
    if service is None or rollout.parse_standing(service).pinned:
        return  # the first deploy has nothing to keep, and most others have it kept already
    if adopt or service["metadata"].get("labels", {}).get(MANAGED_LABEL) == MANAGED_VALUE:
        rollout.pin(cluster, name, adopt=adopt)


def follow(
    cluster: Cluster,
    name: str,
    *,
    tell: Callable[[str], object] = lambda text: None,
    poll_s: float = POLL_S,
    patience_s: float = PATIENCE_S,
) -> rollout.Outcome:
    """Advance a rollout until it ends; a link that is down meanwhile is waited for.

    Args:
        cluster: Where.
        name: Of the function.
        tell: Told whenever something is new.
        poll_s: Between two looks.
        patience_s: Without an answer, before giving up; whoever reconciles goes on with it.

    Raises:
        StartError: When it was rolled back or is held.
        UnreachableClusterError: When the cluster is silent for too long.
        ClusterError: When the cluster refuses or fails.
    """
    said, heard = "", time.monotonic()
    while True:
        ended = False
        try:
            outcome = rollout.advance(cluster, name)
            text, heard, ended = describe(outcome), time.monotonic(), not outcome.advancing
        except UnreachableClusterError as error:
            if time.monotonic() - heard > patience_s:
                raise
            text = error.message
        if text != said:
            tell(text)
            said = text
        if ended:
            break
        time.sleep(poll_s)
    if outcome.state is None or outcome.state.phase is not rollout.Phase.DONE:
        raise StartError(f"{name} was not promoted: {text}", hint=f"eaves rollout {name}")
    return outcome


def advance_all(cluster: Cluster) -> list[rollout.Outcome]:
    """One step of every rollout in a namespace.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    services = cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")
    return [rollout.advance(cluster, str(one["metadata"]["name"])) for one in services]


def describe(outcome: rollout.Outcome) -> str:
    """A rollout in one line."""
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in outcome.shares.items())
    phase = outcome.state.phase.value if outcome.state is not None else "no rollout"
    reason = "" if outcome.reason == phase else outcome.reason
    return ": ".join(part for part in (shares, phase, reason) if part)
