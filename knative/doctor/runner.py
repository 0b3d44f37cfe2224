"""The runner of all checks. When one check can't run, the other checks run all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eaves.errors import ClusterError, DeniedError, UnreachableClusterError
from knative.doctor.cluster.container_images import check_pull_secret, check_registry
from knative.doctor.cluster.control_plane import check_clock, check_link, check_node_clocks
from knative.doctor.cluster.dns import check_dns
from knative.doctor.cluster.features import check_features
from knative.doctor.cluster.networking_layer import check_network
from knative.doctor.cluster.nodes import check_nodes
from knative.doctor.cluster.versions import check_eventing, check_server, check_serving
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok
from knative.doctor.namespace.events import check_binding, check_broker, check_triggers
from knative.doctor.namespace.metrics import check_metrics
from knative.doctor.namespace.namespace_limits import check_namespace, check_quota, check_storage
from knative.doctor.namespace.permissions import check_permissions
from knative.doctor.namespace.reachability import check_reachability
from knative.doctor.namespace.secrets import check_credentials
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Check = Callable[[ExaminedSite], Iterator[DoctorFinding]]


def check_settings(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check whether eaves.yaml has every setting that a cluster needs."""
    for fault in subject.faults:
        yield error("settings", f"{fault.path}: {fault.message}", f"set {fault.path} in {fault.origin}")
    if not subject.faults:
        yield ok("settings", f"eaves.yaml has every setting that {subject.site.name or 'the site'} needs")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("clock", check_clock),
    ("serving", check_serving),
    ("eventing", check_eventing),
    ("network", check_network),
    ("dns", check_dns),
    ("settings", check_settings),
    ("features", check_features),
    ("nodes", check_nodes),
    ("clock", check_node_clocks),
    ("link", check_link),
    ("namespace", check_namespace),
    ("quota", check_quota),
    ("storage", check_storage),
    ("permissions", check_permissions),
    ("registry", check_registry),
    ("pull-secret", check_pull_secret),
    ("broker", check_broker),
    ("triggers", check_triggers),
    ("agents", check_binding),
    ("credentials", check_credentials),
    ("metrics", check_metrics),
    ("reachability", check_reachability),
)
"""Every check that runs after the check of the API server, with its name, in order."""


def examine(
    cluster: Cluster,
    app: ClusterApp,
    settings: KnativeSettings,
    site: SiteSettings,
    *,
    clock: Callable[[], float] = time.time,
    may_probe: bool = True,
    probe_wait_s: float = 60.0,
    trains_in: str = "",
) -> list[DoctorFinding]:
    """Run every check for an app at a site.

    Nothing is changed, except that a pod is created for some seconds to try the addresses of sources and triggers.

    Args:
        cluster: Connection to the site's cluster.
        app: The app that would be deployed; its function may have no container image yet.
        settings: Settings of the app's objects on the cluster.
        site: The site.
        clock: Function that returns this machine's Unix time in seconds.
        may_probe: Whether the reachability pod may be created, which tries the app's addresses.
        probe_wait_s: Maximum seconds to wait for the reachability pod.
        trains_in: Namespace of this cluster where trainings run; empty when none run in it.

    Returns:
        Findings, good and bad, in the order of the checks.

    Raises:
        UnreachableClusterError: When the cluster doesn't answer the first request. If it stops answering later, that is
            a finding.
        ClusterError: When the cluster refuses to return its version.
    """
    subject = ExaminedSite(
        cluster, app, settings, site, clock=clock, may_probe=may_probe, probe_wait_s=probe_wait_s, trains_in=trains_in
    )
    findings = list(check_server(subject))
    for name, check in CHECKS:
        try:
            findings += list(check(subject))
        except DeniedError as denied:
            findings.append(
                note(name, f"this check is not permitted: {denied.message}", denied.hint or _ask_admin(subject))
            )
        except UnreachableClusterError as lost:
            findings.append(error(name, f"the cluster stopped answering: {lost.message}", lost.hint or "eaves doctor"))
            break
        except ClusterError as failed:
            findings.append(error(name, f"this check failed: {failed.message}", failed.hint or "eaves doctor"))
    return findings


def _ask_admin(subject: ExaminedSite) -> str:
    return (
        "ask the cluster's administrator for the permission; this command lists yours: kubectl --context "
        f"{subject.cluster.name} auth can-i --list"
    )
