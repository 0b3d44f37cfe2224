"""Why a function or another part of an app isn't ready on a cluster, and what mends it: objects in, a `Diagnosis` out.

Pure but for `collect` and `part_reader`, which read the objects from a cluster. What it must never do: change anything,
read the values of a Secret, or call something final that may still come right by itself.
"""

from knative.diagnosis.admission import explain_denial
from knative.diagnosis.collect import collect
from knative.diagnosis.evidence import CAUSES, Diagnosis, Evidence
from knative.diagnosis.order import diagnose, given_up, is_ready, observed

__all__ = [
    "CAUSES",
    "Diagnosis",
    "Evidence",
    "collect",
    "diagnose",
    "explain_denial",
    "given_up",
    "is_ready",
    "observed",
]
