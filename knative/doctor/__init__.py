"""What stands in the way of an app at a site, before it is deployed: a cluster in, findings with their fixes out.

    runner         every check in turn
    context        what the checks look at: a cluster, and what an app would put into it
    finding        what a check finds
    installation   whether the packages that are imported here are ours
    cluster/       checks of the cluster
    namespace/     checks of the site's namespace, and of what the app needs there

What it must never do: change anything, but for the pod of `reachability`, or keep more of a Secret than the names of
its keys and of registries. What can't be seen with the user's permissions, or from here at all, is said to be so.
"""

from knative.doctor.finding import ERROR, NOTE, OK, SEVERITIES, WARNING, DoctorFinding, worst
from knative.doctor.installation import check_owners
from knative.doctor.runner import CHECKS, examine

__all__ = [
    "CHECKS",
    "ERROR",
    "NOTE",
    "OK",
    "SEVERITIES",
    "WARNING",
    "DoctorFinding",
    "check_owners",
    "examine",
    "worst",
]
