"""Why a function or another part of an app isn't ready on a cluster, and what mends it: objects in, a `Diagnosis` out.

Pure but for `collect` and `part_reader`, which read the objects from a cluster. What it must never do: change anything,
read the values of a Secret, or call something final that may still come right by itself.
"""

from knative.diagnosis.admission import explain_denial
from knative.diagnosis.collect import collect_evidence
from knative.diagnosis.evidence import CAUSES, Diagnosis, FunctionEvidence
from knative.diagnosis.order import diagnose_function, given_up, is_ready, observed

__all__ = [
    "CAUSES",
    "Diagnosis",
    "FunctionEvidence",
    "collect_evidence",
    "diagnose_function",
    "explain_denial",
    "given_up",
    "is_ready",
    "observed",
]
