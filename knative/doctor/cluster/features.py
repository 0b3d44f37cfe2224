"""Check of Knative's feature flags that the app needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knative.diagnosis.feature_flags import CONFIG_MAP, FIELDS, FeatureFlag, enable_command, is_on, warn_lasting
from knative.doctor.context import ExaminedSite
from knative.doctor.finding import DoctorFinding, error, note, ok

_SOURCES = ("emptyDir", "image", "hostPath", "csi", "ephemeral", "persistentVolumeClaim")


def check_features(subject: ExaminedSite) -> Iterator[DoctorFinding]:
    """Check that each feature flag that a field of the app's Knative Service needs is enabled."""
    values = subject.config(CONFIG_MAP)
    needed = {field: flag for made in subject.pods() if made.knative for field, flag in needed_flags(made.spec).items()}
    missing = {field: flag for field, flag in needed.items() if not is_on(flag, values)}
    for field, flag in needed.items():
        if field in missing:
            lasting = warn_lasting(flag)
            yield error(
                "features",
                f"{_why(field)} needs Knative's feature flag {flag.key}, which is disabled"
                + (f"; it {lasting.removeprefix(flag.key).strip()}" if lasting else ""),
                enable_command(flag),
            )
        elif flag.lasting:
            yield note("features", f"{flag.key} is enabled, as {_why(field)} needs; it can't be disabled again safely")
    if not missing:
        keys = ", ".join(flag.key for flag in needed.values())
        yield ok(
            "features", f"every required feature flag is enabled ({keys})" if keys else "no feature flag is required"
        )


def needed_flags(spec: Mapping[str, Any]) -> dict[str, FeatureFlag]:
    """Return the feature flag that each field of a Knative Service's pod needs; fields without a flag are left out."""
    found = {field: flag for field, flag in FIELDS.items() if field in spec and field not in _SOURCES}
    for volume in spec.get("volumes", ()):
        found |= {field: FIELDS[field] for field in _SOURCES if field in volume}
    return found


def _why(field: str) -> str:
    return {"nodeSelector": "the selector of the site in eaves.yaml", "emptyDir": "the function's folder /tmp"}.get(
        field, field
    )
