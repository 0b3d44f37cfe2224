"""Diagnosis of a function that isn't ready on a cluster: it takes objects and returns a `Diagnosis` with the fix.

    diagnosis         the order in which causes are checked
    evidence          the values that a diagnosis is made from, and the diagnosis; evidence_reader reads them
    admission         objects that a cluster refuses; feature_flags: the flag that each field needs
    scheduling        pods that no node accepts
    image_pulls       container images that nodes can't pull
    crashes, pods     containers that end, or aren't ready
    past_events       Events about pods that are gone
    routing           names in use, certificates, traffic to missing revisions

The package is pure except for `evidence_reader`, which reads the objects from a cluster. It must never change an
object, read the values of a Secret, or call a fault final that may still disappear by itself.
"""

from knative.diagnosis.admission import explain_denial
from knative.diagnosis.diagnosis import diagnose_function, given_up, is_ready, observed
from knative.diagnosis.evidence import CAUSES, Diagnosis, FunctionEvidence
from knative.diagnosis.evidence_reader import collect_evidence

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
