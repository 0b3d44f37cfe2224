"""Checks the versions of Kubernetes, Knative Serving and Knative Eventing, and whether they run.

Source: knative.dev/pkg, version/version.go (DefaultKubernetesMinVersion of Knative 1.23: v1.34.0); the Deployments and
the label app.kubernetes.io/version in Serving's config/core/deployments and Eventing's config/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from knative.client.kinds import BROKER, EVENT_TYPE, JOB_SINK, KSERVICE, SINK_BINDING
from knative.doctor.context import EVENTING_NAMESPACE, SERVING_NAMESPACE, ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok, warning

KUBERNETES = (34, 37)
"""Minor versions of Kubernetes: the oldest that Knative 1.23 supports, and the newest that Eaves was tested with."""
KNATIVE = (21, 23)
_RELEASES = "https://github.com/knative"
_SERVING = ("activator", "autoscaler", "controller", "webhook")
_EVENTING = ("eventing-controller", "eventing-webhook")
_VERSION_LABEL = "app.kubernetes.io/version"


def check_server(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the version of Kubernetes."""
    version = subject.cluster.version()
    found = re.match(r"v?1\.(\d+)", version)
    where = f"the API server of {subject.cluster.name} is Kubernetes {version}"
    lowest, highest = KUBERNETES
    if found is None:
        yield note("server", f"{where}, a version number that Eaves can't parse")
    elif int(found[1]) < lowest:
        yield warning(
            "server",
            f"{where}; Knative 1.23 needs at least 1.{lowest}",
            f"upgrade Kubernetes to 1.{lowest} or newer",
        )
    elif int(found[1]) > highest:
        yield note("server", f"{where}, newer than 1.{highest}, the newest version that Eaves was tested with")
    else:
        yield ok("server", where)


def check_serving(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that Knative Serving is installed and runs, and compare its version with the tested versions."""
    install = _install("serving", "serving-crds.yaml", "serving-core.yaml")
    if not subject.cluster.serves(KSERVICE.api_version):
        yield error("serving", "Knative Serving is not installed in this cluster", install)
        return
    yield from _check_part("serving", subject.deployments(SERVING_NAMESPACE), _SERVING, SERVING_NAMESPACE, install)
    scaler = subject.config("config-autoscaler")
    if str(scaler.get("enable-scale-to-zero", "true")).lower() == "false":
        yield note(
            "serving",
            "scaling to zero is disabled in this cluster (config-autoscaler, enable-scale-to-zero): the function "
            "always runs",
            f"kubectl -n {SERVING_NAMESPACE} patch configmap config-autoscaler --type merge "
            '-p \'{"data":{"enable-scale-to-zero":"true"}}\'',
        )


def check_eventing(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that Knative Eventing and its components that the app needs are installed, and that they run."""
    install = _install("eventing", "eventing-crds.yaml", "eventing-core.yaml", "in-memory-channel.yaml")
    install += f" && kubectl apply -f {_release('eventing')}/mt-channel-broker.yaml"
    if not subject.cluster.serves(BROKER.api_version):
        yield error(
            "eventing", "Knative Eventing is not installed in this cluster: no event reaches the function", install
        )
        return
    yield from _check_part("eventing", subject.deployments(EVENTING_NAMESPACE), _EVENTING, EVENTING_NAMESPACE, install)
    for kind in (EVENT_TYPE, SINK_BINDING):
        if not subject.cluster.serves(kind.api_version):
            yield error(
                "eventing",
                f"this cluster does not have {kind.kind} {kind.api_version}: its Knative Eventing is too old",
                install,
            )
    training = bool(subject.settings.trainer_image)
    if subject.cluster.serves(JOB_SINK.api_version):
        yield ok("eventing", "JobSink is installed: events can start trainings")
    elif training:
        yield warning("eventing", "JobSink is not installed in this cluster: events can't start trainings", install)
    else:
        yield note(
            "eventing",
            "JobSink is not installed in this cluster; only trainings that are started by events need it",
            install,
        )


def _check_part(
    check: str, deployments: Sequence[dict[str, Any]], wanted: Sequence[str], namespace: str, install: str
) -> Iterator[DoctorFinding]:
    there = {one["metadata"]["name"]: one for one in deployments}
    missing = [name for name in wanted if name not in there]
    if missing:
        yield error(check, f"the CRDs are installed, but {', '.join(missing)} in {namespace} is missing", install)
        return
    down = [name for name in wanted if not (there[name].get("status") or {}).get("availableReplicas")]
    if down:
        yield error(check, f"{', '.join(down)} in {namespace} does not run", f"kubectl -n {namespace} get pods")
    versions = {str((there[name]["metadata"].get("labels") or {}).get(_VERSION_LABEL, "")) for name in wanted}
    version = " and ".join(sorted(versions - {""})) or "unknown"
    known = re.fullmatch(r"v?1\.(\d+)(\.\d+)?", version)
    installed = f"Knative {check.capitalize()} {version}"
    if known is None:
        yield note(
            check,
            f"{installed}: its parts don't have one common version; Eaves was tested with 1.{KNATIVE[0]} to "
            f"1.{KNATIVE[1]}",
        )
    elif not KNATIVE[0] <= int(known[1]) <= KNATIVE[1]:
        yield note(check, f"{installed}; Eaves was tested with 1.{KNATIVE[0]} to 1.{KNATIVE[1]}")
    elif not down:
        yield ok(check, installed)


def _release(repository: str) -> str:
    return f"{_RELEASES}/{repository}/releases/download/knative-v1.{KNATIVE[1]}.0"


def _install(repository: str, *files: str) -> str:
    return " && ".join(f"kubectl apply -f {_release(repository)}/{file}" for file in files)
