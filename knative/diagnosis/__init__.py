"""Why a function isn't ready on a cluster, and what mends it: objects in, a `Diagnosis` out.

    diagnosis         the order in which causes are looked for
    evidence          the objects that a diagnosis is made of, and what it is; evidence_reader reads them
    admission         what a cluster doesn't let in; feature_flags: which field needs which flag
    scheduling        pods that no node takes
    image_pulls       container images that nodes can't fetch
    crashes, pods     containers that end, or aren't ready
    past_events       what Events remember of pods that have gone
    routing           names that are taken, certificates, traffic that leads nowhere

Pure but for `evidence_reader`, which reads the objects from a cluster. What it must never do: change anything, read
the values of a Secret, or call something final that may still come right by itself.
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
