"""What a person says about the shares of requests: so much to the new revision, all of it, back to the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knative.rollout.pinning import require_pinned
from knative.rollout.plan import Plan, plan_percent, plan_pin, plan_promote, plan_rollback
from knative.rollout.service_store import SETTLE_S, Check, Manifest, RolloutOutcome, require_settled, write_change

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PIN_WAIT_S = 60.0
"""Seconds that a person's word waits for the pin; nodes that have pulled the container image start it in one or two."""


def set_percent(
    cluster: Cluster,
    name: str,
    percent: int,
    *,
    adopt: bool = False,
    now: float | None = None,
    unpinned: bool = False,
    pin_wait_s: float = PIN_WAIT_S,
) -> RolloutOutcome:
    """Give the newest revision a share, and the rest to the one that has most of it now.

    At 0 % it gets an address of its own, `next-NAME`, for people to try it; with any other share it has none. The
    automatic leaves the rollout alone until a newer revision comes, or `begin(again=True)`.

    Args:
        cluster: Where.
        name: Of the function.
        percent: 0 to 100.
        adopt: Take the shares over from whoever else set them.
        now: Unix seconds; None: by the API server's clock.
        unpinned: Give it more although its container image isn't on every node yet.
        pin_wait_s: Seconds to wait for that.

    Raises:
        NotFoundError: No such function, or no other revision to take the rest.
        StartError: When the newest revision isn't ready or isn't pinned. An older one that is isn't taken instead:
            whoever says this means what was deployed last.
        ConflictError: Somebody else set the shares.
        ClusterError: When the API server refuses, or Knative takes up nothing.
    """
    return write_change(
        cluster,
        name,
        lambda standing, moment: plan_percent(require_settled(standing), percent, moment),
        what="set",
        now=now,
        adopt=adopt,
        settle_s=SETTLE_S,
        check=_build_check(cluster, unpinned=unpinned, wait_s=pin_wait_s),
    )


def promote(
    cluster: Cluster,
    name: str,
    *,
    adopt: bool = False,
    now: float | None = None,
    unpinned: bool = False,
    pin_wait_s: float = PIN_WAIT_S,
) -> RolloutOutcome:
    """Give the newest revision everything; of what has that already, nothing is changed.

    Args:
        cluster: Where.
        name: Of the function.
        adopt: Take the shares over from whoever else set them.
        now: Unix seconds; None: by the API server's clock.
        unpinned: Give it everything although its container image isn't on every node yet.
        pin_wait_s: Seconds to wait for that.

    Raises:
        NotFoundError: No such function.
        StartError: When the newest revision isn't ready or isn't pinned.
        ConflictError: Somebody else set the shares.
        ClusterError: When the API server refuses, or Knative takes up nothing.
    """
    return write_change(
        cluster,
        name,
        lambda standing, moment: plan_promote(require_settled(standing), moment),
        what="finish",
        now=now,
        adopt=adopt,
        settle_s=SETTLE_S,
        check=_build_check(cluster, unpinned=unpinned, wait_s=pin_wait_s),
    )


def rollback(
    cluster: Cluster, name: str, *, undo: bool = True, adopt: bool = False, now: float | None = None
) -> RolloutOutcome:
    """Give everything to the revision that served before, at once, by shares only; also while the new one is failing.

    In the middle of a rollout that is the old revision; after it, the one that was replaced. What was rolled back from
    can be rolled back to in turn, like on the local platform, if it had served everything and is ready; what never did
    (it was judged, or stopped on the way) is served again only by `promote`.

    Args:
        cluster: Where.
        name: Of the function.
        undo: Whether a rollback may take back a rollback; no: a second one changes nothing.
        adopt: Take the shares over from whoever else set them.
        now: Unix seconds; None: by the API server's clock.

    Raises:
        NotFoundError: No such function, or nothing before it (any more).
        StartError: When the revision to go back to has failed.
        ConflictError: Somebody else set the shares.
        ClusterError: When the API server refuses.
    """
    return write_change(
        cluster,
        name,
        lambda standing, moment: plan_rollback(standing, moment, undo=undo),
        what="roll back",
        now=now,
        adopt=adopt,
        settle_s=SETTLE_S,
    )


def pin(cluster: Cluster, name: str, *, adopt: bool = False) -> RolloutOutcome:
    """Before a deploy: shares that follow the newest revision stay where they are, so that the next one begins at 0 %.

    Args:
        cluster: Where.
        name: Of the function.
        adopt: Take the shares over from whoever else set them.

    Raises:
        NotFoundError: No such function.
        ConflictError: Somebody else set the shares.
        ClusterError: When the API server refuses.
    """
    return write_change(cluster, name, lambda standing, moment: plan_pin(standing), what="pin", adopt=adopt)


def _build_check(cluster: Cluster, *, unpinned: bool, wait_s: float) -> Check:
    def check(service: Manifest, plan: Plan) -> None:
        if not unpinned:
            require_pinned(cluster, service, plan, wait_s=wait_s)

    return check
