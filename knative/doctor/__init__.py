"""What stands in the way of an app at a site, before it is deployed: a cluster in, findings with their fixes out.

What it must never do: change anything, but for the pod of `reachability`, or keep more of a Secret than the names of
its keys and of registries. What can't be seen with the user's permissions, or from here at all, is said to be so.
"""

from knative.doctor.examination import CHECKS, examine
from knative.doctor.finding import ERROR, NOTE, OK, SEVERITIES, WARNING, DoctorFinding, worst
from knative.doctor.owners import check_owners

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
