"""Login plugins: programs that a kubeconfig's user names under `exec`, which print a token or a certificate.

The official client runs a plugin without a time limit, logs a failure to the root logger and continues without
credentials. So the plugin is run here, and the client gets the credential that it printed.

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
"""Maximum seconds for a login plugin, which may open a browser and wait for the user."""
_EARLY_S = 60.0
"""Seconds before a token expires at which it is renewed, so that it is still valid when a request with it arrives."""
_EXTENSION = "client.authentication.k8s.io/exec"


class PluginError(Exception):
    """Error of a login plugin that gave no credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCredential:
    """A credential that a login plugin printed.

    Attributes:
        token: Bearer token; empty when the plugin gave a certificate.
        certificate: Client certificate, PEM; empty when the plugin gave a token.
        key: Private key of the certificate, PEM.
        expires_at: Time of expiry, Unix seconds; None when the plugin names no time.
    """

    token: str = field(default="", repr=False)
    certificate: str = ""
    key: str = field(default="", repr=False)
    expires_at: float | None = None

    @property
    def stale(self) -> bool:
        """Whether the credential must be renewed."""
        return self.expires_at is not None and time.time() > self.expires_at - _EARLY_S

    def as_user(self) -> dict[str, str]:
        """Return the `user` of a kubeconfig with this credential in it."""
        user = {"token": self.token} if self.token else {}
        if self.certificate:
            user["client-certificate-data"] = base64.b64encode(self.certificate.encode()).decode()
            user["client-key-data"] = base64.b64encode(self.key.encode()).decode()
        return user


def run_plugin(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S
) -> PluginCredential:
    """Run a login plugin; it is killed when it exceeds the time limit.

    Args:
        plugin: The `exec` of the kubeconfig's user.
        cluster: The kubeconfig's cluster, which a plugin with `provideClusterInfo` gets.
        timeout_s: Maximum seconds for the plugin.

    Raises:
        PluginError: When the plugin can't be run, fails, exceeds the time limit, or prints no credential.
    """
    for key in ("command", "apiVersion"):
        if not plugin.get(key):
            raise PluginError(f"exec: the plugin of the kubeconfig's user has no {key}")
    version = str(plugin["apiVersion"])
    # An interactive plugin gets the terminal, so that its prompts go there and not into an error message.
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()
    variables = {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    variables["KUBERNETES_EXEC_INFO"] = json.dumps(_question(plugin, cluster, version, interactive))
    words = [str(plugin["command"]), *map(str, plugin.get("args") or ())]
    return _parse(_output(words, variables, interactive, timeout_s), version)


def _output(words: list[str], variables: Mapping[str, str], interactive: bool, timeout_s: float) -> str:
    """Run a login plugin and return its standard output; kill it at the time limit."""
    try:
        process = _start(words, variables, interactive)
    except OSError as error:
        raise PluginError(f"exec: {error}") from error
    with process:
        try:
            printed, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise PluginError(f"exec: the plugin did not answer within {timeout_s:g} s") from None
        finally:
            process.kill()
    if process.returncode:
        raise PluginError(f"exec: the plugin failed with exit code {process.returncode}. {stderr or ''}".strip())
    return printed


def _start(words: list[str], variables: Mapping[str, str], interactive: bool) -> subprocess.Popen[str]:
    """Start a login plugin with the environment of this process, such as PATH and HOME, and the plugin's own variables.

    The plugin's variables may be secrets. So they are not passed as arguments, which every user of the machine can
    read.
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
    """Build the JSON that a login plugin gets: whether it may prompt, and the cluster if the plugin asks for it."""
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        info = {key: value for key, value in cluster.items() if key not in {"certificate-authority", "extensions"}}
        if authority := cluster.get("certificate-authority"):
            info["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == _EXTENSION:
                info["config"] = extension.get("extension")
        spec["cluster"] = info
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _parse(printed: str, version: str) -> PluginCredential:
    try:
        value = json.loads(printed)
        status, answered = value["status"] or {}, value["apiVersion"]
        if not isinstance(status, dict):
            raise TypeError("the status is not an object")
    except (ValueError, KeyError, TypeError) as error:
        raise PluginError("exec: failed to decode process output: it is not an ExecCredential") from error
    if answered != version:
        raise PluginError(f"exec: the plugin answered in the version {answered} instead of {version}")
    token, certificate, key = (
        str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if not token and not (certificate and key):
        raise PluginError("exec: the plugin's answer has neither a token nor a certificate with its key")
    expiry = status.get("expirationTimestamp")
    try:
        expires_at = datetime.fromisoformat(str(expiry)).timestamp() if expiry else None
    except ValueError as error:
        raise PluginError(f"exec: the plugin's expirationTimestamp is not a time (got {expiry!r})") from error
    return PluginCredential(token=token, certificate=certificate, key=key, expires_at=expires_at)
