"""Connects to API servers by kubeconfigs and service accounts; only this module imports the package `kubernetes`.

The official client logs in (certificates, tokens) and sets up connections.
`knative.client.transport` makes the requests. The files are read here, since with 200 contexts the client would parse
them for each site again. Its own call of a login plugin has no time limit, logs a failure and continues without
credentials, so the plugin is run here.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import shlex
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config_from_dict

from eaves import __version__
from eaves.delivery.response_rules import shorten
from eaves.errors import ConfigError, DeniedError
from eaves.http_client.client import HttpClient
from eaves.http_client.proxies import DIRECT, Proxies, parse_bypasses, parse_proxy
from knative.client.transport import ApiConnection

KUBECONFIG = Path("~/.kube/config")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 32
"""Number of open connections that are kept for each cluster."""
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""YAML loader; the C parser, if PyYAML has it, reads 200 contexts in a tenth of the time."""
PLUGIN_S = 120.0
"""Maximum seconds for a login plugin, which may open a browser and wait for the user. One that hangs would else keep
`eaves reconcile --all` from ending."""
_AUTHORITY = "certificate-authority"
_PATHS = (_AUTHORITY, "client-certificate", "client-key", "tokenFile")
_SINGULAR = {"contexts": "context", "clusters": "cluster", "users": "user"}

_log = logging.getLogger(__name__)
_CLIENT = threading.RLock()
"""Lock for the official client's temporary key files: all threads share the files, and the client doesn't lock them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A context of a kubeconfig.

    Attributes:
        files: Path of the kubeconfig, or several paths with `:` between them; the first file that has a value wins.
        name: Name of the context.
        namespace: Namespace of the context; `default` when it has none.
    """

    files: str
    name: str
    namespace: str

    def connect(self) -> ApiConnection:
        """Open a connection with the credentials that the kubeconfig files hold now."""
        configuration = Configuration()
        with _as_faults(self.files):
            config = _load(self.files)
            context = config["contexts"][self.name]
            cluster = config["clusters"].get(str(context.get("cluster")), {})
            user = config["users"].get(str(context.get("user")), {})
            if plugin := user.get("exec"):
                user = run_plugin(self.name, plugin, cluster)
            if "auth-provider" in user:
                raise ConfigException("auth-provider is not supported; use a login plugin (exec)")
            config = {
                "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": self.name}}],
                "clusters": [{"name": self.name, "cluster": cluster}] if cluster else [],
                "users": [{"name": self.name, "user": dict(user)}],
            }
            with _CLIENT:
                load_kube_config_from_dict(
                    config, context=self.name, client_configuration=configuration, persist_config=False
                )
            proxies = _find_proxies(configuration, own=str(cluster.get("proxy-url") or ""))
        return _connection(configuration, proxies, self.files, self.name)


def find_context(kubeconfig: Path | None, name: str) -> Context | None:
    """Find a context by its name, or the current context; return None for the cluster that this process runs in.

    Args:
        kubeconfig: The file, or several with `:` between them; None means kubectl's default file, if it exists.
        name: Name of the context; empty means the current one.
    """
    files = str(kubeconfig or KUBECONFIG.expanduser())
    if not any(path.is_file() for path in _split(files)):
        if kubeconfig is None and not name and (SERVICE_ACCOUNT / "token").is_file():
            return None
        raise ConfigError.single(
            files,
            "",
            "the kubeconfig does not exist",
            hint="get a kubeconfig from the cluster's administrator, and run: export KUBECONFIG=FILE",
        )
    with _as_faults(files):
        config = _load(files)
        contexts, chosen = config["contexts"], name or config["current"]
        if chosen in contexts:
            return Context(files=files, name=chosen, namespace=str(contexts[chosen].get("namespace") or "default"))
    known = sorted(contexts)
    fault = f"the context {chosen!r} does not exist" if chosen else "no current context is set"
    raise ConfigError.single(
        files,
        "contexts",
        f"{fault} (known contexts: {', '.join(known) or 'none'})",
        hint="kubectl config use-context NAME",
    )


def connect_inside() -> ApiConnection:
    """Open a connection with the service account of the pod that this process runs in."""
    configuration = Configuration()
    with _as_faults(str(SERVICE_ACCOUNT)):
        load_incluster_config(configuration)
        proxies = _find_proxies(configuration)
    return _connection(configuration, proxies, str(SERVICE_ACCOUNT), "")


def inside_namespace() -> str:
    """Return the namespace of the pod that this process runs in."""
    return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


def _split(files: str) -> list[Path]:
    """Split a text at `:` into paths, with `~` expanded."""
    return [Path(file).expanduser() for file in files.split(":") if file]


def _load(files: str) -> Mapping[str, Any]:
    """Read kubeconfig files that exist; a file is read again when it has changed.

    Returns:
        The name of the `current` context, and the values of `contexts`, `clusters` and `users` by name.
    """
    stats = ((path, path.stat()) for path in _split(files) if path.exists())
    return _merge(tuple((path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)) for path, stat in stats))


@lru_cache(maxsize=8)
def _merge(files: tuple[tuple[Path, tuple[int, ...]], ...]) -> Mapping[str, Any]:
    """Merge kubeconfig files: of several the first that has a name or a current context wins.

    Relative paths start at the folder of the file that has them. Source: client-go, tools/clientcmd/loader.go.
    """
    merged: dict[str, Any] = {"current": "", **{plural: {} for plural in _SINGULAR}}
    for path, _ in files:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - both loaders are safe
        merged["current"] = merged["current"] or str(config.get("current-context") or "")
        for plural, singular in _SINGULAR.items():
            for entry in config.get(plural) or ():
                merged[plural].setdefault(str(entry["name"]), _absolute(entry[singular] or {}, path.parent.absolute()))
    return merged


def _absolute(value: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return an entry with absolute paths; a command without a `/` is found by the search path."""
    found = {key: str(folder / str(one)) if key in _PATHS and one else one for key, one in value.items()}
    plugin = found.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return found


def run_plugin(
    name: str, plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, timeout_s: float = PLUGIN_S
) -> dict[str, Any]:
    """Run the login plugin of a context's user; return the user with the credential that it printed.

    Source: Kubernetes, client.authentication.k8s.io/v1 (ExecCredential), and client-go, plugin/pkg/client/auth/exec.
    """
    try:
        status = _ask_plugin(plugin, cluster, timeout_s)
        token, certificate = str(status.get("token") or ""), str(status.get("clientCertificateData") or "")
        if not token and not certificate:
            raise ConfigException("the plugin's answer has neither a token nor a certificate with its key")
        if token:
            return {"token": token}
        return {
            "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
            "client-key-data": base64.b64encode(str(status["clientKeyData"]).encode()).decode(),
        }
    except subprocess.TimeoutExpired as error:
        late = ConfigException(f"exec: the plugin did not answer within {timeout_s:g} s")
        raise _cannot_log_in(name, late) from error
    except (ConfigException, OSError, AttributeError, KeyError, TypeError) as error:
        raise _cannot_log_in(name, error) from error


def _ask_plugin(plugin: Mapping[str, Any], cluster: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
    """Return the status that a login plugin prints; at a terminal it may ask the user, and its messages go there."""
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        extensions = {one["name"]: one["extension"] for one in cluster.get("extensions") or ()}
        spec["cluster"] = {key: value for key, value in cluster.items() if key not in {_AUTHORITY, "extensions"}}
        spec["cluster"] |= {"config": extensions.get("client.authentication.k8s.io/exec")}
        if file := cluster.get(_AUTHORITY):
            spec["cluster"][f"{_AUTHORITY}-data"] = base64.b64encode(Path(file).read_bytes()).decode()
    question = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}
    variables = {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    done = subprocess.run(
        [str(plugin["command"]), *map(str, plugin.get("args") or ())],
        env={**os.environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(question)},
        stdin=None if interactive else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if interactive else subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise ConfigException(f"exec: the plugin failed with exit code {done.returncode}. {done.stderr or ''}".strip())
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise ConfigException("exec: failed to decode process output: it is not an ExecCredential") from error
    if answer["apiVersion"] != plugin["apiVersion"]:
        raise ConfigException(f"exec: plugin api version {answer['apiVersion']} does not match {plugin['apiVersion']}")
    return answer["status"] or {}


def _cannot_log_in(name: str, error: Exception) -> DeniedError:
    return DeniedError(
        f"{name}: the login to the cluster failed: {_describe(error)}",
        hint=f"log in again, then check that this command works: kubectl --context {shlex.quote(name)} get namespaces",
    )


@contextmanager
def _as_faults(files: str) -> Iterator[None]:
    """Replace exceptions of the Kubernetes client and the YAML parser about kubeconfig files by a ConfigError."""
    try:
        yield
    except (ConfigException, yaml.YAMLError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        command = (
            f"kubectl --kubeconfig {shlex.quote(files)} config view" if ":" not in files else "kubectl config view"
        )
        raise ConfigError.single(
            files,
            "",
            f"the kubeconfig can't be used: {_describe(error)}",
            hint=f"correct the kubeconfig, then check that this command works: {command}",
        ) from error


def _describe(error: Exception) -> str:
    named = isinstance(error, KeyError | TypeError | AttributeError)
    return shorten(f"{type(error).__name__}: {error}" if named else str(error), 300)


def _find_proxies(configuration: Configuration, *, own: str = "") -> Proxies:
    """Return the proxies that kubectl would use; `own` is the `proxy-url` of the kubeconfig's cluster, or empty.

    Source: client-go, rest.Config.Proxy: a kubeconfig's `proxy-url` is for every host, whatever NO_PROXY says.
    """
    address = own or configuration.proxy
    configuration.proxy = address  # else the client reads the environment again for each request with a token
    if not address:
        return DIRECT
    proxy, bypasses = parse_proxy(address), parse_bypasses(configuration.no_proxy or "")
    return Proxies(https=proxy, http=proxy, bypasses=bypasses, everywhere=bool(own))


def _connection(configuration: Configuration, proxies: Proxies, origin: str, name: str) -> ApiConnection:
    server = str(configuration.host).rstrip("/")
    parts = urlsplit(server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError.single(
            origin,
            "clusters",
            f"the server must be https://HOST[:PORT] (got {server!r})",
            hint="kubectl config set-cluster NAME --server=https://HOST:6443",
        )
    if not configuration.verify_ssl:
        _log.warning("%s: the certificate of %s is not verified (insecure-skip-tls-verify)", name or origin, server)

    def authorize() -> Mapping[str, str]:
        token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"User-Agent": f"eaves/{__version__}"} | ({"Authorization": token} if token else {})

    http = HttpClient(
        proxies=proxies,
        connections=CONNECTIONS,
        tls=cache(lambda: _tls(configuration)),
        server_name=str(configuration.tls_server_name or ""),
    )
    return ApiConnection(http=http, server=server, authorize=authorize)


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """Build a TLS context with the certificate authorities and the client certificate of the client configuration."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    return context
