"""The runner of all checks of a site. When one can't run, that is a finding, and the others run all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from eaves.errors import ClusterError, DeniedError, UnreachableClusterError
from eaves.platform.findings import Finding, error, note
from knative.client.cluster import Cluster
from knative.doctor.app_checks import (
    check_admission,
    check_broker,
    check_images,
    check_permissions,
    check_settings,
    check_triggers,
)
from knative.doctor.cluster_checks import (
    ExaminedSite,
    check_dns,
    check_eventing,
    check_network,
    check_nodes,
    check_server,
    check_serving,
)
from knative.settings import ClusterApp

CHECKS: tuple[Callable[[ExaminedSite], Iterator[Finding]], ...] = (
    check_serving,
    check_eventing,
    check_network,
    check_dns,
    check_settings,
    check_admission,
    check_nodes,
    check_permissions,
    check_images,
    check_broker,
    check_triggers,
)
"""Every check that runs after the check of the API server, in order; findings have the check's name."""


def name_of(check: Callable[[ExaminedSite], Iterator[Finding]]) -> str:
    """Return the name of a check."""
    return check.__name__.removeprefix("check_")


def examine(cluster: Cluster, app: ClusterApp, **options: Any) -> list[Finding]:
    """Run every check for an app at its site; `options` are further attributes of `ExaminedSite`.

    Nothing is changed.

    Returns:
        Findings, good and bad, in the order of the checks.

    Raises:
        UnreachableClusterError: When the cluster doesn't answer the first request. If it stops answering later, that is
            a finding.
        ClusterError: When the cluster refuses to return its version.
    """
    subject = ExaminedSite(cluster=cluster, app=app, **options)
    findings = list(check_server(subject))
    for check in CHECKS:
        name = name_of(check)
        try:
            findings += check(subject)
        except DeniedError as denied:
            findings.append(note(name, f"this check is not permitted: {denied.message}", denied.hint or ""))
        except UnreachableClusterError as lost:
            findings.append(error(name, f"the cluster stopped answering: {lost.message}", lost.hint or "eaves doctor"))
            break
        except ClusterError as failed:
            findings.append(error(name, f"this check failed: {failed.message}", failed.hint or "eaves doctor"))
    return findings
