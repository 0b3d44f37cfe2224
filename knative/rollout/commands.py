"""Commands of a user for traffic: set a share of the new revision, promote it, or roll back to the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knative.rollout.pinning import require_pinned
from knative.rollout.plan import Plan, plan_percent, plan_pin, plan_promote, plan_rollback
from knative.rollout.service_store import SETTLE_S, Check, Manifest, RolloutOutcome, require_settled, write_change

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PIN_WAIT_S = 60.0
"""Maximum seconds that a command waits for a pin; on nodes that have the container image, its pod starts in one or two
seconds."""


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
    """Set the newest revision's share of requests; the revision with the largest share gets the rest.

    At 0 % the newest revision gets an address of its own, `next-NAME`, for trying it; with any other share it has none.
    The automatic rollout stops until a newer revision comes, or until `begin(again=True)`.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        percent: Share in percent, 0 to 100.
        adopt: Take the traffic over from another manager.
        now: Unix time in seconds; None uses the API server's clock.
        unpinned: Raise the share although the revision's container image isn't on every node yet.
        pin_wait_s: Maximum seconds to wait until the container image is on every node.

    Raises:
        NotFoundError: When there is no such function, or no other revision to get the rest.
        StartError: When the newest revision isn't ready or isn't pinned. An older ready revision isn't used instead,
            since the command is about the last deploy.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses, or Knative doesn't reconcile the last change.
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
    """Give the newest revision all requests; nothing changes when it has them already.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        adopt: Take the traffic over from another manager.
        now: Unix time in seconds; None uses the API server's clock.
        unpinned: Promote it although its container image isn't on every node yet.
        pin_wait_s: Maximum seconds to wait until the container image is on every node.

    Raises:
        NotFoundError: When there is no such function.
        StartError: When the newest revision isn't ready or isn't pinned.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses, or Knative doesn't reconcile the last change.
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
    """Give all requests to the previous revision at once.

    Only the traffic is changed, so this also works while the new revision fails. During a rollout, the previous
    revision is the old one; after a rollout, it is the revision that was replaced. A second rollback restores the
    revision that was rolled back, if it had all requests before and is ready. A revision that never had all requests
    (it was assessed as worse, or its rollout was stopped) serves again only by `promote`.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        undo: Whether a second rollback restores the revision that was rolled back; with False it changes nothing.
        adopt: Take the traffic over from another manager.
        now: Unix time in seconds; None uses the API server's clock.

    Raises:
        NotFoundError: When there is no such function, or no revision before it (any more).
        StartError: When the revision to return to has failed.
        ConflictError: When another manager set the traffic.
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
    """Replace "latest revision" in the traffic by the revision's name, so that the next deploy starts at 0 %.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        adopt: Take the traffic over from another manager.

    Raises:
        NotFoundError: When there is no such function.
        ConflictError: When another manager set the traffic.
        ClusterError: When the API server refuses.
    """
    return write_change(cluster, name, lambda standing, moment: plan_pin(standing), what="pin", adopt=adopt)


def _build_check(cluster: Cluster, *, unpinned: bool, wait_s: float) -> Check:
    def check(service: Manifest, plan: Plan) -> None:
        if not unpinned:
            require_pinned(cluster, service, plan, wait_s=wait_s)

    return check
