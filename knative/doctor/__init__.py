"""Checks of a site before an app is deployed to it. They take a cluster and return findings with fixes.

    runner         runs every check in turn
    context        the input of the checks: a cluster, and the objects that an app would have there
    finding        the result of a check
    installation   checks whether the imported packages belong to Eaves
    byte_code      checks whether the container image has byte code of the standard library
    cluster/       checks of the cluster
    namespace/     checks of the site's namespace, and of the objects that the app needs there

This package must never change an object, except for the pod of `reachability`, or keep more of a Secret than the names
of its keys and registries. A check that the user's permissions or the network prevent is reported as such.
"""

from knative.doctor.byte_code import check_byte_code
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
    "check_byte_code",
    "check_owners",
    "examine",
    "worst",
]
