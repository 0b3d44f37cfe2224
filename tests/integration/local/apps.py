"""The app that the local platform runs in these tests."""

from __future__ import annotations

from pathlib import Path

from eaves.platform import AppSpec, FunctionSpec, SourceSpec, default_trigger


def digits_app(artifact: Path, *sources: SourceSpec) -> AppSpec:
    """An app named `digits` at the site `test`, with the default trigger."""
    function = FunctionSpec(name="digits", site="test", artifact=artifact)
    return AppSpec(function=function, triggers=(default_trigger("digits"),), sources=sources)
