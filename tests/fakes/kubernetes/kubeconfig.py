"""Files as kubectl reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path, servers: Mapping[str, str], *, namespace: str = "default", user: Mapping[str, Any] | None = None
) -> Path:
    """A kubeconfig: a context for each server's URL, the first being the current one; all of one user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(servers), ""),
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in servers.items()],
        "users": [{"name": "jane", "user": dict(user or {"token": "secret"})}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "jane", "namespace": namespace}} for name in servers
        ],
    }
    path.write_text(yaml.safe_dump(config))
    return path
