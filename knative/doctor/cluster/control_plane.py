"""Checks of the control plane: whether it is near the edge, and whether clocks agree.

No API says where a cluster is. The check guesses it from the marks of cloud providers on nodes and from response times,
and reports its reasons. It matters because a site makes predictions while the link is down only if its control plane,
Serving and Eventing are at the site's end of the link.

Source: Node.spec.providerID (`aws:///...`), set by cloud-controller-managers; k3s sets `k3s://NAME`. A Lease's
managedFields have the server's time, and its renewTime has the kubelet's (Kubernetes, pkg/kubelet/nodelease).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from knative.client.kinds import LEASE
from knative.diagnosis.evidence import name_of, parse_time
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok, warning

CLOUDS = frozenset({
    "alicloud", "aws", "azure", "digitalocean", "exoscale", "gce", "hcloud", "ibm", "linode", "oci", "openstack", "ovh",
    "scaleway", "vultr",
})  # fmt: skip
"""Cloud providers by the scheme in the field `spec.providerID` of their nodes."""
_NEAR_S = 0.02
"""Maximum seconds of a round trip to a server at the same place; over an internet connection a round trip takes
longer."""
_ASKED = 3
SKEW_S, BROKEN_S = 5.0, 300.0
"""Differences between two clocks in seconds: from the first on, events have misleading times; from the second on,
certificates and tokens are refused."""
_LEASES = "kube-node-lease"
_DATE_S = 1.0
"""Resolution of the HTTP header Date in seconds."""


def check_link(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check whether the control plane is at the edge, by response time and by cloud providers' marks on nodes."""
    round_trip_s = min(_time(subject) for _ in range(_ASKED))
    delay = f"the API server answers in {round_trip_s * 1000:.0f} ms"
    clouds = Counter(scheme for node in subject.nodes if (scheme := _provider(node)) in CLOUDS)
    if subject.site.selector:
        yield warning(
            "link",
            f"the site is a part of a larger cluster, chosen by selector ({delay}): while the link to its nodes "
            "is down, pods there are not scheduled, scaled or restarted; running pods continue, so one replica "
            "is kept running",
            "set up a cluster at the site, such as a single-node k3s, and name its context in sites of eaves.yaml",
        )
    elif clouds:
        cloud, count = clouds.most_common(1)[0]
        yield warning(
            "link",
            f"{count} of {len(subject.nodes)} nodes are in a cloud ({cloud}), and the site has no selector: "
            "functions run in the cloud, and images are sent over the link to be predicted",
            "set selector of the site in eaves.yaml to the labels of the nodes at the edge, or use a cluster at the "
            "edge",
        )
    elif round_trip_s > _NEAR_S:
        yield note(
            "link",
            f"{delay}: either the cluster or this machine is far from the edge; the site works while the link is "
            "down only if the cluster's control plane is at the edge",
        )
    else:
        yield ok("link", f"the cluster is near and its nodes are not in a known cloud: {delay}")


def _time(subject: ExaminedSite) -> float:
    start = time.perf_counter()
    subject.cluster.version()
    return time.perf_counter() - start


def _provider(node: object) -> str:
    spec = node.get("spec", {}) if isinstance(node, dict) else {}
    return str(spec.get("providerID", "")).partition("://")[0]


def check_clock(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Compare the API server's clock with the clock of this machine."""
    before = subject.clock()
    server = subject.cluster.clock()
    after = subject.clock()
    apart = server - (before + after) / 2
    unsure = (after - before) / 2 + _DATE_S
    yield _judge("this machine's clock and the API server's", apart, unsure, "timedatectl set-ntp true")


def check_node_clocks(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Compare each node's clock with the API server's clock, by the two times in the node's Lease."""
    skews = {}
    for lease in subject.cluster.list(LEASE, namespace=_LEASES):
        written = [
            parse_time(entry.get("time"))
            for entry in lease["metadata"].get("managedFields") or ()
            if entry.get("manager") == "kubelet"
        ]
        renewed = parse_time((lease.get("spec") or {}).get("renewTime"))
        times = [at for at in written if at is not None]
        if times and renewed is not None:
            skews[name_of(lease)] = max(times) - renewed
    if not skews:
        yield note("clock", "the nodes' clocks can't be checked: their leases have no time of writing")
        return
    name, apart = max(skews.items(), key=lambda found: abs(found[1]))
    what = f"the clocks of {len(skews)} nodes" if len(skews) > 1 else f"the clock of node {name}"
    if abs(apart) > SKEW_S:
        what = f"the clock of node {name}"
    yield _judge(f"{what} and the API server's", apart, _DATE_S, f"on {name}: timedatectl set-ntp true")


def _judge(what: str, apart: float, unsure: float, fix: str) -> DoctorFinding:
    seconds = max(0.0, abs(apart) - unsure)
    if seconds > BROKEN_S:
        return error("clock", f"{what} differ by {seconds:.0f} s: certificates and tokens are refused", fix)
    if seconds > SKEW_S:
        return warning("clock", f"{what} differ by {seconds:.0f} s: events have wrong times", fix)
    return ok("clock", f"{what} agree within {max(unsure, abs(apart)):.0f} s")
