"""Namespaces of a test's own, and `eaves` in them as a person types it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import eaves
from eaves.platform import FunctionStatus
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import NAMESPACE, SERVICE_ACCOUNT
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings, SiteSettings
from tests.e2e.harness import delivers
from tests.e2e.pods import apply, run_kubectl
from tests.waiting import wait_until

NAME, SITE = "digits", "test"
PROJECT: dict[str, Any] = {
    "name": NAME,
    "site": SITE,
    "data": {"path": "photos"},
    "scale": {"idle_s": 6},
    "knative": {"pod": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


class Namespaces:
    """All that one run of the tests makes in a cluster.

    Args:
        kubeconfig: Kubeconfig of the cluster; None means kubectl's own choice.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        self.kubeconfig = kubeconfig
        self.prefix = f"eaves-e2e-{secrets.token_hex(3)}"
        self.cluster = open_cluster(kubeconfig=kubeconfig, namespace="default")
        self._names: list[str] = []

    def name(self, what: str) -> str:
        """Return the name of a namespace that doesn't exist and is deleted at the end, if a test creates it."""
        name = f"{self.prefix}-{what}-{len(self._names)}"
        self._names.append(name)
        return name

    def open(self, what: str, labels: dict[str, str] = RESTRICTED) -> Cluster:
        """A new one, empty."""
        name = self.name(what)
        apply(self.cluster, NAMESPACE, name, labels=labels)
        opened = open_cluster(kubeconfig=self.kubeconfig, namespace=name)
        wait_until(lambda: opened.get(SERVICE_ACCOUNT, "default"), 30, pause_s=0.1, what="the namespace's account")
        return opened

    def close(self, name: str) -> None:
        """Begin to delete one."""
        self.cluster.delete(NAMESPACE, name)

    def close_all(self) -> None:
        """Delete what is left, and wait until all are gone."""
        for name in self._names:
            self.close(name)
        wait_until(lambda: not self.left(), 180, pause_s=1, what=f"the end of {self.prefix}")

    def left(self) -> list[str]:
        """Those that are still there."""
        there = [str(one["metadata"]["name"]) for one in self.cluster.list(NAMESPACE)]
        return [name for name in there if name.startswith(self.prefix)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A project's folder and the namespace it goes to.

    Attributes:
        cluster: With the namespace.
        kubeconfig: Kubeconfig of the cluster.
        folder: Folder that holds eaves.yaml.
    """

    cluster: Cluster
    kubeconfig: Path | None
    folder: Path

    @property
    def platform(self) -> KnativePlatform:
        """The same place for tests that ask directly, with the agents' namespace of eaves.yaml."""
        site = SiteSettings(name=SITE, namespace=self.cluster.namespace)
        file = self.folder / "eaves.yaml"
        said = yaml.safe_load(file.read_text(encoding="utf-8"))["knative"] if file.exists() else {}
        agents = said.get("agent_namespace", KnativeSettings().agent_namespace)
        return KnativePlatform(self.cluster, KnativeSettings(agent_namespace=agents), site)

    def configure(self, **sections: Any) -> None:
        """Write eaves.yaml: the usual one, with these sections changed."""
        values = dict(PROJECT)
        for name, section in sections.items():
            values[name] = {**PROJECT.get(name, {}), **section} if isinstance(section, dict) else section
        self.folder.joinpath("eaves.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")

    def eaves(self, *words: str | Path, codes: Collection[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """A command to its end, in this namespace.

        Args:
            words: Words of the command.
            codes: Exit codes that are right.
        """
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False,
            timeout=600,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in codes, (words, done.returncode, done.stdout[-2000:], done.stderr[-3000:])
        return done

    def deploy(self, image: str, *more: str, codes: Collection[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """`eaves deploy` with a registry without TLS."""
        return self.eaves("deploy", image, "--plain-http", *more, codes=codes)

    def read(self, *words: str | Path, codes: Collection[int] = (0,)) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.eaves(*words, "-o", "json", codes=codes).stdout)

    def read_status(self) -> dict[str, Any]:
        """What `eaves status` says of the function and its agents."""
        (row,) = self.read("status")
        return dict(row)

    def kubectl(self, *words: str | Path, stdin: bytes = b"", codes: Collection[int] = (0,)) -> str:
        """What kubectl prints in this namespace."""
        return run_kubectl(self.kubeconfig, "-n", self.cluster.namespace, *words, stdin=stdin, codes=codes)

    def log_in(self, account: str) -> Place:
        """The same place for commands of a ServiceAccount of the namespace."""
        config = yaml.safe_load(self.kubectl("config", "view", "--minify", "--raw", "-o", "yaml"))
        config["users"][0]["user"] = {"token": self.kubectl("create", "token", account).strip()}
        file = self.folder / f"{account}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return replace(self, kubeconfig=file)

    def command(self, *words: str | Path) -> list[str]:
        """The words of a command in this namespace."""
        where = ["--namespace", self.cluster.namespace]
        where += ["--kubeconfig", str(self.kubeconfig.absolute())] if self.kubeconfig else []
        return [sys.executable, "-P", "-m", "eaves.cli", *map(str, words), *where]

    def environment(self) -> dict[str, str]:
        """What such a process gets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EAVES_")}
        ours = {"PYTHONPATH": str(Path(eaves.__file__).parents[1]), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return {**kept, **ours, "DOCKER_CONFIG": str(self.folder / "no-logins")}

    def delivers(self) -> bool:
        """Whether what its Broker takes reaches everybody: what comes before that is lost."""
        return delivers(self.cluster)

    def status(self) -> FunctionStatus:
        """Return the status of the function."""
        (status,) = self.platform.status()
        return status
