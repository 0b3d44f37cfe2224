"""What the doctor reports about byte code in a function's container image."""

from __future__ import annotations

from eaves.oci.package import COMPILED, SOURCES
from knative.deploy.function_image import FunctionImage
from knative.doctor import NOTE, OK, check_byte_code


def test_an_image_whose_standard_library_is_compiled_is_ok() -> None:
    (found,) = check_byte_code(FunctionImage(name="r/f@sha256:1", library=COMPILED))
    assert (found.severity, found.check, found.fix) == (OK, "byte-code", "")


def test_an_image_without_it_gets_a_note_with_a_fix() -> None:
    (found,) = check_byte_code(FunctionImage(name="r/f@sha256:1", library=SOURCES))
    assert found.severity == NOTE
    assert found.message == (
        "r/f@sha256:1 has no byte code of the standard library, so each cold start compiles modules again"
    )
    assert found.fix.startswith("eaves package ARTIFACT")


def test_nothing_is_reported_when_no_registry_was_asked() -> None:
    assert list(check_byte_code(FunctionImage(name="r/f@sha256:1"))) == []
