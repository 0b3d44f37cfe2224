"""The rollouts of a namespace, each advanced by one step, whatever becomes of the others."""

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
from knative.resources.fields.labels import MANAGED_LABEL, MANAGED_VALUE

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

REACH_S = 10.0
"""Seconds in which the API server must answer something small before the next function is tried."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step of the rollout of one function.

    Attributes:
        name: Name of the function.
        outcome: How the rollout stands after the step; None when the step failed.
        error: Why the step failed; None when it didn't.
    """

    name: str
    outcome: rollout.RolloutOutcome | None = None
    error: EavesError | None = None


def advance_all(cluster: Cluster) -> list[RolloutStep]:
    """Advance every rollout of a namespace by one step; the error of one function never stops the others.

    Raises:
        UnreachableClusterError: When the API server answers nothing at all any more.
        ClusterError: When the functions can't be listed.
    """
    services = cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")
    steps = (_advance_one(cluster, str(one["metadata"]["name"])) for one in services)
    return [step for step in steps if step is not None]


def _advance_one(cluster: Cluster, name: str) -> RolloutStep | None:
    """The step of one function; None when the function was removed meanwhile."""
    try:
        outcome = rollout.advance_rollout(cluster, name)
        prune_after(cluster, outcome)
        return RolloutStep(name=name, outcome=outcome)
    except NotFoundError:
        return None
    except UnreachableClusterError as error:
        cluster.reach(REACH_S)  # one function's requests fail, or the API server is gone for all of them
        return RolloutStep(name=name, error=error)
    except EavesError as error:
        return RolloutStep(name=name, error=error)
    except Exception as error:  # noqa: BLE001 - a defect that one function meets must not stop the others' rollouts
        _log.exception("the rollout of %s", name)
        return RolloutStep(name=name, error=EavesError(f"{name}: {type(error).__name__}: {error}"[:300]))


def prune_after(
    cluster: Cluster, outcome: rollout.RolloutOutcome, inventory: Inventory | None = None
) -> list[ApplyResult]:
    """Remove the pins that a rollout's step has left without a revision that needs them.

    Args:
        cluster: Connection to the site's cluster.
        outcome: The step.
        inventory: The app's inventory since the last deploy; of a single pin that it lists, which the newest revision
            needs, nothing is asked. None: it isn't known.
    """
    single = inventory is not None and len(listed_pins(inventory)) <= 1
    return prune_pins(cluster, outcome.name) if outcome.changed and not single else []
