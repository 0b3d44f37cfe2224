"""Check of this machine: whether packages such as `trainer` belong to Eaves, since other projects use such names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from knative.doctor.finding import DoctorFinding, error, ok

NAMES = ("eaves", "trainer", "functions", "converters", "knative")
DISTRIBUTION = "eaves"
INSTALL_AGAIN = "pip install --force-reinstall --no-deps .   # in a checkout of Eaves"
"""Command that installs Eaves again from a checkout; no package index has Eaves, another package may have its name."""


def check_owners(
    owners: Mapping[str, Sequence[str]] | None = None, places: Mapping[str, Path | None] | None = None
) -> Iterator[DoctorFinding]:
    """Check whether each of Eaves' packages belongs to its distribution alone and is the one that is imported.

    Args:
        owners: Distributions that provide each package; None looks them up.
        places: Folder that each package is imported from; None looks them up.
    """
    known = packages_distributions() if owners is None else owners
    found = {name: _place(name) for name in NAMES} if places is None else places
    faults = False
    for name in NAMES:
        others = sorted(set(known.get(name, ())) - {DISTRIBUTION})
        if others:
            faults = True
            yield error(
                "packages",
                f"the package {name} is also installed by {', '.join(others)}, and the distribution that was "
                "installed last overwrites it",
                f"pip uninstall {' '.join(others)} && {INSTALL_AGAIN}",
            )
    home = found.get(DISTRIBUTION)
    for name, place in found.items():
        if place != home:
            faults = True
            yield error(
                "packages",
                f"the package {name} is imported from {place or 'nowhere'} instead of {home}, the folder of the "
                "package eaves",
                f"rename {place}/{name}, or start in another folder" if place else INSTALL_AGAIN,
            )
    if not faults:
        yield ok("packages", f"the packages {', '.join(NAMES)} belong to Eaves alone")


def _place(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent.parent if spec and spec.origin else None
