"""Kubeconfig files: several are merged as kubectl merges them, and a context is resolved to its cluster and user.

Source: client-go, tools/clientcmd/loader.go: of several files the first that has a name or a current context wins, and
relative paths start at the folder of the file that has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""YAML loader; the C parser, if PyYAML has it, reads 200 contexts in a tenth of the time."""
_CLUSTER_PATHS = ("certificate-authority",)
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextEntry:
    """A context of a kubeconfig, with the content of its cluster and its user; paths in them are absolute.

    Attributes:
        name: Name of the context.
        namespace: Namespace of the context; `default` when it has none.
        cluster: The `cluster` of the context's entry in `clusters`.
        user: The `user` of the context's entry in `users`; empty when the context names no user that exists.
    """

    name: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeconfigFiles:
    """The merged content of one or several kubeconfig files.

    Attributes:
        current: Name of the current context; empty when no file names one.
        contexts: The `context` of each entry, by name.
        clusters: The `cluster` of each entry, by name.
        users: The `user` of each entry, by name.
    """

    current: str
    contexts: Mapping[str, Mapping[str, Any]]
    clusters: Mapping[str, Mapping[str, Any]]
    users: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def resolve(self, name: str) -> ContextEntry:
        """Resolve an existing context to the cluster and the user that it names.

        Raises:
            ValueError: When the context names a cluster that doesn't exist.
        """
        context = self.contexts[name]
        cluster = self.clusters.get(str(context.get("cluster", "")))
        if cluster is None:
            raise ValueError(
                f"the context {name} names the cluster {context.get('cluster')}, which the kubeconfig does not have"
            )
        user = self.users.get(str(context.get("user", ""))) or {}
        namespace = str(context.get("namespace") or "default")
        return ContextEntry(name=name, namespace=namespace, cluster=cluster, user=user)


def split_paths(files: str) -> list[Path]:
    """Split a text at `:` into paths, with `~` expanded."""
    return [Path(file).expanduser() for file in files.split(":") if file]


def load_kubeconfig(files: str) -> KubeconfigFiles:
    """Load kubeconfig files; a file is read again when it has changed, and a missing one is left out.

    Args:
        files: One path, or several with `:` between them.

    Raises:
        ValueError: When an entry of a file lacks its name or value, or no file exists.
        TypeError: When a file is not a kubeconfig.
        yaml.YAMLError: When a file is not YAML.
        OSError: When a file can't be read.
    """
    paths = [path for path in split_paths(files) if path.exists()]
    if not paths:
        raise ValueError("none of the files exists")
    return _merge(tuple((path, _version(path)) for path in paths))


def _version(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@lru_cache(maxsize=8)
def _merge(files: tuple[tuple[Path, tuple[int, int, int]], ...]) -> KubeconfigFiles:
    current = ""
    merged: dict[str, dict[str, dict[str, Any]]] = {"contexts": {}, "clusters": {}, "users": {}}
    for path, _ in files:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - both loaders are safe
        if not isinstance(config, dict):
            raise TypeError("the file is empty" if config is None else "the file is not a YAML mapping")
        current = current or str(config.get("current-context") or "")
        for plural, singular in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for name, value in _entries(config, plural, singular):
                merged[plural].setdefault(name, _absolute(value, path.parent.absolute()))
    return KubeconfigFiles(current=current, **merged)


def _entries(config: Mapping[str, Any], plural: str, singular: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = config.get(plural) or []
    if not isinstance(entries, list):
        raise TypeError(f"{plural} is not a list")
    for entry in entries:
        if not isinstance(entry, dict) or "name" not in entry:
            raise ValueError(f"an entry of {plural} has no name")
        value = entry.get(singular) or {}
        if not isinstance(value, dict) or (singular == "context" and not value):
            raise ValueError(f"the entry {entry['name']} of {plural} has no {singular}")
        yield str(entry["name"]), value


def _absolute(value: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return an entry of a kubeconfig with absolute paths.

    A command without a `/` stays unchanged, since it is found by the search path.
    """
    found = dict(value)
    for key in (*_CLUSTER_PATHS, *_USER_PATHS):
        if found.get(key):
            found[key] = str(folder / str(found[key]))
    plugin = found.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return found
