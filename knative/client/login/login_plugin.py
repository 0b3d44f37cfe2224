"""Login plugins: the program that a kubeconfig's user names under `exec`, which prints a token or a certificate.

The official client runs it without a time limit, logs a failure to the root logger and goes on without credentials; so
it is run here, and the client gets what it printed.

Source: Kubernetes, client.authentication.k8s.io/v1 (ExecCredential), and client-go, plugin/pkg/client/auth/exec.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0
"""A login plugin may open a browser and wait for somebody."""
_EARLY_S = 60.0
"""A token is renewed this long before it runs out, so that it is still valid when its request arrives."""
_EXTENSION = "client.authentication.k8s.io/exec"


class PluginError(Exception):
    """A login plugin gave no credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCredential:
    """What a login plugin printed.

    Attributes:
        token: Bearer token; empty when it gave a certificate.
        certificate: Client certificate, PEM; empty when it gave a token.
        key: Private key of the certificate, PEM.
        expires_at: When it runs out, Unix seconds; None when it doesn't say.
    """

    token: str = field(default="", repr=False)
    certificate: str = ""
    key: str = field(default="", repr=False)
    expires_at: float | None = None

    @property
    def stale(self) -> bool:
        """Whether it has to be renewed."""
        return self.expires_at is not None and time.time() > self.expires_at - _EARLY_S

    def as_user(self) -> dict[str, str]:
        """The `user` of a kubeconfig that has this credential written into it."""
        user = {"token": self.token} if self.token else {}
        if self.certificate:
            user["client-certificate-data"] = base64.b64encode(self.certificate.encode()).decode()
            user["client-key-data"] = base64.b64encode(self.key.encode()).decode()
        return user


def run_plugin(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S
) -> PluginCredential:
    """Run a login plugin; it is killed when it takes too long.

    Args:
        plugin: The `exec` of the kubeconfig's user.
        cluster: The kubeconfig's cluster, which a plugin with `provideClusterInfo` is told.
        timeout_s: Most seconds it may take.

    Raises:
        PluginError: When it can't be run, fails, takes too long, or prints something else than a credential.
    """
    for key in ("command", "apiVersion"):
        if not plugin.get(key):
            raise PluginError(f"exec: the kubeconfig's user has no {key}")
    version = str(plugin["apiVersion"])
    # A plugin that may ask gets the terminal, and its prompts go there instead of into an error message.
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()
    variables = {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    variables["KUBERNETES_EXEC_INFO"] = json.dumps(_question(plugin, cluster, version, interactive))
    words = [str(plugin["command"]), *map(str, plugin.get("args") or ())]
    return _parse(_output(words, variables, interactive, timeout_s), version)


def _output(words: list[str], variables: Mapping[str, str], interactive: bool, timeout_s: float) -> str:
    """What the plugin prints."""
    try:
        process = _start(words, variables, interactive)
    except OSError as error:
        raise PluginError(f"exec: {error}") from error
    with process:
        try:
            printed, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise PluginError(f"exec: the plugin gave nothing within {timeout_s:g} s") from None
        finally:
            process.kill()
    if process.returncode:
        raise PluginError(f"exec: the plugin ended with code {process.returncode}. {said or ''}".strip())
    return printed


def _start(words: list[str], variables: Mapping[str, str], interactive: bool) -> subprocess.Popen[str]:
    """Start it with its variables added to this process's environment, of which it needs the rest (PATH, HOME).

    Variables may be secrets, and every user of the machine may read the arguments of a process.
    """
    return subprocess.Popen(
        words,
        env={**os.environ, **variables},
        stdin=None if interactive else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if interactive else subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _question(plugin: Mapping[str, Any], cluster: Mapping[str, Any], version: str, interactive: bool) -> dict[str, Any]:
    """What the plugin is told: how it may ask, and for which cluster it logs in, where it wants to know."""
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        told = {key: value for key, value in cluster.items() if key not in {"certificate-authority", "extensions"}}
        if authority := cluster.get("certificate-authority"):
            told["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == _EXTENSION:
                told["config"] = extension.get("extension")
        spec["cluster"] = told
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _parse(printed: str, version: str) -> PluginCredential:
    try:
        value = json.loads(printed)
        status, answered = value["status"] or {}, value["apiVersion"]
        if not isinstance(status, dict):
            raise TypeError("its status is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise PluginError("exec: failed to decode process output: it is no ExecCredential") from error
    if answered != version:
        raise PluginError(f"exec: the plugin answers in version {answered}, not in {version}")
    token, certificate, key = (
        str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if not token and not (certificate and key):
        raise PluginError("exec: the plugin gave neither a token nor a certificate with its key")
    expiry = status.get("expirationTimestamp")
    try:
        expires_at = datetime.fromisoformat(str(expiry)).timestamp() if expiry else None
    except ValueError as error:
        raise PluginError(f"exec: the plugin's expirationTimestamp is no time (got {expiry!r})") from error
    return PluginCredential(token=token, certificate=certificate, key=key, expires_at=expires_at)
