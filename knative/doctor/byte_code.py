"""Check of the function's container image: whether it has byte code of the standard library."""

from __future__ import annotations

from collections.abc import Iterator

from eaves.oci.package import COMPILED
from knative.deploy.function_image import FunctionImage
from knative.doctor.finding import DoctorFinding, note, ok


def check_byte_code(image: FunctionImage) -> Iterator[DoctorFinding]:
    """Check whether a cold start has to compile modules; nothing is reported when the registry wasn't asked.

    Args:
        image: Container image that was deployed last.
    """
    if image.library == COMPILED:
        yield ok("byte-code", "the function's container image has byte code of the standard library")
    elif image.library:
        yield note(
            "byte-code",
            f"{image.name} has no byte code of the standard library, so each cold start compiles modules again",
            "eaves package ARTIFACT -t REFERENCE --base python:3.13-slim, then eaves deploy REFERENCE --on knative",
        )
