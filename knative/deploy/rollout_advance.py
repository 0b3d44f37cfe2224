"""Advance of all rollouts of a namespace by one step each; a failure of one rollout doesn't stop the other rollouts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eaves.errors import EavesError, NotFoundError, UnreachableClusterError
from knative import rollout
from knative.client.kinds import KSERVICE
from knative.deploy.objects.apply_result import ApplyResult
from knative.deploy.objects.inventory import Inventory
from knative.deploy.pins import listed_pins, prune_pins
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

REACH_S = 10.0
"""Maximum seconds of the small request that is made after one function's rollout failed for lack of an answer. If the
API server doesn't answer it either, the other functions aren't tried."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step of the rollout of one function.

    Attributes:
        name: Name of the function.
        outcome: State of the rollout after the step; None when the step failed.
        error: Reason why the step failed; None when it succeeded.
    """

    name: str
    outcome: rollout.RolloutOutcome | None = None
    error: EavesError | None = None


def advance_all(cluster: Cluster) -> list[RolloutStep]:
    """Advance every rollout of a namespace by one step; a failure for one function never stops the other functions.

    Raises:
        UnreachableClusterError: When the API server doesn't answer any request.
        ClusterError: When the functions can't be listed.
    """
    services = cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")
    steps = (_advance_one(cluster, str(one["metadata"]["name"])) for one in services)
    return [step for step in steps if step is not None]


def _advance_one(cluster: Cluster, name: str) -> RolloutStep | None:
    """Advance the rollout of one function; return None when the function was removed at the same time."""
    try:
        outcome = rollout.advance_rollout(cluster, name)
        prune_after(cluster, outcome)
        return RolloutStep(name=name, outcome=outcome)
    except NotFoundError:
        return None
    except UnreachableClusterError as error:
        cluster.reach(REACH_S)  # raises an error when the API server is gone for all functions, not only for this one
        return RolloutStep(name=name, error=error)
    except EavesError as error:
        return RolloutStep(name=name, error=error)
    except Exception as error:  # noqa: BLE001 - a defect that one function meets must not stop the others' rollouts
        _log.exception("the rollout of %s failed", name)
        return RolloutStep(name=name, error=EavesError(f"{name}: {type(error).__name__}: {error}"[:300]))


def prune_after(
    cluster: Cluster, outcome: rollout.RolloutOutcome, inventory: Inventory | None = None
) -> list[ApplyResult]:
    """Remove pins that no revision needs any more, after a step of a rollout.

    Args:
        cluster: Connection to the site's cluster.
        outcome: Outcome of the step.
        inventory: Inventory of the app since the last deploy; None when the caller hasn't read it. No request is made
            if it lists only one pin, which the newest revision needs.
    """
    single = inventory is not None and len(listed_pins(inventory)) <= 1
    return prune_pins(cluster, outcome.name) if outcome.changed and not single else []
