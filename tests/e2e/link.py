"""The other end of relays: a receiver in a namespace of its own, and a proxy pod for each site that is its link."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.spool.ledger import to_dict
from knative.client.cluster import Cluster
from knative.client.kinds import POD, STATEFUL_SET
from knative.resources.standalone_servers import RECEIVER_PART, ReceiverDeployment, build_receiver
from knative.status.site_status import Kubectl, PodQueue
from tests.e2e.pods import MANAGER, is_pod_ready, make_config_map, make_secret, run_kubectl, start_server
from tests.inputs.certificates import make_certificate
from tests.waiting import wait_until

RECEIVER = "receiver"
EVENTS_PORT, CONTROL_PORT = 8443, 9000
SCRIPT = Path(__file__).parents[2] / "bench" / "link" / "proxy.py"
LINES = 10_000
"""Lines of a ledger that are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A receiver, and the link of a site to it.

    Attributes:
        cluster: With their namespace.
        kubectl: How commands run in their pods.
        authority: The receiver's certificate, as PEM.
        site: Name of the site, and of the link.
    """

    cluster: Cluster
    kubectl: Kubectl
    authority: str
    site: str

    @property
    def url(self) -> str:
        """Address of the link's near end."""
        return f"https://{self.site}.{self.cluster.namespace}.svc.cluster.local:{EVENTS_PORT}"

    def make_secret(self, site: Cluster, name: str) -> None:
        """What a relay needs to be let in, as a Secret at its site."""
        make_secret(site, name, {"token": token_of(self.site), "ca.crt": self.authority})

    def link(self, what: str) -> Mapping[str, Any]:
        """Change the link: `cut`, `silence`, `restore`, or `set?mbit_s=1`; what it is like then."""
        return change_link(self.cluster, self.site, what)

    def kill(self) -> None:
        """End the receiver's pod at once."""
        kill_pod(self.kubectl, self.cluster, f"{RECEIVER}-0")

    def is_ready(self) -> bool:
        """Whether the receiver takes events."""
        return is_pod_ready(self.cluster.get(POD, f"{RECEIVER}-0"))

    def write_ledger(self, file: Path) -> int:
        """Write what the receiver has received as JSON lines; how many they are."""
        queue = PodQueue(self.kubectl, self.cluster.namespace, f"{RECEIVER}-0", container=RECEIVER_PART)
        last, count = 0, 0
        with file.open("w", encoding="utf-8") as stream:
            while lines := queue.ledger(after=last, limit=LINES):
                stream.writelines(f"{json.dumps(to_dict(line))}\n" for line in lines)
                last, count = lines[-1].number, count + len(lines)
        return count


def kill_pod(kubectl: Kubectl, cluster: Cluster, name: str) -> None:
    """End a pod without a grace period, so that its processes get SIGKILL; its StatefulSet makes another."""
    run_kubectl(kubectl.kubeconfig, "delete", "pod", name, "-n", cluster.namespace, "--grace-period=0", "--force")


def token_of(site: str) -> str:
    """Token of a site at the receiver."""
    return f"token-of-the-e2e-site-{site}"


def start_link(cluster: Cluster, name: str, image: str, port: int, target: str, **more: Any) -> None:
    """Run a link to HOST:PORT, which passes TLS through unopened; `more` as of `start_server`."""
    command = ["python", "-I", "/script/proxy.py", "--listen", f"0.0.0.0:{port}", "--target", target]
    command += ["--control", f"0.0.0.0:{CONTROL_PORT}", "--delay-ms", "50", "--mbit-s", "20"]
    volumes = {"script": make_config_map(cluster, name, {SCRIPT.name: SCRIPT.read_bytes()})}
    start_server(cluster, name, image, command, {port: port}, volumes=volumes, ready_port=CONTROL_PORT, **more)


def change_link(cluster: Cluster, name: str, what: str) -> Mapping[str, Any]:
    """Change a link; what it is like then."""
    answer = cluster.proxy(f"pods/{name}:{CONTROL_PORT}", f"/{what}", method="POST")
    assert answer.status == 200, (answer.status, answer.body)
    found: Mapping[str, Any] = json.loads(answer.body)
    return found


def start_cloud(
    cluster: Cluster, *, site: str, image: str, folder: Path, kubeconfig: Path | None, sink: str = ""
) -> Cloud:
    """Run a receiver and a link to it, as `start_clouds` does for several sites."""
    (made,) = start_clouds(cluster, sites=[site], image=image, folder=folder, kubeconfig=kubeconfig, sink=sink)
    return made


def start_clouds(
    cluster: Cluster, *, sites: Sequence[str], image: str, folder: Path, kubeconfig: Path | None, sink: str = ""
) -> list[Cloud]:
    """Run a receiver and a link to it for each site.

    Args:
        cluster: With their namespace.
        sites: The sites that may send.
        image: The agents' container image.
        folder: For the receiver's certificate.
        kubeconfig: Kubeconfig of the cluster; None means kubectl's own choice.
        sink: URL that received events are sent to; empty means files on a volume.
    """
    certificate, key = make_certificate(folder, f"*.{cluster.namespace}.svc.cluster.local")
    files = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
    make_secret(cluster, "receiver-tls", files)
    make_secret(cluster, "receiver-sites", {site: f"{token_of(site)}\n" for site in sites})
    values = {"namespace": cluster.namespace, "image": image, "spool_size": "500Mi"}
    values |= {"sink": sink} if sink else {"folder_size": "500Mi"}
    wanted = build(ReceiverDeployment, SettingsLayer(origin="test", values=values))
    for manifest in build_receiver(wanted):
        cluster.apply(manifest, manager=MANAGER)
    kubectl, made = Kubectl(kubeconfig=kubeconfig), list[Cloud]()
    for site in sites:
        start_link(cluster, site, image, EVENTS_PORT, f"{RECEIVER}.{cluster.namespace}.svc.cluster.local:443")
        made.append(Cloud(cluster=cluster, kubectl=kubectl, authority=certificate.read_text(), site=site))
    wait_until(made[0].is_ready, 240, pause_s=0.5, what="the receiver")
    assert cluster.get(STATEFUL_SET, RECEIVER) is not None
    return made
