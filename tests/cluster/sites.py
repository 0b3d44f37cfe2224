"""Many sites for tests: a simulated cluster with a Knative each, an eaves.yaml and a kubeconfig that name them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

import eaves
from eaves.cli import cli
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiservers, refusal, refusing_url, write_kubeconfig

NAMESPACE = "eaves"
IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
OTHER = "registry.example/barn/flowers@sha256:" + "d" * 64
_FORBIDDEN = (
    'services.serving.knative.dev "flowers" is forbidden: User "jane" cannot get resource "services" in API group '
    '"serving.knative.dev" in the namespace "eaves"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """Folder in which commands are run, and the clusters that they reach.

    Attributes:
        folder: With eaves.yaml and kubeconfig.
        clusters: Cluster of each site by name.
        knative: Knative of each site by name.
        down: URLs of those that refuse connections, by name.
    """

    folder: Path
    clusters: Mapping[str, FakeCluster]
    knative: Mapping[str, Knative]
    down: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.clusters)

    def refuse(self, names: Sequence[str], url: str) -> None:
        """Let nobody listen there; an empty URL: all is well again."""
        for name in names:
            self.down[name] = url
        urls = {name: self.down.get(name) or one.url for name, one in self.clusters.items()}
        write_kubeconfig(self.folder / "kubeconfig", urls, namespace=NAMESPACE)

    def forbid(self, names: Sequence[str], *, once_more: bool = False) -> None:
        """Let jane do nothing there; or again what she could."""
        for name in names:
            self.clusters[name].fault = lambda request: None if once_more else refusal(403, "Forbidden", _FORBIDDEN)

    def write_project(self, *, waves: Mapping[str, int] | None = None, **more: Any) -> None:
        """Write eaves.yaml."""
        sites = [
            {"name": name, "context": name, "namespace": NAMESPACE, "wave": (waves or {}).get(name, 1)}
            for name in self.clusters
        ]
        values = {"name": "flowers", "data": {"path": "photos"}, "sites": sites, **more}
        (self.folder / "eaves.yaml").write_text(yaml.safe_dump(values))

    def run(self, *arguments: str) -> Result:
        """An eaves command, in this process."""
        words = [*arguments, "--file", str(self.folder / "eaves.yaml")]
        return CliRunner().invoke(cli, words, prog_name="eaves", env=self._environment())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """An eaves command, as a process of its own."""
        command = [sys.executable, "-P", "-m", "eaves.cli", *arguments]
        environment = {**os.environ, **self._environment(), "PYTHONPATH": str(Path(eaves.__file__).parents[1])}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def served(self, name: str) -> dict[str, int]:
        """Shares of requests at a site."""
        status = self.knative[name].service()["status"]
        return {one["revisionName"]: one["percent"] for one in status["traffic"] if one["percent"]}

    def deployed(self) -> list[str]:
        """Sites where the function is."""
        kind = "serving.knative.dev/v1/Service"
        return [name for name, one in self.clusters.items() if one.all(kind, namespace=NAMESPACE)]

    def _environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.folder / "kubeconfig")}


@contextmanager
def open_sites(folder: Path, count: int) -> Iterator[Sites]:
    """So many sites, all well: s000, s001, ..."""
    with open_apiservers([f"s{number:03}" for number in range(count)]) as clusters:
        for one in clusters:
            one.objects.make_namespace(NAMESPACE)
        sites = Sites(
            folder=folder,
            clusters={one.name: one for one in clusters},
            knative={one.name: Knative(one, NAMESPACE) for one in clusters},
        )
        sites.refuse([], "")
        sites.write_project()
        yield sites


@contextmanager
def some_down(
    sites: Sites, *, refusing: int = 0, hanging: int = 0, forbidding: int = 0, slow: int = 0
) -> Iterator[int]:
    """Let the first sites be down, and the ones after them answer slowly; gives how many are down."""
    names = iter(sites.names)
    refused, hang, forbidden, late = ([next(names) for _ in range(n)] for n in (refusing, hanging, forbidding, slow))
    with refusing_url() as url:
        sites.refuse(refused, url)
        sites.forbid(forbidden)
        for name in hang:
            sites.clusters[name].hangs = True
        for name in late:
            sites.clusters[name].delay_s = 0.05
        yield refusing + hanging + forbidding
    sites.refuse(refused, "")
    sites.forbid(forbidden, once_more=True)
    for name in hang:
        sites.clusters[name].hangs = False
    for name in late:
        sites.clusters[name].delay_s = 0.0
