"""Checks whether container images can be pulled, as far as that can be seen from outside the cluster.

Nodes and Knative's controller pull from their own network, so a test from this machine proves nothing. The checks
report the results of pulls that the nodes and the controller have tried before.

Source: Knative Serving, pkg/reconciler/revision/resolve.go: a reference by digest is not looked up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference
from knative.client.kinds import POD, REVISION, SECRET
from knative.diagnosis.evidence import condition, containers
from knative.diagnosis.image_pulls import REASONS, ImagePull, explain_pull
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok, warning

_DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"


def check_registry(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check the registry of the function's container image."""
    image = subject.image
    if not image:
        yield note(
            "registry",
            "eaves.yaml names no container image yet, so its registry can't be checked",
            "eaves package ARTIFACT -t REFERENCE --base BASE, then set knative.image in eaves.yaml to the printed name",
        )
        return
    host = _host(image)
    skipped = {
        one.strip()
        for one in subject.config("config-deployment").get("registries-skipping-tag-resolving", "").split(",")
    }
    why = (
        "the container image is named by digest"
        if "@sha256:" in image
        else (f"registries-skipping-tag-resolving has {host}")
    )
    if "@sha256:" in image or host in skipped:
        yield ok("registry", f"Knative's controller does not need the registry {host} for {image}: {why}")
    else:
        yield note(
            "registry", f"Knative's controller must reach the registry {host}, which can't be checked from this machine"
        )
    failures = dict(_failures(subject, host))
    for message, fix in failures.items():
        yield warning("registry", f"in {subject.namespace}, {message}", fix)
    if not failures:
        seen = (
            "a pod in the namespace runs a container image of this registry"
            if _runs(subject, host)
            else ("no pod in the namespace has pulled from it yet")
        )
        yield note("registry", f"whether the nodes reach {host} can't be checked from this machine; {seen}")


def _failures(subject: ExaminedSite, host: str) -> Iterator[tuple[str, str]]:
    """Yield (message, fix) for each pod and revision that could not pull a container image from the registry `host`."""
    for pod in subject.cluster.list(POD, namespace=subject.namespace):
        for status in containers(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in REASONS and _host(str(status.get("image", ""))) == host:
                node = str(pod.get("spec", {}).get("nodeName", ""))
                found = explain_pull(_pull(subject, str(status["image"]), waiting, node=node))
                yield found.message, found.fix
    for revision in subject.cluster.list(REVISION, namespace=subject.namespace):
        state = condition(revision, "ContainerHealthy")
        wanted: list[dict[str, Any]] = revision.get("spec", {}).get("containers", [])
        image = str(wanted[0].get("image", "")) if wanted else ""
        if state.get("reason") == "ContainerMissing" and _host(image) == host:
            found = explain_pull(_pull(subject, image, state))
            yield found.message, found.fix


def _pull(subject: ExaminedSite, image: str, state: Mapping[str, Any], *, node: str = "") -> ImagePull:
    secret = subject.settings.pull_secret
    return ImagePull(
        image=image,
        reason=str(state.get("reason", "")),
        message=str(state.get("message", "")),
        namespace=subject.namespace,
        secrets=[secret] if secret else [],
        node=node,
    )


def _runs(subject: ExaminedSite, host: str) -> bool:
    """Return whether a pod of the namespace runs a container image from the registry `host`.

    When a node pulled a container image by digest, its name is in the status field `imageID`, and `image` is only a
    digest. With Docker, `imageID` begins with a scheme.
    """
    pods = subject.cluster.list(POD, namespace=subject.namespace)
    return any(
        status.get("imageID")
        and host in (_host(str(status.get("image", ""))), _host(str(status["imageID"]).rpartition("://")[2]))
        for pod in pods
        for status in containers(pod)
    )


def check_pull_secret(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that the pull secret exists and has an entry for the registry.

    Only the names of registries are read from it.
    """
    name = subject.settings.pull_secret
    if not name:
        return
    for namespace in sorted({made.namespace for made in subject.pods()} or {subject.namespace}):
        secret = subject.cluster.get(SECRET, name, namespace=namespace)
        create = (
            f"kubectl -n {namespace} create secret docker-registry {name} "
            f"--docker-server={_host(subject.image)} "
            "--docker-username=USER --docker-password=PASSWORD"
        )
        if secret is None:
            yield error("pull-secret", f"the Secret {name} (knative.pull_secret) does not exist in {namespace}", create)
            continue
        if secret.get("type") != _DOCKER_CONFIG:
            yield error(
                "pull-secret",
                f"the Secret {name} in {namespace} has the type {secret.get('type')} instead of {_DOCKER_CONFIG}",
                f"kubectl -n {namespace} delete secret {name} && {create}",
            )
            continue
        yield _check_hosts(subject, name, namespace, _hosts(secret))


def _check_hosts(subject: ExaminedSite, name: str, namespace: str, hosts: set[str]) -> DoctorFinding:
    host = _host(subject.image)
    if host and host not in hosts:
        known = ", ".join(sorted(hosts)) or "none"
        return warning(
            "pull-secret",
            f"the Secret {name} in {namespace} has no entry for {host} (it has {known})",
            f"kubectl -n {namespace} create secret docker-registry OTHER --docker-server={host} --docker-username=USER "
            "--docker-password=PASSWORD, then set knative.pull_secret in eaves.yaml to OTHER",
        )
    return ok("pull-secret", f"the Secret {name} exists in {namespace} and has an entry for the registry")


def _hosts(secret: Mapping[str, Any]) -> set[str]:
    try:
        config = json.loads(base64.b64decode((secret.get("data") or {}).get(".dockerconfigjson", "")))
        return {_server(str(server)) for server in config["auths"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _server(text: str) -> str:
    """Return the host of a registry from an entry of Docker's configuration, such as `https://index.docker.io/v1/`."""
    host = text.partition("://")[2] or text
    return _host(f"{host.partition('/')[0]}/x")


def _host(image: str) -> str:
    if not image:
        return ""
    try:
        return parse_reference(image).host
    except OciError:
        return image.partition("/")[0]
