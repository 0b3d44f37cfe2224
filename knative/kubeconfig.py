"""Kubeconfigs and service accounts: which API server, and as whom. The one importer of `kubernetes`.

The official client reads them (login plugins, certificates, tokens, proxies) and sets up the connections; requests are
`knative.transport`'s.
"""

from __future__ import annotations

import difflib
import logging
import queue
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_incluster_config
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger, parse_rfc3339
from oauthlib.oauth2 import OAuth2Error
from urllib3.exceptions import InsecureRequestWarning

from eaves import __version__
from eaves.delivery.rules import brief
from eaves.errors import ConfigError, DeniedError, Fault
from eaves.http_client.proxies import Proxies, Proxy, parse_bypasses, parse_proxy
from knative.transport import Connection

KUBECONFIG = Path("~/.kube/config")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGIN_TIMEOUT_S = 120.0
"""A login plugin may open a browser and wait for somebody."""
CONNECTIONS = 32
"""Kept for each cluster; urllib3 logs a warning for each above them."""

_log = logging.getLogger(__name__)
_FILES = threading.RLock()
"""The client's temporary files, where it puts keys, and the kubeconfigs that were read are one for all threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One context of a kubeconfig.

    Attributes:
        files: The kubeconfig, or several with `:` between them, of which the first that says something wins.
        name: Of the context.
        namespace: Its own; `default` without one.
    """

    files: str
    name: str
    namespace: str

    def connect(self) -> Connection:
        """A connection with credentials as the files have them now.

        Raises:
            ConfigError: When the files don't say how.
            DeniedError: When a login plugin fails.
        """
        configuration = _configuration()
        with _as_faults(self.files):
            with _FILES:
                merger = _read(self.files)
            loader = _Loader(
                config_dict=merger.config,
                active_context=self.name,
                config_base_path=None,  # paths are relative to the file that has them
                config_persister=merger.save_changes,
            )
            loader.load_and_set(configuration)
        _choose_proxy(configuration, own=getattr(loader, "proxy", None) or "")
        return _connection(configuration, self.files, self.name)


def find_context(kubeconfig: Path | None, name: str) -> Context | None:
    """A context by its name, or the current one; None when the cluster that this runs in is meant.

    Args:
        kubeconfig: The file, or several with `:` between them; None: kubectl's own, when it is there.
        name: Empty: the current one.

    Raises:
        ConfigError: When there is no usable kubeconfig, or no such context.
    """
    files = str(kubeconfig or KUBECONFIG.expanduser())
    if not any(Path(file).expanduser().is_file() for file in files.split(":") if file):
        if kubeconfig is None and not name and (SERVICE_ACCOUNT / "token").is_file():
            return None
        raise ConfigError(
            [Fault(origin=files, path="", message="no such kubeconfig")],
            hint="export KUBECONFIG=FILE, with the file that whoever runs the cluster gave you",
        )
    with _FILES, _as_faults(files):
        config = _read(files).config
        contexts = {str(one["name"]): one["context"] for one in config["contexts"].value}
        chosen = name or str(config.safe_get("current-context") or "")
        if chosen in contexts:
            return Context(files=files, name=chosen, namespace=contexts[chosen].safe_get("namespace") or "default")
    known = sorted(contexts)
    fault = f"there is no context {chosen!r}" if chosen else "no context is the current one"
    example = difflib.get_close_matches(chosen, known, n=1) or known or ["NAME"]
    raise ConfigError(
        [Fault(origin=files, path="contexts", message=f"{fault} (there is: {', '.join(known) or 'none'})")],
        hint=f"kubectl config use-context {shlex.quote(example[0])}",
    )


def connect_inside() -> Connection:
    """A connection by the service account of the pod that this runs in.

    Raises:
        ConfigError: When it isn't mounted.
    """
    configuration = _configuration()
    with _as_faults(str(SERVICE_ACCOUNT)):
        load_incluster_config(configuration)
    _choose_proxy(configuration)
    return _connection(configuration, str(SERVICE_ACCOUNT), "")


def inside_namespace() -> str:
    """The namespace of the pod that this runs in."""
    return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


class _Loader(KubeConfigLoader):  # type: ignore[misc]
    """The client's own, but for login plugins: it logs their failures to the root logger and goes on without."""

    def _load_from_exec_plugin(self) -> bool | None:
        if "exec" not in self._user:
            return None
        base = self._get_base_path(self._cluster.path)
        status = _within(PLUGIN_TIMEOUT_S, ExecProvider(self._user["exec"], base, self._cluster).run)
        if "token" in status:
            self.token = f"Bearer {status['token']}"
        elif "clientCertificateData" in status and "clientKeyData" in status:
            with _FILES:
                self.cert_file, self.key_file = (
                    FileOrData(status, None, data_key_name=name, base64_file_content=False).as_file()
                    for name in ("clientCertificateData", "clientKeyData")
                )
        else:
            raise ConfigException("exec: the plugin gave neither a token nor a certificate with its key")
        if "expirationTimestamp" in status:
            self.expiry = parse_rfc3339(status["expirationTimestamp"])
        return True

    def _load_authentication(self) -> None:
        name = str(self.current_context["name"])
        try:
            super()._load_authentication()
        except (ConfigException, OAuth2Error, OSError, KeyError, TypeError, ValueError) as error:
            raise DeniedError(
                f"{name}: can't log in: {_said(error)}",
                hint=f"log in again, until this works: kubectl --context {shlex.quote(name)} get namespaces",
            ) from error

    def _load_cluster_info(self) -> None:
        with _FILES:
            super()._load_cluster_info()


def _within(timeout_s: float, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a login plugin says, unless it takes too long; the client itself waits for ever."""
    told: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()

    def tell() -> None:
        try:
            told.put(run())
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            told.put(error)

    threading.Thread(target=tell, name="login plugin", daemon=True).start()
    try:
        value = told.get(timeout=timeout_s)
    except queue.Empty:
        raise ConfigException(f"exec: the plugin gave nothing within {timeout_s:g} s") from None
    if isinstance(value, Exception):
        raise value
    return value


def _read(files: str) -> KubeConfigMerger:
    """What files say; read again when they have changed. Not safe to use from many threads."""
    paths = [Path(file).expanduser() for file in files.split(":") if file]
    stats = [path.stat() if path.exists() else None for path in paths]
    return _parse(files, tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None for stat in stats))


@lru_cache(maxsize=8)  # one with 200 contexts takes most of a second
def _parse(files: str, _: tuple[tuple[int, int, int] | None, ...]) -> KubeConfigMerger:
    merger = KubeConfigMerger(files)
    if merger.config is None:
        raise ConfigException("no configuration found")
    return merger


@contextmanager
def _as_faults(files: str) -> Iterator[None]:
    """What the client finds wrong with files, as ours."""
    try:
        yield
    except (ConfigException, yaml.YAMLError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        command = (
            f"kubectl --kubeconfig {shlex.quote(files)} config view" if ":" not in files else "kubectl config view"
        )
        raise ConfigError(
            [Fault(origin=files, path="", message=f"not a usable kubeconfig: {_said(error)}")],
            hint=f"mend it, until this works: {command}",
        ) from error


def _said(error: Exception) -> str:
    """An exception's text, without what the client prints of the file: there are tokens in it."""
    text = (
        f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError | AttributeError) else str(error)
    )
    return brief(re.sub(r"/?\{.*\}", "", text, flags=re.DOTALL), 300)


def _configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = False
    configuration.keep_alive = True  # a watch over a link that is gone must end
    configuration.connection_pool_maxsize = CONNECTIONS
    return configuration


def _choose_proxy(configuration: Configuration, *, own: str = "") -> None:
    """Set the proxy that kubectl would use; the client itself has read the environment.

    The client would send requests for loopback to the proxy too, and no user name and password with any.

    Source: client-go, rest.Config.Proxy: a kubeconfig's `proxy-url` is for every host, whatever NO_PROXY says.

    Args:
        configuration: Whose server is known.
        own: The `proxy-url` of the kubeconfig's cluster; empty when it has none.
    """
    if own:
        configuration.no_proxy = None
    address = own or configuration.proxy
    if not address:
        return
    try:
        proxy: Proxy | None = parse_proxy(address)
    except ValueError:
        return  # socks5://, for one, which the client can do with another package
    if not own:
        bypasses = parse_bypasses(configuration.no_proxy or "")
        proxy = Proxies(https=proxy, http=proxy, bypasses=bypasses).find(str(configuration.host))
    configuration.proxy = proxy.url if proxy else None
    configuration.proxy_headers = proxy.headers if proxy else None


def _connection(configuration: Configuration, origin: str, name: str) -> Connection:
    server = str(configuration.host).rstrip("/")
    parts = urlsplit(server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fault = Fault(origin=origin, path="clusters", message=f"server must be https://HOST[:PORT] (got {server!r})")
        raise ConfigError([fault], hint="kubectl config set-cluster NAME --server=https://HOST:6443")
    if not configuration.verify_ssl:
        _log.warning("%s: nobody checks that %s is who it says (insecure-skip-tls-verify)", name or origin, server)
        urllib3.disable_warnings(InsecureRequestWarning)  # said once, above; urllib3 would with every request
    client = ApiClient(configuration)
    client.user_agent = f"eaves/{__version__}"

    def authorize() -> dict[str, str]:
        headers = dict(client.default_headers)
        client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers

    return Connection(pool=client.rest_client.pool_manager, server=server, authorize=authorize)
