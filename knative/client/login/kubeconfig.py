"""Connects to API servers by kubeconfigs and service accounts; only this module imports the package `kubernetes`.

The official client logs in (certificates, tokens, auth providers) and sets up connections; only its documented
functions are used. `knative.client.transport` makes the requests. `knative.client` reads the files and runs login
plugins.
"""

from __future__ import annotations

import difflib
import logging
import re
import shlex
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config, load_kube_config_from_dict
from oauthlib.oauth2 import OAuth2Error
from urllib3.exceptions import InsecureRequestWarning

from eaves import __version__
from eaves.delivery.response_rules import shorten
from eaves.errors import ConfigError, DeniedError, Fault
from eaves.http_client.proxies import Proxies, Proxy, parse_bypasses, parse_proxy
from knative.client.login.kubeconfig_files import ContextEntry, load_kubeconfig, split_paths
from knative.client.login.login_plugin import PluginCredential, PluginError, run_plugin
from knative.client.transport import ApiConnection

KUBECONFIG = Path("~/.kube/config")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 32
"""Number of open connections that are kept for each cluster; urllib3 logs a warning when more are used."""

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
        """Open a connection with the credentials that the kubeconfig files hold now.

        Raises:
            ConfigError: When the files lack a value that a connection needs.
            DeniedError: When a login plugin fails.
        """
        configuration = _configuration()
        with _as_faults(self.files):
            entry = load_kubeconfig(self.files).resolve(self.name)
            credential = _log_in(entry)
            with _CLIENT:
                _configure(configuration, entry, self.files, credential)
        _choose_proxy(configuration, own=str(entry.cluster.get("proxy-url") or ""))
        renew = (lambda: _log_in(entry)) if credential else None
        return _connection(configuration, self.files, self.name, credential, renew)


def find_context(kubeconfig: Path | None, name: str) -> Context | None:
    """Find a context by its name, or the current context; return None for the cluster that this process runs in.

    Args:
        kubeconfig: The file, or several with `:` between them; None means kubectl's default file, if it exists.
        name: Name of the context; empty means the current one.

    Raises:
        ConfigError: When there is no usable kubeconfig, or no such context.
    """
    files = str(kubeconfig or KUBECONFIG.expanduser())
    if not any(path.is_file() for path in split_paths(files)):
        if kubeconfig is None and not name and (SERVICE_ACCOUNT / "token").is_file():
            return None
        raise ConfigError(
            [Fault(origin=files, path="", message="the kubeconfig does not exist")],
            hint="get a kubeconfig from the cluster's administrator, and run: export KUBECONFIG=FILE",
        )
    with _as_faults(files):
        config = load_kubeconfig(files)
        chosen = name or config.current
        if chosen in config.contexts:
            namespace = str(config.contexts[chosen].get("namespace") or "default")
            return Context(files=files, name=chosen, namespace=namespace)
    known = sorted(config.contexts)
    fault = f"the context {chosen!r} does not exist" if chosen else "no current context is set"
    example = difflib.get_close_matches(chosen, known, n=1) or known or ["NAME"]
    raise ConfigError(
        [Fault(origin=files, path="contexts", message=f"{fault} (known contexts: {', '.join(known) or 'none'})")],
        hint=f"kubectl config use-context {shlex.quote(example[0])}",
    )


def connect_inside() -> ApiConnection:
    """Open a connection with the service account of the pod that this process runs in.

    Raises:
        ConfigError: When no service account is mounted.
    """
    configuration = _configuration()
    with _as_faults(str(SERVICE_ACCOUNT)):
        load_incluster_config(configuration)
    _choose_proxy(configuration)
    return _connection(configuration, str(SERVICE_ACCOUNT), "")


def inside_namespace() -> str:
    """Return the namespace of the pod that this process runs in."""
    return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


def _log_in(entry: ContextEntry) -> PluginCredential | None:
    """Return the credential of the context's login plugin; None when the context has no plugin.

    Raises:
        DeniedError: When the plugin fails.
    """
    plugin = entry.user.get("exec")
    if not plugin:
        return None
    try:
        return run_plugin(plugin, entry.cluster)
    except (PluginError, OSError) as error:
        raise _cannot_log_in(entry.name, error) from error


def _configure(
    configuration: Configuration, entry: ContextEntry, files: str, credential: PluginCredential | None
) -> None:
    """Configure the official client with a context's cluster and user."""
    if "auth-provider" in entry.user:
        # A refreshed token is written back to the file, because an identity provider may accept each refresh token only
        # once.
        try:
            load_kube_config(config_file=files, context=entry.name, client_configuration=configuration)
        except OAuth2Error as error:
            raise _cannot_log_in(entry.name, error) from error
        return
    user = {key: value for key, value in entry.user.items() if key != "exec"}
    config = {
        "current-context": entry.name,
        "contexts": [{"name": entry.name, "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": dict(entry.cluster)}],
        "users": [{"name": "user", "user": user | (credential.as_user() if credential else {})}],
    }
    load_kube_config_from_dict(config, context=entry.name, client_configuration=configuration, persist_config=False)


def _cannot_log_in(name: str, error: Exception) -> DeniedError:
    return DeniedError(
        f"{name}: the login to the cluster failed: {_text_without_file(error)}",
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
        raise ConfigError(
            [Fault(origin=files, path="", message=f"the kubeconfig can't be used: {_text_without_file(error)}")],
            hint=f"correct the kubeconfig, then check that this command works: {command}",
        ) from error


def _text_without_file(error: Exception) -> str:
    """Return the text of an exception without the kubeconfig content that the client quotes, which may hold tokens."""
    text = (
        f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError | AttributeError) else str(error)
    )
    return shorten(re.sub(r"/?\{.*\}", "", text, flags=re.DOTALL), 300)


def _configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = False
    configuration.keep_alive = True  # so that a watch over a lost connection ends
    configuration.connection_pool_maxsize = CONNECTIONS
    return configuration


def _choose_proxy(configuration: Configuration, *, own: str = "") -> None:
    """Set the proxy that kubectl would use for the configured server.

    The client reads the proxy from the environment, but it would send requests for loopback to the proxy too, and would
    send the proxy no user name and password.

    Source: client-go, rest.Config.Proxy: a kubeconfig's `proxy-url` is for every host, whatever NO_PROXY says.

    Args:
        configuration: Client configuration whose server is set.
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
        return  # another scheme, such as socks5://, which the client supports with another package
    if not own:
        bypasses = parse_bypasses(configuration.no_proxy or "")
        proxy = Proxies(https=proxy, http=proxy, bypasses=bypasses).find(str(configuration.host))
    configuration.proxy = proxy.url if proxy else None
    configuration.proxy_headers = proxy.headers if proxy else None


def _connection(
    configuration: Configuration,
    origin: str,
    name: str,
    credential: PluginCredential | None = None,
    renew: Callable[[], PluginCredential | None] | None = None,
) -> ApiConnection:
    server = str(configuration.host).rstrip("/")
    parts = urlsplit(server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fault = Fault(
            origin=origin, path="clusters", message=f"the server must be https://HOST[:PORT] (got {server!r})"
        )
        raise ConfigError([fault], hint="kubectl config set-cluster NAME --server=https://HOST:6443")
    if not configuration.verify_ssl:
        _log.warning("%s: the certificate of %s is not verified (insecure-skip-tls-verify)", name or origin, server)
        urllib3.disable_warnings(InsecureRequestWarning)  # logged once above; urllib3 would warn on every request
    client = ApiClient(configuration)
    client.user_agent = f"eaves/{__version__}"
    held = [credential]

    def authorize() -> Mapping[str, str]:
        headers = dict(client.default_headers)
        if renew is not None and held[0] is not None and held[0].token:
            if held[0].stale:
                held[0] = renew() or held[0]
            return headers | {"authorization": f"Bearer {held[0].token}"}
        client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers

    return ApiConnection(
        pool=client.rest_client.pool_manager,
        server=server,
        authorize=authorize,
        tls=cache(lambda: _tls(configuration)),
        server_name=str(configuration.tls_server_name or ""),
        proxy=str(configuration.proxy or ""),
        proxy_headers=dict(configuration.proxy_headers or {}),
    )


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """Build a TLS context with the certificate authorities and the client certificate of the client configuration."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    return context
